"""PostgreSQL's text and binary forms of the values that masks put in place of real ones.

Both forms are made from one Python value, so that a client which switches formats sees the same.
"""

from __future__ import annotations

import datetime as dt
import decimal
import ipaddress
import json
import math
import re
import struct
import uuid
from collections.abc import Callable, Sequence

from _fastpath.masktypes import INT_SIZES, JSONB, NAME, NAME_BYTES_MAX, ColumnType, Family

MACADDR8 = 774

_PG_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


def encode(column: ColumnType, value: object) -> tuple[bytes, bytes]:
    """Return `value` as (text, binary). Raises ValueError when it is not of the type."""
    family = column.family
    if family is None:
        raise ValueError(f"type OID {column.oid} has no known encoding")
    try:
        return _ENCODERS[family](value, column)
    except (TypeError, OverflowError, struct.error, ArithmeticError, ValueError) as problem:
        raise ValueError(f"{value!r} is not a {family.value} value: {problem}") from problem


def _encode_text(value: object, column: ColumnType) -> tuple[bytes, bytes]:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise TypeError("want text")
    text = str(value)
    if "\0" in text:
        raise ValueError("text cannot hold a zero byte")
    encoded = text[: column.chars_max].ljust(column.pad_chars).encode()
    if column.oid == NAME:
        encoded = encoded[:NAME_BYTES_MAX].decode(errors="ignore").encode()
    return encoded, encoded


def _encode_char(value: object, _column: ColumnType) -> tuple[bytes, bytes]:
    if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value == "\0":
        raise ValueError("want one ASCII character")
    return value.encode(), value.encode()


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError("want a whole number")
    return int(value)


def _encode_int(value: object, column: ColumnType) -> tuple[bytes, bytes]:
    number = _whole(value)
    return b"%d" % number, number.to_bytes(INT_SIZES[column.oid], "big", signed=True)


def _encode_oid(value: object, _column: ColumnType) -> tuple[bytes, bytes]:
    number = _whole(value)
    return b"%d" % number, number.to_bytes(4, "big")


def _encode_float(value: object, column: ColumnType) -> tuple[bytes, bytes]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("want a number")
    number = float(value)
    code = ">f" if column.oid == 700 else ">d"
    return shortest_float(number, code).encode(), struct.pack(code, number)


def shortest_float(number: float, code: str) -> str:
    """Return the shortest text that reads back as `number` in the width of struct's `code`."""
    binary = struct.pack(code, number)
    (exact,) = struct.unpack(code, binary)
    if math.isnan(exact) or math.isinf(exact):
        return "NaN" if math.isnan(exact) else ("-Infinity" if exact < 0 else "Infinity")
    for digits in range(1, 17):
        text = f"{exact:.{digits}g}"
        try:
            if struct.pack(code, float(text)) == binary:
                return text
        except OverflowError:  # rounded up past the largest float4
            continue
    return f"{exact:.17g}"


def _encode_numeric(value: object, column: ColumnType) -> tuple[bytes, bytes]:
    """Encode as sign, weight, display scale and base-10000 digits (numeric_send)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | decimal.Decimal):
        raise TypeError("want a number")
    number = decimal.Decimal(str(value))
    if number.is_nan():
        return b"NaN", struct.pack(">hhHh", 0, 0, 0xC000, 0)
    if number.is_infinite():
        raise ValueError("infinite")
    with decimal.localcontext(prec=2000) as context:
        context.traps[decimal.InvalidOperation] = True
        if column.typmod >= 4:
            precision, scale = (
                (column.typmod - 4) >> 16,
                ((column.typmod - 4) & 0x7FF ^ 1024) - 1024,
            )
            number = number.quantize(decimal.Decimal(1).scaleb(-scale), decimal.ROUND_HALF_UP)
            if number and number.adjusted() + 1 > precision - scale:
                raise ValueError(f"more than {precision} digits")
        text = format(number, "f")
    is_negative = text.startswith("-") and bool(number)
    text = text.lstrip("-")
    whole, _, fraction = text.partition(".")
    padded = whole.zfill(-(-len(whole) // 4) * 4) + fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    digits = [int(padded[i : i + 4]) for i in range(0, len(padded), 4)]
    weight = -(-len(whole) // 4) - 1
    while digits and digits[0] == 0:
        del digits[0]
        weight -= 1
    while digits and digits[-1] == 0:
        digits.pop()
    head = struct.pack(
        ">hhHh", len(digits), weight if digits else 0, 0x4000 if is_negative else 0, len(fraction)
    )
    shown = ("-" if is_negative else "") + text
    return shown.encode(), head + struct.pack(f">{len(digits)}h", *digits)


def _encode_bool(value: object, _column: ColumnType) -> tuple[bytes, bytes]:
    if not isinstance(value, bool):
        raise TypeError("want true or false")
    return (b"t", b"\1") if value else (b"f", b"\0")


def _encode_uuid(value: object, _column: ColumnType) -> tuple[bytes, bytes]:
    parsed = uuid.UUID(str(value))
    return str(parsed).encode(), parsed.bytes


def _moment(value: object) -> dt.datetime:
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value)
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)
    if isinstance(value, dt.date):
        return dt.datetime.combine(value, dt.time(), dt.UTC)
    raise TypeError("want a date or a time stamp in ISO form")


def _encode_date(value: object, _column: ColumnType) -> tuple[bytes, bytes]:
    moment = _moment(value)
    days = (moment.date() - _PG_EPOCH.date()).days
    return moment.date().isoformat().encode(), struct.pack(">i", days)


def _encode_timestamp(value: object, column: ColumnType) -> tuple[bytes, bytes]:
    moment = _moment(value)
    microseconds = (moment - _PG_EPOCH) // dt.timedelta(microseconds=1)
    text = moment.replace(tzinfo=None).isoformat(" ")
    if "." in text:
        text = text.rstrip("0")
    if column.family is Family.TIMESTAMPTZ:
        text += "+00"
    return text.encode(), struct.pack(">q", microseconds)


def _encode_json(value: object, column: ColumnType) -> tuple[bytes, bytes]:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    if b"\\u0000" in text:
        raise ValueError("jsonb cannot hold a zero character")
    # jsonb_send puts a version byte in front.
    return text, (b"\1" + text if column.oid == JSONB else text)


def _encode_bytea(value: object, _column: ColumnType) -> tuple[bytes, bytes]:
    if isinstance(value, str):
        value = bytes.fromhex(value[2:]) if value.startswith("\\x") else value.encode()
    if not isinstance(value, bytes):
        raise TypeError("want bytes, or text (hex after \\x)")
    return b"\\x" + value.hex().encode(), value


def _encode_inet(value: object, _column: ColumnType) -> tuple[bytes, bytes]:
    address = ipaddress.ip_interface(str(value))
    bits = address.network.prefixlen
    packed = address.ip.packed
    text = str(address.ip) if bits == len(packed) * 8 else str(address)
    # network_send: PGSQL_AF_INET is 2, PGSQL_AF_INET6 is 3; then bits, is_cidr, size.
    return text.encode(), bytes([2 if address.version == 4 else 3, bits, 0, len(packed)]) + packed


def _microseconds(value: object) -> tuple[str, int]:
    """Return a time of day as text and as microseconds."""
    time = dt.time.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(time, dt.time) or time.tzinfo is not None:
        raise TypeError("want a time of day in ISO form, without a zone")
    text = time.isoformat()
    whole = (time.hour * 60 + time.minute) * 60 + time.second
    return text.rstrip("0") if "." in text else text, whole * 1_000_000 + time.microsecond


def _encode_time(value: object, _column: ColumnType) -> tuple[bytes, bytes]:
    text, microseconds = _microseconds(value)
    return text.encode(), struct.pack(">q", microseconds)


def _encode_timetz(value: object, _column: ColumnType) -> tuple[bytes, bytes]:
    text, microseconds = _microseconds(value)
    return text.encode() + b"+00", struct.pack(">qi", microseconds, 0)


def _encode_interval(value: object, _column: ColumnType) -> tuple[bytes, bytes]:
    """Take days and a time, as PostgreSQL writes them: "3 days 04:05:06"."""
    if isinstance(value, dt.timedelta):
        days, (text, microseconds) = value.days, _microseconds("00:00:00")
        if value.seconds or value.microseconds:
            raise ValueError("want whole days")
    else:
        match = re.fullmatch(r"(?:(\d{1,6}) days?)? ?(\d\d:\d\d:\d\d(?:\.\d{1,6})?)?", str(value))
        if match is None or not any(match.groups()):
            raise ValueError("want days and a time of day, as in '3 days 04:05:06'")
        days, (text, microseconds) = int(match[1] or 0), _microseconds(match[2] or "00:00:00")
    parts = [f"{days} day{'s' if days != 1 else ''}"] if days else []
    parts += [text] if microseconds or not days else []
    return " ".join(parts).encode(), struct.pack(">qii", microseconds, days, 0)


def _encode_cidr(value: object, _column: ColumnType) -> tuple[bytes, bytes]:
    network = ipaddress.ip_network(str(value))
    packed = network.network_address.packed
    family = 2 if network.version == 4 else 3
    return (
        str(network).encode(),
        bytes([family, network.prefixlen, 1, len(packed)]) + packed,
    )


def _encode_macaddr(value: object, column: ColumnType) -> tuple[bytes, bytes]:
    packed = bytes.fromhex(str(value).replace(":", " ").replace("-", " "))
    if column.oid == MACADDR8 and len(packed) == 6:
        packed += bytes(2)
    if len(packed) != (8 if column.oid == MACADDR8 else 6):
        raise ValueError("wrong number of octets")
    return packed.hex(":").encode(), packed


def _encode_enum(value: object, column: ColumnType) -> tuple[bytes, bytes]:
    if value not in column.labels:
        raise ValueError("want one of " + ", ".join(column.labels))
    return str(value).encode(), str(value).encode()


def _array_element(text: bytes) -> bytes:
    """Quote an element where array_out does."""
    if text and text.upper() != b"NULL" and not re.search(rb'["\\{},\s]', text):
        return text
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", text) + b'"'


def encode_array(column: ColumnType, values: Sequence[object]) -> tuple[bytes, bytes]:
    """Return a one-dimensional array in both forms. Raises ValueError as `encode` does."""
    element = column.element
    if element is None:
        raise ValueError(f"type OID {column.oid} is no known array")
    texts, binary = [], b""
    for value in values:
        if value is None:
            texts.append(b"NULL")
            binary += struct.pack(">i", -1)
        else:
            text, packed = encode(element, value)
            texts.append(_array_element(text))
            binary += struct.pack(">i", len(packed)) + packed
    head = struct.pack(">iiI", 1 if values else 0, int(None in values), element.oid)
    if values:
        head += struct.pack(">ii", len(values), 1)
    return b"{" + b",".join(texts) + b"}", head + binary


_ENCODERS: dict[Family, Callable[[object, ColumnType], tuple[bytes, bytes]]] = {
    Family.TEXT: _encode_text,
    Family.CHAR: _encode_char,
    Family.INT: _encode_int,
    Family.OID: _encode_oid,
    Family.FLOAT: _encode_float,
    Family.NUMERIC: _encode_numeric,
    Family.BOOL: _encode_bool,
    Family.UUID: _encode_uuid,
    Family.DATE: _encode_date,
    Family.TIMESTAMP: _encode_timestamp,
    Family.TIMESTAMPTZ: _encode_timestamp,
    Family.JSON: _encode_json,
    Family.BYTEA: _encode_bytea,
    Family.INET: _encode_inet,
    Family.TIME: _encode_time,
    Family.TIMETZ: _encode_timetz,
    Family.INTERVAL: _encode_interval,
    Family.CIDR: _encode_cidr,
    Family.MACADDR: _encode_macaddr,
    Family.ENUM: _encode_enum,
}
