"""Check the claims of a token whose signature holds, and read the principal out of them.

Every claim is of the wrong type until shown otherwise. The reason of a refusal is for the
audit; the client reads one text for all of them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from gateway.errors import TokenExpired, TokenInvalid
from gateway.limits import GROUPS_PER_TOKEN_MAX
from gateway.policy.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Issuer

_NAME_MAX = 255
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_SECONDS_MAX = 2**40  # beyond any date a token means, and exact as a float
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def refuse(reason: str) -> NoReturn:
    """Raise TokenInvalid with `reason` for the audit."""
    raise TokenInvalid(reason=reason)


def check_time(claims: Mapping[str, Any], issuer: Issuer, now: float) -> None:
    """Check exp, nbf, iat and the age; raises TokenExpired or TokenInvalid.

    The clock difference is granted to what lies in the future. It is not to `exp`: a session
    would begin that has to end at once.
    """
    expires, issued = seconds(claims, "exp"), seconds(claims, "iat")
    if expires <= now:
        raise TokenExpired(reason=f"expired {now - expires:.0f} s ago")
    if now - issued > issuer.max_age_s:
        raise TokenExpired(reason=f"issued {now - issued:.0f} s ago, over max_age")
    if issued > now + issuer.leeway_s:
        refuse(f"iat is {issued - now:.0f} s in the future")
    if "nbf" in claims and seconds(claims, "nbf") > now + issuer.leeway_s:
        refuse("not valid yet (nbf)")


def check_audience(claims: Mapping[str, Any], issuer: Issuer) -> None:
    """Check that the token is for us; raises TokenInvalid."""
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or not all(isinstance(one, str) for one in audiences):
        refuse("aud is missing or not text")
    if not set(audiences) & set(issuer.audiences):
        refuse("wrong audience")
    # OpenID Connect Core 3.1.3.7: with several audiences the token must say whose it is.
    if len(audiences) > 1 and not _party(claims):
        refuse("several audiences and no azp")


def check_required(claims: Mapping[str, Any], issuer: Issuer) -> None:
    """Check the claims the operator demands, types included; raises TokenInvalid."""
    for name, value in issuer.required_claims.items():
        if name not in claims or _exact(claims[name]) != _exact(value):
            refuse(f"required claim {name!r} is missing or different")


def check_party(claims: Mapping[str, Any], issuer: Issuer) -> None:
    """Check for whom the token was issued, where the operator names them; raises TokenInvalid."""
    if not issuer.authorized_parties:
        return
    if _party(claims) not in issuer.authorized_parties:
        refuse("issued to another client (azp, client_id)")


def _party(claims: Mapping[str, Any]) -> str | None:
    return optional_text(claims, "azp") or optional_text(claims, "client_id")


def read_certificate(claims: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 of the client certificate the token is bound to (RFC 8705), or None.

    Raises TokenInvalid for a token that is bound to anything else: a key that nobody here can
    ask to be proven is a key that a thief need not have.
    """
    if "cnf" not in claims:
        return None
    bound = claims["cnf"]
    if not isinstance(bound, dict) or set(bound) != {"x5t#S256"}:
        refuse("bound to a key (cnf) that is no certificate")
    thumbprint = bound["x5t#S256"]
    if not isinstance(thumbprint, str) or not _THUMBPRINT.fullmatch(thumbprint):
        refuse("cnf holds no SHA-256")
    return thumbprint


def read_actor(claims: Mapping[str, Any], issuer: Issuer) -> tuple[str | None, tuple[str, ...]]:
    """Return who acts for the subject (RFC 8693, `act`) and its groups; raises TokenInvalid.

    The groups are inside `act`, under the same name. Without any, nothing is granted to the
    actor, so nothing to both.
    """
    if "act" not in claims:
        return None, ()
    actor = claims["act"]
    if not isinstance(actor, dict) or "act" in actor:
        refuse("act is not one actor")
    if actor.get("iss", issuer.issuer) != issuer.issuer:
        refuse("the actor is of another issuer")
    subject = optional_text(actor, "sub")
    if subject is None:
        refuse("act has no sub")
    groups = _groups(actor, issuer.groups_claim)
    return subject, tuple(f"{issuer.id}:{name}" for name in groups)


def read_principal(
    claims: Mapping[str, Any], issuer: Issuer, *, key_id: str | None, token_digest: str
) -> Principal:
    """Return who the token speaks for; raises TokenInvalid when a claim is not usable.

    A token without an id is known by its digest, so that it can be revoked all the same.
    """
    subject = optional_text(claims, "sub")
    if subject is None:
        refuse("sub is missing")
    actor, actor_groups = read_actor(claims, issuer)
    return Principal(
        issuer_id=issuer.id,
        issuer=issuer.issuer,
        subject=subject,
        groups=tuple(f"{issuer.id}:{name}" for name in _groups(claims, issuer.groups_claim)),
        token_id=optional_text(claims, "jti") or token_digest,
        expires_at=seconds(claims, "exp"),
        issued_at=seconds(claims, "iat"),
        agent=optional_text(claims, issuer.agent_claim) or actor,
        run_id=optional_text(claims, issuer.run_claim),
        actor=actor,
        actor_issuer=None if actor is None else issuer.id,
        actor_groups=actor_groups,
        key_id=key_id,
        certificate=read_certificate(claims),
        login=optional_text(claims, "sid"),
    )


def claim_path(claim: str) -> list[str]:
    """Return the steps to a claim: a name, a URL taken whole, or a path of dots or slashes."""
    if "://" in claim:
        return [claim]
    return claim.strip("/").split("/") if "/" in claim else claim.split(".")


def _groups(claims: Mapping[str, Any], claim: str) -> list[str]:
    path = [claim] if claim in claims else claim_path(claim)
    _refuse_overage(claims, path[0])
    value: object = claims
    for step in path:
        if not isinstance(value, dict):
            refuse("groups claim is not where it should be")
        if step not in value:
            return []
        value = value[step]
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list):
        refuse("groups claim is neither text nor a list")
    if len(names) > GROUPS_PER_TOKEN_MAX:
        refuse(f"over {GROUPS_PER_TOKEN_MAX} groups")
    return list(dict.fromkeys(safe_text("groups", name) for name in names))


def _refuse_overage(claims: Mapping[str, Any], name: str) -> None:
    # The issuer left the groups out for their number. Rights computed without them would be
    # wrong in either direction, since groups also take rights away.
    elsewhere = claims.get("_claim_names", {})
    if not isinstance(elsewhere, dict) or {name, "groups"} & set(elsewhere):
        refuse("groups are elsewhere (_claim_names)")
    if claims.get("hasgroups", False) is not False:
        refuse("groups are elsewhere (hasgroups)")


def seconds(claims: Mapping[str, Any], name: str) -> float:
    """Return a time of the claims; raises TokenInvalid without a sensible one."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(f"{name} is missing or not a number")
    if not 0 < value < _SECONDS_MAX:
        refuse(f"{name} is out of range")
    return float(value)


def optional_text(claims: Mapping[str, Any], name: str) -> str | None:
    """Return a text of the claims, None when there is none; raises TokenInvalid for other types."""
    return safe_text(name, claims[name]) if name in claims else None


def safe_text(name: str, value: object) -> str:
    """Return `value`, a text without what could deceive its reader; raises TokenInvalid."""
    if not isinstance(value, str) or not 0 < len(value) <= _NAME_MAX or _UNSAFE.search(value):
        refuse(f"{name} is not a text of 1 to {_NAME_MAX} characters")
    return value


def _exact(value: object) -> str:
    # `True == 1` and `1 == 1.0` in Python; not in a claim.
    return json.dumps(value, sort_keys=True)
