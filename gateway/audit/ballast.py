"""Disk space kept in reserve, so that a full disk still takes the last records and the signature.

The rings have their space from the start; what a full disk takes away is the room to move their
records into the trail and to close it well. Giving up the ballast brings that room once.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from gateway.logs import get_logger

_LOG = get_logger("audit")
BALLAST_BYTES: Final = 8 << 20
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Ballast:
    """One file beside the segments. Its owner is the writer."""

    def __init__(self, directory: Path, size_bytes: int = BALLAST_BYTES) -> None:
        self._path = directory / "ballast"
        self._size = size_bytes

    def hold(self) -> None:
        """Take the space if it is not taken; without room for it there is none, for now."""
        if self._path.exists():
            return
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.posix_fallocate(fd, 0, self._size)
        except OSError as error:
            _LOG.warning("no room for the audit's reserve: %s", error)
            self._path.unlink(missing_ok=True)
        finally:
            os.close(fd)

    def drop(self, error: OSError) -> bool:
        """Give the space up when `error` says that the disk is full; whether there was any."""
        if error.errno not in _FULL or not self._path.exists():
            return False
        try:
            self._path.unlink()
        except OSError:
            return False
        _LOG.error("audit disk full: its reserve is given up")
        return True
