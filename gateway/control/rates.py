"""The last quarter of an hour of the gateway's own counters, for the overview.

One look at the memory-mapped metrics every few seconds; a page costs no scrape.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from gateway import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.clock import Clock

EVERY_S: Final = 5.0
SAMPLES_MAX: Final = 181
_SECONDS_PER_MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class Sample:
    """All slots at one moment."""

    at: float
    slots: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of the overview: its values per second, oldest first, and a path to draw."""

    name: str
    values: tuple[float, ...]

    @property
    def now(self) -> float:
        """The newest value."""
        return self.values[-1] if self.values else 0.0

    @property
    def points(self) -> str:
        """Points of an SVG polyline in a box of 180 by 40."""
        top = max(self.values, default=0.0) or 1.0
        step = 180 / max(1, SAMPLES_MAX - 2)
        start = 180 - step * (len(self.values) - 1)
        return " ".join(
            f"{start + index * step:.1f},{39 - 37 * value / top:.1f}"
            for index, value in enumerate(self.values)
        )


class Rates:
    """Keeps samples and answers what they say."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            await self.take()
            await asyncio.sleep(EVERY_S)

    async def take(self) -> None:
        """Take one sample now."""
        slots = await asyncio.to_thread(metrics.totals, self._data_dir)
        self._samples.append(Sample(self._clock.monotonic(), slots))

    def value(self, slot: int) -> int:
        """Return a slot's newest value."""
        return self._samples[-1].slots[slot] if self._samples else 0

    def per_second(self, name: str, slots: Sequence[int]) -> Series:
        """Return how fast the sum of `slots` grew between samples."""
        values, samples = [], list(self._samples)
        for before, after in pairwise(samples):
            grown = sum(after.slots[slot] - before.slots[slot] for slot in slots)
            values.append(max(0.0, grown / max(0.001, after.at - before.at)))
        return Series(name=name, values=tuple(values))

    def quantile(self, metric: metrics.Metric, share: float, *, last_s: float = 300.0) -> str:
        """Return the bucket bound that `share` of the last observations were under, or ""."""
        if not self._samples:
            return ""
        newest = self._samples[-1]
        oldest = next(s for s in self._samples if newest.at - s.at <= last_s)
        counts = [
            newest.slots[metric.first + i] - oldest.slots[metric.first + i]
            for i in range(len(metric.bounds_s) + 1)
        ]
        wanted, seen = share * sum(counts), 0
        if wanted <= 0:
            return ""
        for bound, count in zip(metric.bounds_s, counts, strict=False):
            seen += count
            if seen >= wanted:
                return _duration(bound)
        return f"over {_duration(metric.bounds_s[-1])}"


def _duration(seconds: float) -> str:
    if seconds >= _SECONDS_PER_MINUTE:
        return f"{seconds / _SECONDS_PER_MINUTE:g} min"
    if seconds >= 1:
        return f"{seconds:g} s"
    if seconds >= 0.001:
        return f"{seconds * 1e3:g} ms"
    return f"{seconds * 1e6:g} µs"
