"""Turn JWK sets into verification keys: public, asymmetric, strong, and for signatures only.

A key that is none of that is left out, so a set may hold keys for other purposes. Only public
members are read: a set with private or symmetric material cannot become a signing key here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEYS_MAX = 100
_RSA_BITS_MIN, _RSA_BITS_MAX = 2_048, 8_192
_KID_MAX = 256
_PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y")
_CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})

PublicKey = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
)


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """One public key and the signature algorithms it may be used with."""

    kid: str | None
    algorithms: frozenset[str]
    key: PublicKey


def parse_keys(members: Sequence[object]) -> tuple[VerifyKey, ...]:
    """Return the usable keys of a JWK set's `keys`, leaving out the others."""
    parsed = (_parse_key(member) for member in members[:KEYS_MAX] if isinstance(member, dict))
    return tuple(key for key in parsed if key is not None)


def _parse_key(member: Mapping[str, Any]) -> VerifyKey | None:
    kid = member.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= _KID_MAX):
        return None
    if member.get("use", "sig") != "sig":
        return None
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    public = {name: member[name] for name in _PUBLIC_MEMBERS if name in member}
    if not all(isinstance(value, str) for value in public.values()):
        return None
    if public.get("kty") not in {"RSA", "EC", "OKP"}:
        return None
    try:
        key = jwt.PyJWK.from_dict(public).key
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        return None
    algorithms = _algorithms(key)
    stated = member.get("alg")
    if stated is not None:
        algorithms &= {stated} if isinstance(stated, str) else set()
    return VerifyKey(kid, algorithms, key) if algorithms else None


def _algorithms(key: object) -> frozenset[str]:
    """Return what `key` may verify; empty for a weak key and one of another kind."""
    if isinstance(key, rsa.RSAPublicKey):
        is_sound = _RSA_BITS_MIN <= key.key_size <= _RSA_BITS_MAX
        return _RSA_ALGORITHMS if is_sound else frozenset()
    if isinstance(key, ec.EllipticCurvePublicKey):
        name = _CURVE_ALGORITHMS.get(key.curve.name)
        return frozenset({name}) if name else frozenset()
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return frozenset({"EdDSA"})
    return frozenset()
