"""Parameter values as a person reads them: a number as a number, whatever the wire format.

Only what is certain is decoded. A value of another size than its type has, or of a type that is not
in the table, is shown as the bytes it is.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.approvals.model import Parameter


def _number(layout: str) -> Callable[[bytes], str]:
    return lambda raw: str(struct.unpack(layout, raw)[0])


def _boolean(raw: bytes) -> str:
    return {b"\x00": "false", b"\x01": "true"}[raw]


_TYPES: dict[int, tuple[str, Callable[[bytes], str] | None]] = {
    16: ("boolean", _boolean),
    17: ("bytea", None),
    20: ("bigint", _number(">q")),
    21: ("smallint", _number(">h")),
    23: ("integer", _number(">i")),
    25: ("text", bytes.decode),
    26: ("oid", _number(">I")),
    114: ("json", bytes.decode),
    700: ("real", _number(">f")),
    701: ("double precision", _number(">d")),
    1042: ("char", bytes.decode),
    1043: ("varchar", bytes.decode),
    1082: ("date", None),
    1114: ("timestamp", None),
    1184: ("timestamptz", None),
    1700: ("numeric", None),
    2950: ("uuid", lambda raw: str(uuid.UUID(bytes=raw))),
    3802: ("jsonb", None),
}


@dataclass(frozen=True, slots=True)
class Readable:
    """One parameter for a page: `value` is None for NULL, `note` says how it is spelled."""

    type: str
    value: str | None
    note: str = ""


def readable(param: Parameter) -> Readable:
    """Return `param` in the form a person can judge."""
    name, decode = _TYPES.get(param.type_oid, (f"type {param.type_oid}", None))
    if param.type_oid == 0:
        name = "type not stated"
    if param.value is None:
        return Readable(name, None)
    try:
        if param.format == 0:
            return Readable(name, param.value.decode())
        if decode is not None:
            return Readable(name, decode(param.value), "sent in binary")
    except (UnicodeDecodeError, struct.error, ValueError, KeyError):
        pass  # not what its type says: shown as bytes
    return Readable(name, param.value.hex(" "), "bytes in hexadecimal")
