"""The connector's own record of what it let through: one JSON line per event.

Independent of the gateway's trail, so that each can be held against the other. What cannot be
recorded is not done.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import orjson

from gateway.clock import format_time, now_us
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from pathlib import Path


class TrailUnwritable(GatewayError):
    """The audit file takes no line, so nothing is handed out."""


class ConnectorTrail:
    """Appends to one file, which may be rotated by renaming it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path

    def record(self, event: str, **fields: Any) -> None:
        """Write one line; raises TrailUnwritable."""
        line = orjson.dumps({"time": format_time(now_us()), "event": event, **fields}) + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._path, flags, 0o600)
            try:
                if os.write(descriptor, line) != len(line):
                    raise TrailUnwritable(f"{self._path}: no space left")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise TrailUnwritable(f"{self._path}: {error.strerror}") from error
