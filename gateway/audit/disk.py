"""Watch how full the audit disk is: warn at one mark, stop draining at the next.

While draining stands still the rings fill, and whoever produces refuses what it cannot record.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway import limits, metrics
from gateway.logs import get_logger

_LOG = get_logger("audit")
_DISK = metrics.DISK_USED.slot()


def disk_share(directory: Path) -> float:
    """How full the file system of `directory` is for us, 0..1."""
    usage = shutil.disk_usage(directory)
    # As df has it: what is reserved for root is neither used nor ours.
    ours = usage.used + usage.free
    return usage.used / ours if ours else 1.0


class DiskWatch:
    """The marks of one directory's file system; whether the writer must stand still."""

    def __init__(
        self,
        directory: Path,
        *,
        warn_share: float = limits.DISK_WARN_SHARE,
        refuse_share: float = limits.DISK_REFUSE_SHARE,
        measure: Callable[[Path], float] = disk_share,
    ) -> None:
        self._directory = directory
        self._warn_share, self._refuse_share = warn_share, refuse_share
        self._measure = measure
        self._has_warned = False
        self.is_paused = False

    @property
    def has_room(self) -> bool:
        """Whether the last look found the disk below both marks."""
        return not self.is_paused and not self._has_warned

    def look(self) -> Iterator[tuple[str, float]]:
        """Measure; (record kind, share) of what is to be recorded. Raises OSError."""
        share = self._measure(self._directory)
        metrics.put(_DISK, round(share * 100))
        if share >= self._refuse_share:
            if not self.is_paused:
                _LOG.error("audit disk %.1f %% full: statements are refused", share * 100)
            self.is_paused = True
            return
        if self.is_paused:
            self.is_paused = False
            _LOG.warning("audit disk %.1f %% full: recording again", share * 100)
            yield "limit.disk_resumed", share
        if share >= self._warn_share and not self._has_warned:
            _LOG.warning("audit disk %.1f %% full", share * 100)
            yield "limit.disk_warned", share
        self._has_warned = share >= self._warn_share
