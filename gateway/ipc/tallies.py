"""Counts per principal that all workers share: open sessions, statements of a window.

One memory-mapped file. A place is found under a file lock, which happens at a login; counting a
statement then is a compare and swap in compiled code (`_fastpath/bounds.pyx`). Sessions are counted
per worker, so that what a killed worker had open is forgotten when it starts anew. Statement
counts outlive the gateway: a restart gives nobody a new budget.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.limits import WORKERS_MAX

WINDOW_PLACES: Final = 16_384
SESSION_PLACES: Final = 4_096
_PROBES: Final = 64  # places looked at for one key
_WINDOW_WORDS: Final = 4  # two halves of the key, the counting word, the period in us
_SESSION_BYTES: Final = 16 + 2 * WORKERS_MAX
_SESSIONS_AT: Final = WINDOW_PLACES * _WINDOW_WORDS * 8
_FILE_BYTES: Final = _SESSIONS_AT + SESSION_PLACES * _SESSION_BYTES
_COUNT_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class SessionPlace:
    """Where one session is counted."""

    key: bytes
    worker: int


class Tallies:
    """The shared counts, as one process sees them."""

    def __init__(self, path: Path) -> None:
        """Map the file at `path`, made when it is not there; raises OSError."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size != _FILE_BYTES:
                # Of another version, or new: what it counted cannot be read.
                os.ftruncate(descriptor, 0)
                os.ftruncate(descriptor, _FILE_BYTES)
            self._map = mmap.mmap(descriptor, _FILE_BYTES)
        finally:
            # The mapping keeps a copy of the descriptor, and with it the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
        self.words = memoryview(self._map).cast("q")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # An open file description of its own: an inherited one would exclude nobody.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # --- windows -------------------------------------------------------------------------

    def window(self, name: str, period_us: int) -> tuple[int, int, int] | None:
        """Return (first word, two halves of the key) of a counter; None when all are in use."""
        high, low = struct.unpack("<qq", _key(f"{name}\0{period_us}"))
        now_us = time.time_ns() // 1000
        with self._locked():
            free: int | None = None
            for place in _places(low, WINDOW_PLACES):
                at = place * _WINDOW_WORDS
                words = self.words[at : at + _WINDOW_WORDS]
                if (words[0], words[1]) == (high, low):
                    return at, high, low
                period = words[3]
                if free is None and (period == 0 or words[2] >> _COUNT_BITS < now_us // period):
                    free = at  # never used, or its window has passed
            if free is None:
                return None
            self.words[free + 2] = 0
            self.words[free + 3] = period_us
            self.words[free], self.words[free + 1] = high, low
            return free, high, low

    # --- sessions ------------------------------------------------------------------------

    def enter(self, name: str, worker: int, most: int) -> SessionPlace | None:
        """Count a session of `name` in, unless `most` are open already or no place is left."""
        key = _key(name)
        with self._locked():
            at = self._find_sessions(key) or self._free_sessions(key)
            if at is None:
                return None
            counts = self._counts(at)
            if sum(counts) >= most:
                return None
            self._map[at : at + 16] = key
            counts[worker] += 1
            return SessionPlace(key, worker)

    def leave(self, place: SessionPlace) -> None:
        """Undo `enter`. A count that the worker's restart has cleared stays at zero."""
        with self._locked():
            at = self._find_sessions(place.key)
            if at is not None:
                counts = self._counts(at)
                counts[place.worker] = max(0, counts[place.worker] - 1)

    def open_sessions(self, name: str) -> int:
        """How many sessions of `name` are counted now."""
        at = self._find_sessions(_key(name))
        return 0 if at is None else sum(self._counts(at))

    def forget_worker(self, worker: int, *, and_above: bool = False) -> None:
        """A worker starts: what its earlier life had open is gone."""
        last = WORKERS_MAX if and_above else worker + 1
        with self._locked():
            for place in range(SESSION_PLACES):
                at = _SESSIONS_AT + place * _SESSION_BYTES
                if any(self._map[at : at + 16]):
                    counts = self._counts(at)
                    for number in range(worker, last):
                        counts[number] = 0

    def _counts(self, at: int) -> memoryview:
        return memoryview(self._map)[at + 16 : at + _SESSION_BYTES].cast("H")

    def _find_sessions(self, key: bytes) -> int | None:
        for at in self._session_places(key):
            if self._map[at : at + 16] == key:
                return at
        return None

    def _free_sessions(self, key: bytes) -> int | None:
        return next((at for at in self._session_places(key) if not any(self._counts(at))), None)

    def _session_places(self, key: bytes) -> Iterator[int]:
        (low,) = struct.unpack_from("<q", key, 8)
        for place in _places(low, SESSION_PLACES):
            yield _SESSIONS_AT + place * _SESSION_BYTES


def _key(name: str) -> bytes:
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()


def _places(low: int, count: int) -> Iterator[int]:
    for probe in range(_PROBES):
        yield (low + probe) % count
