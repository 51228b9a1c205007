"""Durations and sizes as people write them: `15s`, `1h30m`, `8MiB`.

Configuration and policies share one grammar. A bare number is refused: whether `30` means
seconds or milliseconds is the mistake this notation exists to prevent.
"""

from __future__ import annotations

import re
from typing import Final

_SECONDS: Final = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3_600.0,
    "d": 86_400.0,
    "w": 604_800.0,
}
_BYTES: Final = {
    "B": 1,
    "kB": 1_000,
    "MB": 1_000_000,
    "GB": 1_000_000_000,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
# Digits are capped so that a hostile policy file cannot make us do big-number arithmetic.
_DURATION_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(us|ms|s|m|h|d|w)", re.ASCII)
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15})(B|kB|MB|GB|KiB|MiB|GiB|TiB)", re.ASCII)


def parse_duration(text: str) -> float:
    """Return the seconds in `text`, such as `250ms`, `15s` or `1h30m`; raises ValueError."""
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        msg = f"{text!r} is not a duration; write a number and a unit, such as 15s, 10m or 400d"
        raise ValueError(msg)
    return sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text))


def parse_size(text: str) -> int:
    """Return the bytes in `text`, such as `8MiB` or `500kB`; raises ValueError."""
    if text == "0":
        return 0
    match = _SIZE.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not a size; write a number and a unit, such as 64KiB or 8MiB"
        raise ValueError(msg)
    return int(match[1]) * _BYTES[match[2]]


def format_duration(seconds: float) -> str:
    """Return `seconds` in the largest unit that divides it, in the notation parsed here."""
    for unit in ("d", "h", "m", "s", "ms"):
        count = seconds / _SECONDS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{round(seconds * 1e6)}us" if seconds else "0s"


def format_size(size: int) -> str:
    """Return `size` in the largest binary unit that divides it."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= _BYTES[unit] and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"
