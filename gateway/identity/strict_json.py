"""Read JSON that came from outside, without the tolerance of the usual reader.

A duplicate key means one thing to us and may have meant another to whoever signed or checked
the same bytes; NaN, infinities and other encodings than UTF-8 are not JSON at all.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn


def load_object(data: bytes) -> dict[str, Any]:
    """Return the object in `data`; raises ValueError for anything else."""
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key occurs twice")
    return members


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
