"""Time, as a value that is passed in.

Code that decides on expiry, leases or ages takes a `Clock`, so that a test moves time instead
of waiting for it. Wall time is for what leaves the process; durations come from `monotonic`,
which no administrator can set back.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two readings of time, both in seconds."""

    def wall(self) -> float:
        """Return seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""
        ...


class SystemClock:
    """The operating system's clocks."""

    __slots__ = ()

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until `advance` is called: tests and replay."""

    __slots__ = ("_monotonic", "_wall")

    def __init__(self, wall: float = 1_700_000_000.0, monotonic: float = 1_000.0) -> None:
        self._wall = wall
        self._monotonic = monotonic

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return self._wall

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both readings forward by `seconds`."""
        self._wall += seconds
        self._monotonic += seconds


SYSTEM_CLOCK = SystemClock()


def now_us() -> int:
    """Return microseconds since the epoch: the time stamp of every audit record."""
    return time.time_ns() // 1000


def format_time(epoch_us: int) -> str:
    """Return `epoch_us` as RFC 3339 in UTC with microseconds."""
    seconds, micros = divmod(epoch_us, 1_000_000)
    stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{micros:06d}Z"
