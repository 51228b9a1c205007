"""What a provider says when a person logs out there (OpenID Connect Back-Channel Logout 1.0).

With a subject, all that was issued to it until then is out, on every device: of the sessions that
come from a token without `sid` nobody could tell which login they belong to. With a `sid` alone,
that login.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.identity.claims import check_time, optional_text, refuse, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Issuer

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
# Some providers say nothing of the kind; then the event tells it from every other token.
LOGOUT_TYPES: Final = frozenset({"logout+jwt", "application/logout+jwt", "jwt"})
_AGE_S_MAX: Final = 300.0


@dataclass(frozen=True, slots=True)
class Logout:
    """Who is out: `kind` and `value` as of a revocation, for what was issued until `at`."""

    issuer_id: str
    kind: str
    value: str
    at: float
    token_id: str


def read_logout(claims: Mapping[str, Any], issuer: Issuer, now: float) -> Logout:
    """Return what verified `claims` say; raises TokenInvalid or TokenExpired."""
    check_time(claims, issuer, now)
    issued = seconds(claims, "iat")
    if now - issued > _AGE_S_MAX:
        refuse(f"a logout of {now - issued:.0f} s ago")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        refuse("not a logout (events)")
    # So that no id token can be taken for a logout, nor the other way round.
    if "nonce" in claims:
        refuse("a logout token holds no nonce")
    token_id = optional_text(claims, "jti")
    subject, login = optional_text(claims, "sub"), optional_text(claims, "sid")
    if token_id is None:
        refuse("jti is missing")
    if subject is not None:
        return Logout(issuer.id, "subject", subject, issued, token_id)
    if login is None:
        refuse("neither sub nor sid")
    return Logout(issuer.id, "login", login, issued, token_id)
