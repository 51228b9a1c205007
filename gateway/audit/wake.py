"""Wake another process of the gateway by a byte in a named pipe, where one kept waiting asks.

Both ends open it for reading and writing: nobody ever blocks, nobody gets SIGPIPE, and either
may be killed and come back. A wake may be lost with its process, so waiting has a bound too.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway import limits

_GATHER_SLICE_S: Final = 0.001
_GATHER_RECORDS_MIN: Final = 3.0  # one client alone has an intent and the result before it


class WakePipe:
    """One direction: some processes call `wake`, one waits on `fileno` and calls `drain`."""

    def __init__(self, path: Path) -> None:
        """Make the pipe if it is not there. Raises OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Readable after a `wake`."""
        return self._fd

    def wake(self) -> None:
        """Wake the other end; many wakes may become one."""
        with suppress(BlockingIOError):  # full of wakes that nobody has read yet
            os.write(self._fd, b"\0")

    def drain(self) -> None:
        """Forget the wakes so far."""
        with suppress(BlockingIOError):
            while len(os.read(self._fd, 4096)) == 4096:
                pass

    def close(self) -> None:
        """Close this end. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def writer_wake(data_dir: Path) -> Path:
    """By which workers ask the writer for a flush now."""
    return data_dir / "journal" / "writer.wake"


def producer_wake(ring: Path) -> Path:
    """By which the writer tells the producer of `ring` that it has flushed."""
    return ring.with_suffix(".wake")


class GatherPace:
    """How long a flush that somebody waits for may gather others: under load, one serves many.

    A flush costs the same for one statement as for a hundred, in the writer and in the workers it
    wakes. For one client it begins at once; where flushes serve several it waits while more come.
    """

    def __init__(self, gather_s: float = limits.COMMIT_GATHER_S) -> None:
        """Gather for at most `gather_s`."""
        self._gather_s = gather_s
        self._records = 0.0  # per flush, of late

    def note(self, count: int) -> None:
        """A pass moved `count` records."""
        if count:
            self._records += (count - self._records) / 8

    def gather(self, lag_bytes: Callable[[], int]) -> None:
        """Return when no more records come, or the time is over."""
        if self._records < _GATHER_RECORDS_MIN:
            return
        before, left = -1, self._gather_s
        while left > 0 and (now := lag_bytes()) != before:
            before = now
            select.select((), (), (), _GATHER_SLICE_S)
            left -= _GATHER_SLICE_S


class WriterWaits:
    """How the writer pauses, and whom it tells of a flush."""

    def __init__(self, data_dir: Path, *, is_group: bool) -> None:
        """`is_group`: producers wait for flushes; without, nobody is told and nobody asks."""
        self._data_dir = data_dir
        self._is_group = is_group
        self._pace = GatherPace()
        self._pipes: dict[str, WakePipe] = {}

    def moved(self, count: int) -> None:
        """A pass moved `count` records: how many come decides whether a flush gathers."""
        self._pace.note(count)

    def pause(self, seconds: float, lag_bytes: Callable[[], int] = lambda: 0) -> None:
        """Wait, at most until a producer asks for a flush and others had time to join it."""
        if self._is_group:
            pipe = self._pipe(writer_wake(self._data_dir))
            if select.select((pipe,), (), (), max(seconds, 0.0))[0]:
                pipe.drain()
                self._pace.gather(lag_bytes)
        elif seconds > 0:
            select.select((), (), (), seconds)

    def tell(self, ring: Path) -> None:
        """Records of `ring` are on the disk, and its producer can see that they are."""
        if self._is_group:
            self._pipe(producer_wake(ring)).wake()

    def _pipe(self, path: Path) -> WakePipe:
        pipe = self._pipes.get(path.name)
        if pipe is None:
            pipe = self._pipes[path.name] = WakePipe(path)
        return pipe

    def close(self) -> None:
        """Close the pipes. Safe to call twice."""
        for pipe in self._pipes.values():
            pipe.close()
        self._pipes.clear()
