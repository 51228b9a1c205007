"""What the connector refuses, whatever a gateway asks: the last word is beside the database.

A gateway that was taken over gets what is listed here and no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gateway.errors import UpstreamError, clean_text
from gateway.upstream.selfcheck import check_target, list_memberships

if TYPE_CHECKING:
    from gateway.config import Target
    from gateway.connector.settings import ConnectorSettings, Served

_BURST = 5  # times the rate


class Rate:
    """A bucket of tokens, refilled by time."""

    def __init__(self, per_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._now = now
        self._level = per_s * _BURST
        self._at = now()

    def take(self) -> bool:
        """Whether one more is within the rate."""
        now = self._now()
        self._level = min(self._per_s * _BURST, self._level + (now - self._at) * self._per_s)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


class Veto:
    """Judges each request of one gateway."""

    def __init__(self, settings: ConnectorSettings) -> None:
        self._settings = settings
        self._rate = Rate(settings.opens_per_s)

    def refuses_gateway(self, fingerprint: str) -> bool:
        """Whether this gateway may ask for nothing at all."""
        allowed = self._settings.allow_gateways
        return bool(allowed) and fingerprint not in allowed

    def judge(self, asked: Mapping[str, object], streams: Mapping[str, int]) -> str:
        """Return why a connection is refused, empty when it is not."""
        served = self._settings.targets.get(str(asked.get("target")))
        if served is None:
            return "target not served"
        if asked.get("role") not in (*served.roles, served.user):
            return "role not served"
        if asked.get("level") not in ("read", "write", "admin"):
            return "unknown level"
        if not self._rate.take():
            return "too many connections per second"
        if streams.get(served.name, 0) >= served.streams:
            return "too many connections"
        return ""


async def find_power(served: Served, target: Target, secret: bytes) -> str:
    """Return what is wrong with the login role at the server, empty when nothing is.

    What it may become it is: SET ROLE reaches every role of a stream that was handed out.
    """
    problems = await check_target(target, secret)
    if problems:
        return clean_text("; ".join(problems), 300)
    try:
        found = await list_memberships(target, secret)
    except UpstreamError as error:
        return str(error)
    foreign = sorted(set(found) - set(served.roles) - {served.user})
    if foreign:
        return clean_text(f"login role may become {', '.join(foreign)}, not in its list", 300)
    return ""
