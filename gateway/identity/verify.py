"""Verify a token and say whom it speaks for.

Nothing the token says about itself is believed before the signature holds, with two
exceptions that only choose among what the operator configured: `iss` picks the issuer and
`kid` one of its keys. `jku`, `x5u`, `jwk` and `x5c` are never looked at.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from gateway import metrics
from gateway.clock import SYSTEM_CLOCK
from gateway.errors import GatewayError, TokenExpired
from gateway.identity import claims as rules
from gateway.identity.claims import refuse
from gateway.identity.logout import LOGOUT_TYPES, Logout, read_logout
from gateway.identity.strict_json import load_object
from gateway.limits import TOKEN_BYTES_MAX, TOKEN_CACHE_ENTRIES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.clock import Clock
    from gateway.config import Issuer
    from gateway.identity.jwk import VerifyKey
    from gateway.identity.keys import KeyStore
    from gateway.policy.principal import Principal

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# Tokens of other purposes (logout, events, proofs) are signed with the same keys.
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_KID_MAX = 256


_CACHED = metrics.TOKENS.slot("cached")
_VERIFIED = metrics.TOKENS.slot("verified")


class UnknownKey(GatewayError):
    """The token names a key that its issuer may have added since; one refresh is worth it."""

    def __init__(self, issuer_id: str, kid: str | None) -> None:
        super().__init__(f"unknown key of issuer {issuer_id}")
        self.issuer_id = issuer_id
        self.kid = kid


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    good_until: float
    generation: int


class Verifier:
    """Verifies tokens of the configured issuers; remembers verified ones by their digest."""

    def __init__(
        self, issuers: Sequence[Issuer], keys: KeyStore, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        # An entity of SAML signs no tokens, whatever `iss` of one says.
        self._issuers = {one.issuer: one for one in issuers if one.kind != "saml"}
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def knows(self, token: str) -> bool:
        """Whether `token` was verified before; it may not be good any more."""
        return hashlib.sha256(token.encode()).digest() in self._known

    def reload(self) -> None:
        """Read the issuers' keys again."""
        self._keys.reload()

    def verify(self, token: str) -> Principal:
        """Return the principal of `token`.

        Raises TokenInvalid or TokenExpired with the reason for the audit, and UnknownKey when
        the caller may ask for one refresh of the issuer's keys and try again.
        """
        _check_form(token)
        digest = hashlib.sha256(token.encode()).digest()
        now = self._clock.wall()
        known = self._known.get(digest)
        if known is not None:
            # Another generation: the key that verified it may be the one that was withdrawn.
            is_current = known.generation == self._keys.generation and now < known.good_until
            if is_current and not self._keys.problem(known.principal.issuer_id):
                self._known.move_to_end(digest)
                metrics.inc(_CACHED)
                return known.principal
            del self._known[digest]
        issuer, principal = self._verify(token, digest.hex(), now)
        metrics.inc(_VERIFIED)
        good_until = min(principal.expires_at, principal.issued_at + issuer.max_age_s)
        self._known[digest] = _Known(principal, good_until, self._keys.generation)
        if len(self._known) > TOKEN_CACHE_ENTRIES_MAX:
            self._known.popitem(last=False)
        return principal

    def verify_logout(self, token: str) -> Logout:
        """Return whom a logout token puts out; raises as `verify`."""
        _check_form(token)
        issuer, _, claims = self._read(token, LOGOUT_TYPES, ("exp", "iat", "iss", "aud", "jti"))
        return read_logout(claims, issuer, self._clock.wall())

    def _read(
        self, token: str, types: frozenset[str], required: tuple[str, ...]
    ) -> tuple[Issuer, VerifyKey, dict[str, Any]]:
        """Return issuer, key and claims of a token whose signature holds and that is for us."""
        encoded_header, encoded_claims, _ = token.split(".")
        header = _decode("header", encoded_header)
        issuer = self._find_issuer(_decode("payload", encoded_claims))
        algorithm = _check_header(header, issuer, types)
        key = self._find_key(issuer, header, algorithm)
        claims = _check_signature(token, key, algorithm, issuer, required)
        rules.check_audience(claims, issuer)
        return issuer, key, claims

    def _verify(self, token: str, digest: str, now: float) -> tuple[Issuer, Principal]:
        issuer, key, claims = self._read(token, _TYPES, ("exp", "iat", "iss", "aud", "sub"))
        rules.check_time(claims, issuer, now)
        rules.check_required(claims, issuer)
        rules.check_party(claims, issuer)
        principal = rules.read_principal(
            claims, issuer, key_id=key.kid, token_digest=f"sha256:{digest}"
        )
        return issuer, principal

    def _find_issuer(self, unverified: dict[str, Any]) -> Issuer:
        name = unverified.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            refuse("iss is missing or not a configured issuer")
        return issuer

    def _find_key(self, issuer: Issuer, header: dict[str, Any], algorithm: str) -> VerifyKey:
        kid = header.get("kid")
        if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= _KID_MAX):
            refuse("kid is not a text")
        key = self._keys.find(issuer.id, kid, algorithm)
        problem = self._keys.problem(issuer.id)
        if key is None:
            if issuer.jwks_file is not None or self._keys.knows(issuer.id, kid):
                refuse(f"no key fits kid and alg {algorithm}" + (f" ({problem})" * bool(problem)))
            raise UnknownKey(issuer.id, kid)
        if problem:
            refuse(problem)
        return key


def _check_form(token: str) -> None:
    if not 0 < len(token) <= TOKEN_BYTES_MAX:
        refuse("no token" if not token else f"token over {TOKEN_BYTES_MAX} bytes")
    if not _COMPACT.fullmatch(token):
        refuse("not a signed token in compact form")


def _decode(part: str, encoded: str) -> dict[str, Any]:
    try:
        return load_object(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except ValueError as error:
        refuse(f"{part} is not JSON: {error}")


def _check_header(header: dict[str, Any], issuer: Issuer, types: frozenset[str]) -> str:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        refuse(f"alg {str(algorithm)[:20]!r} is not allowed for issuer {issuer.id}")
    if "crit" in header or "zip" in header or "b64" in header:
        refuse("header asks for an extension (crit, zip, b64)")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in types:
        refuse("typ is not that of a token for this purpose")
    return algorithm


def _check_signature(
    token: str, key: VerifyKey, algorithm: str, issuer: Issuer, required: tuple[str, ...]
) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            issuer=issuer.issuer,
            audience=list(issuer.audiences),
            options={
                "require": list(required),
                # Time is checked on our clock, see claims.py.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except jwt.ExpiredSignatureError:
        raise TokenExpired(reason="expired") from None
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        # Unchained: some of these hold the token.
        refuse(f"{type(error).__name__}: {error}"[:200])
    return claims
