"""Text that leaves the gateway: quoting, and making hostile text safe for one line."""

from __future__ import annotations

import re
from typing import Final

ERROR_TEXT_BYTES_MAX: Final = 300
# Drivers, terminals and log viewers act on these: C0 and C1 controls, line and paragraph
# separators, and the marks that reorder text for the reader.
_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]+")


def quote_name(*parts: str) -> str:
    """Return the dotted name of `parts`, each quoted as PostgreSQL quotes an identifier."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def quote_literal(value: str) -> str:
    """Return `value` as a string constant, for servers with standard_conforming_strings on.

    Raises ValueError for a NUL, which no PostgreSQL text can hold.
    """
    if "\0" in value:
        raise ValueError("a text value cannot hold a NUL byte")
    return "'" + value.replace("'", "''") + "'"


def clean_text(text: str, bytes_max: int = ERROR_TEXT_BYTES_MAX) -> str:
    """Return `text` as one line without control characters, cut to `bytes_max` of UTF-8."""
    line = _CONTROL.sub(" ", text).strip()
    encoded = line.encode()
    if len(encoded) <= bytes_max:
        return line
    return encoded[: bytes_max - 3].decode(errors="ignore") + "..."
