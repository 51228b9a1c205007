"""Generation numbers and heartbeats that all processes of one gateway share.

One memory-mapped file of aligned 64-bit integers. Reading a slot costs a load, so the data
plane can ask on every read whether the policy, the catalog, a revocation or a key changed.
Generations only grow and are bumped under a file lock; a heartbeat slot has a single writer.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from pathlib import Path

POLICY = 0
CATALOG = 1
REVOCATION = 2
KEYS = 3
_SUPERVISOR = 4  # not a generation: when the supervisor went round last
HEARTBEATS = 16  # first heartbeat slot; the slots between are kept for further generations
SLOTS = 512
HEARTBEATS_MAX = SLOTS - HEARTBEATS

_SLOT_BYTES = 8
_FILE_BYTES = SLOTS * _SLOT_BYTES


class Epochs:
    """The shared slots. `buffer` is a writable memoryview of int64 for compiled readers."""

    def __init__(self, path: Path, mapping: mmap.mmap) -> None:
        self.path = path
        self._mapping = mapping
        self.buffer = memoryview(mapping).cast("q")

    @classmethod
    def create(cls, path: Path) -> Epochs:
        """Replace the file at `path` by a fresh one, all slots zero. Only the supervisor does."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(bytes(_FILE_BYTES))
        fresh.chmod(0o600)
        fresh.replace(path)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Epochs:
        """Map an existing file; raises OSError when it is missing or of another size."""
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size != _FILE_BYTES:
                raise OSError(f"{path}: not an epochs file of this version")
            return cls(path, mmap.mmap(descriptor, _FILE_BYTES))
        finally:
            os.close(descriptor)

    def get(self, slot: int) -> int:
        """Current value of `slot`."""
        return self.buffer[slot]

    def bump(self, slot: int) -> int:
        """Add one to a generation and return it. Safe among processes."""
        # The lock needs an open file description of its own: one inherited over fork would
        # be shared with the parent and exclude nobody.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self.buffer[slot] += 1
            return self.buffer[slot]
        finally:
            os.close(descriptor)

    def beat(self, process: int) -> None:
        """Record that the loop of process number `process` ran just now."""
        self.buffer[HEARTBEATS + process] = time.monotonic_ns()

    def beat_supervisor(self) -> None:
        """Record that the supervisor is at work: who restarts what dies."""
        self.buffer[_SUPERVISOR] = time.monotonic_ns()

    def supervisor_age_s(self) -> float:
        """Seconds since the supervisor went round; 0 before it did."""
        beaten_ns = self.buffer[_SUPERVISOR]
        return 0.0 if beaten_ns == 0 else (time.monotonic_ns() - beaten_ns) / 1e9

    def clear_beat(self, process: int) -> None:
        """Forget the heartbeat of a process that is about to be started anew."""
        self.buffer[HEARTBEATS + process] = 0

    def beat_age_s(self, process: int) -> float | None:
        """Seconds since the last heartbeat of `process`; None before its first one."""
        beaten_ns = self.buffer[HEARTBEATS + process]
        return None if beaten_ns == 0 else (time.monotonic_ns() - beaten_ns) / 1e9

    def close(self) -> None:
        """Unmap. Every view taken from `buffer` must be gone."""
        self.buffer.release()
        self._mapping.close()
