"""PostgreSQL's text and binary forms of the values that masks put in place of real ones.

Only the built-in types listed here are known; a domain arrives as its base type in RowDescription.
Whatever is not listed can still be masked with NULL.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import json
import math
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass

BPCHAR = 1042
NAME = 19
VARCHAR = 1043
JSONB = 3802

NAME_BYTES_MAX = 63
# Beyond this, blanks that nobody reads would only cost memory: they are not significant.
PAD_CHARS_MAX = 8192
INT_SIZES = {21: 2, 23: 4, 20: 8}

# A recognisable "no date"; PostgreSQL's own epoch (2000-01-01) could be someone's birthday.
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_PG_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


class Family(enum.Enum):
    """Types that share an encoding."""

    TEXT = "text"
    CHAR = "char"
    INT = "int"
    OID = "oid"
    FLOAT = "float"
    NUMERIC = "numeric"
    BOOL = "bool"
    UUID = "uuid"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    JSON = "json"
    BYTEA = "bytea"
    INET = "inet"


class _NoDefault(enum.Enum):
    NO_DEFAULT = enum.auto()


NO_DEFAULT = _NoDefault.NO_DEFAULT

_FAMILIES = {
    16: Family.BOOL, 17: Family.BYTEA, 18: Family.CHAR, 19: Family.TEXT, 20: Family.INT,
    21: Family.INT, 23: Family.INT, 25: Family.TEXT, 26: Family.OID, 114: Family.JSON,
    700: Family.FLOAT, 701: Family.FLOAT, 869: Family.INET, 1042: Family.TEXT, 1043: Family.TEXT,
    1082: Family.DATE, 1114: Family.TIMESTAMP, 1184: Family.TIMESTAMPTZ, 1700: Family.NUMERIC,
    2950: Family.UUID, 3802: Family.JSON,
}  # fmt: skip

_ZEROS: dict[Family, object] = {
    Family.CHAR: "*",
    Family.INT: 0,
    Family.OID: 0,
    Family.FLOAT: 0.0,
    Family.NUMERIC: 0,
    Family.BOOL: False,
    Family.UUID: str(uuid.UUID(int=0)),
    Family.DATE: _EPOCH.date(),
    Family.TIMESTAMP: _EPOCH.replace(tzinfo=None),
    Family.TIMESTAMPTZ: _EPOCH,
    Family.BYTEA: b"",
    Family.INET: "0.0.0.0",  # noqa: S104 (a value, nothing is bound)
}


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column's type as far as an encoding depends on it."""

    oid: int
    typmod: int = -1
    text_like: bool = False  # an extension's type that reads and writes as text, such as citext

    @property
    def family(self) -> Family | None:
        """The family of the type, None for one that is not known here."""
        return Family.TEXT if self.text_like else _FAMILIES.get(self.oid)

    @property
    def chars_max(self) -> int | None:
        """How many characters a text column holds, None for no limit."""
        if self.oid in (VARCHAR, BPCHAR) and self.typmod >= 4:
            return self.typmod - 4
        return NAME_BYTES_MAX if self.oid == NAME else None

    @property
    def pad_chars(self) -> int:
        """The width that values of a char(n) column are padded to, 0 for none."""
        width = self.chars_max
        return width if self.oid == BPCHAR and width and width <= PAD_CHARS_MAX else 0

    def zero(self, text: str) -> object:
        """Return what `redact` shows: `text` where text fits, else the type's zero."""
        return text if self.family is None else _ZEROS.get(self.family, text)

    def default(self) -> object:
        """Return the stand-in for NULL in a NOT NULL column, NO_DEFAULT for unknown types."""
        if self.family is None:
            return NO_DEFAULT
        if self.family is Family.JSON:
            return None
        return "" if self.family is Family.TEXT else _ZEROS[self.family]


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
    binary = struct.pack(code, number)
    if math.isnan(number) or math.isinf(number):
        text = "NaN" if math.isnan(number) else ("-Infinity" if number < 0 else "Infinity")
        return text.encode(), binary
    # The shortest text that reads back as the same value in the column's own width.
    (exact,) = struct.unpack(code, binary)
    digits = next(d for d in range(1, 18) if struct.pack(code, float(f"{exact:.{d}g}")) == binary)
    return f"{exact:.{digits}g}".encode(), binary


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
    if _FAMILIES[column.oid] is Family.TIMESTAMPTZ:
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
}
