"""Parameters of recorded statements in words: what the wire had in binary, by its type.

The trail holds the exact bytes (`{"type": oid, "hex": ...}`); reading them is for whoever looks,
and costs a statement nothing. What is of another type, or not what its type says, stays as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

_EPOCH: Final = datetime(2000, 1, 1)  # noqa: DTZ001  PostgreSQL's, for both timestamp types
_TEXTS: Final = (18, 19, 25, 114, 142, 705, 1042, 1043)
_NUMERIC_SIGNS: Final = {0x0000: "", 0x4000: "-"}
_NUMERIC_WORDS: Final = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_DIGITS_MAX: Final = 20_000


def readable_params(params: list[Any]) -> list[Any]:
    """The same list with binary values as text where their type is known."""
    return [_readable(param) for param in params]


def _readable(param: Any) -> Any:
    if not isinstance(param, dict) or "hex" not in param:
        return param
    oid = param.get("type")
    try:
        return decode(oid, bytes.fromhex(param["hex"])) if isinstance(oid, int) else param
    except (ValueError, KeyError, struct.error, OverflowError):
        return param


def decode(oid: int, data: bytes) -> str:
    """A binary value as PostgreSQL would print it, near enough. Raises ValueError, KeyError."""
    if oid in _TEXTS:
        return data.decode()
    if oid in _ARRAYS:
        return _array(data)
    if oid == 17:
        return "\\x" + data.hex()
    return _SCALARS[oid](data)


def _unpack(form: str) -> Callable[[bytes], str]:
    return lambda data: str(struct.unpack(form, data)[0])


def _timestamp(data: bytes) -> str:
    (value,) = struct.unpack(">q", data)
    if value in (-(1 << 63), (1 << 63) - 1):
        return "infinity" if value > 0 else "-infinity"
    return (_EPOCH + timedelta(microseconds=value)).isoformat(" ")


def _date(data: bytes) -> str:
    (days,) = struct.unpack(">i", data)
    return date.fromordinal(date(2000, 1, 1).toordinal() + days).isoformat()


def _interval(data: bytes) -> str:
    micros, days, months = struct.unpack(">qii", data)
    return f"{months} mons {days} days {micros / 1e6:g} s"


def _time(data: bytes) -> str:
    (micros,) = struct.unpack(">q", data)
    return (_EPOCH + timedelta(microseconds=micros)).time().isoformat()


def _numeric(data: bytes) -> str:
    count, weight, sign, scale = struct.unpack_from(">hhHh", data)
    if sign in _NUMERIC_WORDS:
        return _NUMERIC_WORDS[sign]
    if count < 0 or len(data) != 8 + 2 * count or abs(weight) > _DIGITS_MAX or scale < 0:
        raise ValueError("not a numeric")
    groups = struct.unpack_from(f">{count}h", data, 8)
    whole = "".join(f"{groups[i] if i < count else 0:04d}" for i in range(weight + 1))
    first = weight + 1
    rest = "".join(
        f"{groups[i] if 0 <= i < count else 0:04d}" for i in range(first, first + (scale + 3) // 4)
    )
    text = _NUMERIC_SIGNS[sign] + (whole.lstrip("0") or "0")
    return f"{text}.{rest[:scale]}" if scale else text


def _jsonb(data: bytes) -> str:
    if data[:1] != b"\1":
        raise ValueError("not version 1 of jsonb")
    return data[1:].decode()


def _array(data: bytes) -> str:
    dimensions, _, oid = struct.unpack_from(">iiI", data)
    if dimensions == 0:
        return "{}"
    if dimensions != 1:
        raise ValueError("only arrays of one dimension are shown")
    (count,) = struct.unpack_from(">i", data, 12)
    position, parts = 20, []
    for _ in range(count):
        (size,) = struct.unpack_from(">i", data, position)
        position += 4
        if size < 0:
            parts.append("NULL")
            continue
        if position + size > len(data):
            raise ValueError("the array ends too early")
        parts.append(decode(oid, data[position : position + size]))
        position += size
    return "{" + ",".join(parts) + "}"


_SCALARS: Final[dict[int, Callable[[bytes], str]]] = {
    16: lambda data: {b"\0": "false", b"\1": "true"}[data],
    20: _unpack(">q"),
    21: _unpack(">h"),
    23: _unpack(">i"),
    26: _unpack(">I"),
    700: _unpack(">f"),
    701: _unpack(">d"),
    1082: _date,
    1083: _time,
    1114: _timestamp,
    1184: lambda data: _timestamp(data) + "+00",
    1186: _interval,
    1700: _numeric,
    2950: lambda data: str(UUID(bytes=data)),
    3802: _jsonb,
}
_ARRAYS: Final = frozenset(
    (1000, 1001, 1005, 1007, 1009, 1015, 1016, 1021, 1022, 1115, 1182, 1185, 1231, 2951)
)
