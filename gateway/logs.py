"""Logs of every process: one line per event on standard error.

No SQL text and no row value above DEBUG; the audit trail is the place for those. As a second
lock every line passes a filter that removes what looks like a token or a URL's password, and
control characters, so that a client cannot forge lines.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Final, TextIO

from gateway.clock import format_time
from gateway.text import clean_text

LINE_BYTES_MAX: Final = 4_000
_ROOT: Final = "postern"
_SECRETS: Final = (
    # A JWT is three base64url parts of which the first two are JSON objects.
    (re.compile(r"eyJ[A-Za-z0-9_-]{4,}\.eyJ[A-Za-z0-9_-]*\.?[A-Za-z0-9_-]*"), "[token]"),
    (re.compile(r"(?<=://)([^/@:\s]*):[^@\s]*(?=@)"), r"\1:[password]"),
    (
        re.compile(r"(?i)\b(password|secret|authorization)(\s*[=:]\s*)('[^']*'|\S+)"),
        r"\1\2[hidden]",
    ),
)


def scrub(text: str) -> str:
    """Return `text` without tokens and passwords."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class _LineFormatter(logging.Formatter):
    """`time process LEVEL area: message | traceback` in one line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            # The whole traceback stays in the line: two processes write to one stream.
            trace = self.formatException(record.exc_info)
            text += " | " + " / ".join(part.strip() for part in trace.splitlines())
        area = record.name.removeprefix(_ROOT + ".")
        time = format_time(int(record.created * 1e6))
        line = f"{time} {self._process} {record.levelname} {area}: {scrub(text)}"
        return clean_text(line, LINE_BYTES_MAX)


def get_logger(area: str) -> logging.Logger:
    """Return the logger of one part of the gateway, such as `session` or `pool`."""
    return logging.getLogger(f"{_ROOT}.{area}")


def configure(process: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send this process's logs to `stream` (standard error), under the name `process`.

    Call again after a fork: the child's lines carry its own name.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_LineFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries: only what needs attention
    logging.getLogger(_ROOT).setLevel(level)
    logging.captureWarnings(capture=True)
