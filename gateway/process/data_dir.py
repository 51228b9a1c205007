"""Prepare the data directory, and make sure that one supervisor only works on it."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from select import select

from gateway.ipc import paths
from gateway.process.exits import StartError

# After kill -9 of a supervisor its children die at once, but not in no time.
_LOCK_WAIT_S = 2.0


def prepare_data_dir(data_dir: Path) -> None:
    """Create the directories, private to the gateway's user."""
    try:
        for directory in (
            data_dir,
            paths.run_dir(data_dir),
            paths.journal_file(data_dir, "x").parent,
            paths.active_policy(data_dir).parent,
            paths.keys_dir(data_dir),
        ):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(data_dir, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable by this user")
    except OSError as error:
        raise StartError(f"data_dir {data_dir}: {error.strerror or error}") from error


class DataDirLock:
    """An exclusive lock on a data directory.

    The descriptor is inherited by every child on purpose: the lock is free only when the last
    process of the previous life is gone, so two lives never write one journal.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = paths.lock_file(data_dir)
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; raises StartError naming the holder when it stays taken."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
                    os.close(descriptor)
                    raise StartError(
                        f"data_dir {self._path.parent} is in use by process {holder or 'unknown'}"
                    ) from None
                select([], [], [], 0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock up. Safe to call twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, on disk before it becomes visible."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
