"""One-time codes: what one request proved, picked up by the next one of the same party."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.policy.principal import Principal

CODE_S: Final = 60.0
_CODES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Proven:
    """Who was proven and where that leads; `party` is who alone may pick it up."""

    principal: Principal
    party: str
    next: str
    until: float


class LoginCodes:
    """The codes given out and not used. Only a proven login makes one, so nobody can flood it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._codes: OrderedDict[bytes, Proven] = OrderedDict()

    def give(self, principal: Principal, party: str, next_path: str = "") -> str:
        """Return a code for a proven login that `party` may pick up within a minute."""
        code = secrets.token_urlsafe(32)
        until = self._clock.monotonic() + CODE_S
        self._codes[_digest(code)] = Proven(principal, party, next_path, until)
        while len(self._codes) > _CODES_MAX:
            self._codes.popitem(last=False)
        return code

    def take(self, code: str, party: str) -> Proven | None:
        """Return what a code stands for, None for any other. It is used up by any attempt."""
        proven = self._codes.pop(_digest(code), None)
        if proven is None or self._clock.monotonic() >= proven.until:
            return None
        return proven if hmac.compare_digest(proven.party.encode(), party.encode()) else None


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "replace")).digest()
