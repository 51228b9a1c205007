"""Coarser values: numbers by bucket, moments by calendar unit. The value shown is one of the type.

Exact arithmetic on decimals and on days since 2000-01-01, because a float or a `datetime` would
round differently for text and binary, or end with the year 9999.
"""

from __future__ import annotations

import decimal
import re
import struct
from collections.abc import Callable
from decimal import Decimal

from _fastpath.maskencode import encode, shortest_float
from _fastpath.masktypes import INT_SIZES, ColumnType, Family

Call = Callable[[bytes], bytes | None]

UNITS = ("year", "quarter", "month", "week", "day", "hour", "minute")
_DAY_US = 86_400_000_000
_UNIT_US = {"day": _DAY_US, "hour": 3_600_000_000, "minute": 60_000_000}
_FAMILY_UNITS = {
    Family.DATE: UNITS[:4],
    Family.TIMESTAMP: UNITS,
    Family.TIMESTAMPTZ: UNITS,
    Family.TIME: ("hour", "minute"),
}
_DATE_INFINITE = (0x7FFFFFFF, -0x80000000)
_MOMENT_INFINITE = (0x7FFFFFFFFFFFFFFF, -0x8000000000000000)
_ISO = re.compile(
    rb"(\d{4,6})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d(?:\.\d{1,6})?)([+-][\d:]+)?)?( BC)?"
)
_CONTEXT = decimal.Context(prec=2000, rounding=decimal.ROUND_FLOOR)


# --- bucket -------------------------------------------------------------------------------


def build_bucket(column: ColumnType, size: object, *, is_binary: bool) -> Call:
    """Return what shows the lower bound of a number's bucket. Raises ValueError for a bad size."""
    if isinstance(size, bool) or not isinstance(size, int | float | str):
        raise ValueError("mask kind 'bucket' needs size, a number above 0")
    try:
        step = Decimal(str(size))
    except decimal.InvalidOperation as problem:
        raise ValueError("mask kind 'bucket' needs size, a number above 0") from problem
    if not step.is_finite() or not 0 < step < Decimal(10) ** 30 or step.adjusted() < -30:
        raise ValueError("mask kind 'bucket' needs size, a number above 0 and below 1e30")
    if column.family in (Family.INT, Family.OID) and step != step.to_integral_value():
        raise ValueError("a bucket of whole numbers has a whole size")
    read = {
        Family.INT: _read_int,
        Family.OID: _read_int,
        Family.FLOAT: _read_float,
        Family.NUMERIC: _read_numeric,
    }
    assert column.family is not None
    reader = read[column.family]
    lowest = _lowest(column)

    def bucket(cell: bytes) -> bytes:
        value = reader(cell, column, is_binary)
        if value is None:
            return cell  # NaN and the infinities are buckets of their own
        count = value // step
        if count * step > value:  # // rounds towards zero
            count -= 1
        found = count * step
        if lowest is not None and found < lowest:
            found = lowest
        shown: object = found
        if column.family is Family.FLOAT:
            shown = float(found)
        elif column.family is not Family.NUMERIC:
            shown = int(found)
        return encode(column, shown)[is_binary]

    return lambda cell: _in_context(bucket, cell)


def _in_context(call: Callable[[bytes], bytes], cell: bytes) -> bytes:
    with decimal.localcontext(_CONTEXT):
        return call(cell)


def _lowest(column: ColumnType) -> Decimal | None:
    """Return the least value of the type: the lowest bucket may begin below it."""
    if column.family is Family.INT:
        return Decimal(-(1 << (INT_SIZES[column.oid] * 8 - 1)))
    if column.family is Family.NUMERIC and column.typmod >= 4:
        precision = (column.typmod - 4) >> 16
        scale = ((column.typmod - 4) & 0x7FF ^ 1024) - 1024
        return -(Decimal(10) ** precision - 1).scaleb(-scale)
    return None


def _read_int(cell: bytes, column: ColumnType, is_binary: bool) -> Decimal:
    if not is_binary:
        return Decimal(int(cell))
    if len(cell) != INT_SIZES.get(column.oid, 4):
        raise ValueError("integer of wrong size")
    return Decimal(int.from_bytes(cell, "big", signed=column.family is Family.INT))


def _read_float(cell: bytes, column: ColumnType, is_binary: bool) -> Decimal | None:
    code = ">f" if column.oid == 700 else ">d"
    try:
        (value,) = struct.unpack(code, cell if is_binary else struct.pack(code, float(cell)))
    except struct.error as problem:
        raise ValueError("float of wrong size") from problem
    number = Decimal(shortest_float(value, code))
    return number if number.is_finite() else None


def _read_numeric(cell: bytes, _column: ColumnType, is_binary: bool) -> Decimal | None:
    if not is_binary:
        number = Decimal(cell.decode("ascii"))
        return number if number.is_finite() else None
    if len(cell) < 8:
        raise ValueError("numeric cut short")
    count, weight, sign, _scale = struct.unpack_from(">HhHH", cell)
    if sign & 0xC000 == 0xC000:
        return None
    if len(cell) != 8 + 2 * count:
        raise ValueError("numeric of wrong size")
    number = Decimal(0)
    for place, digit in enumerate(struct.unpack_from(f">{count}H", cell, 8)):
        number += Decimal(digit).scaleb(4 * (weight - place))
    return -number if sign == 0x4000 else number


# --- truncate -----------------------------------------------------------------------------


def build_truncate(column: ColumnType, unit: object, *, is_binary: bool) -> Call:
    """Return what shows the start of a moment's unit, in UTC. Raises ValueError for a bad unit."""
    family = column.family
    assert family is not None
    units = _FAMILY_UNITS[family]
    if unit not in units:
        raise ValueError(f"mask kind 'truncate' takes to, one of {', '.join(units)}")
    to = str(unit)
    zero = encode(column, column.zero())[is_binary]
    if family is Family.TIME:
        return lambda cell: _truncate_time(cell, to, is_binary)
    if is_binary:
        return lambda cell: _truncate_binary(cell, family, to)

    def truncate(cell: bytes) -> bytes:
        # DateStyle is the client's own: another order of day and month is not guessed at.
        return _truncate_text(cell, family, to) or zero

    return truncate


def days_from_civil(year: int, month: int, day: int) -> int:
    """Return days since 2000-01-01 of a proleptic Gregorian date (Hinnant's algorithm)."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 730425


def civil_from_days(days: int) -> tuple[int, int, int]:
    """Return year, month and day; the inverse of `days_from_civil`."""
    era, of_era = divmod(days + 730425, 146097)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + (3 if shifted < 10 else -9)
    return year + era * 400 + (month <= 2), month, day


def _truncate_days(days: int, unit: str) -> int:
    year, month, _day = civil_from_days(days)
    if unit == "year":
        return days_from_civil(year, 1, 1)
    if unit == "quarter":
        return days_from_civil(year, (month - 1) // 3 * 3 + 1, 1)
    if unit == "month":
        return days_from_civil(year, month, 1)
    return days - (days + 5) % 7  # 2000-01-01 was a Saturday; a week begins on Monday


def _truncate_us(moment: int, unit: str) -> int:
    step = _UNIT_US.get(unit)
    if step is not None:
        return moment - moment % step
    return _truncate_days(moment // _DAY_US, unit) * _DAY_US


def _truncate_time(cell: bytes, unit: str, is_binary: bool) -> bytes:
    if is_binary:
        if len(cell) != 8:
            raise ValueError("time of wrong size")
        moment = int.from_bytes(cell, "big", signed=True)
        return (moment - moment % _UNIT_US[unit]).to_bytes(8, "big", signed=True)
    match = re.fullmatch(rb"(\d\d):(\d\d):\d\d(?:\.\d{1,6})?", cell)
    if match is None:
        raise ValueError("not a time of day")
    return match[1] + b":" + (match[2] if unit == "minute" else b"00") + b":00"


def _truncate_binary(cell: bytes, family: Family, unit: str) -> bytes:
    width = 4 if family is Family.DATE else 8
    if len(cell) != width:
        raise ValueError("moment of wrong size")
    value = int.from_bytes(cell, "big", signed=True)
    if value in (_DATE_INFINITE if family is Family.DATE else _MOMENT_INFINITE):
        return cell
    shown = _truncate_days(value, unit) if family is Family.DATE else _truncate_us(value, unit)
    return shown.to_bytes(width, "big", signed=True)


def _truncate_text(cell: bytes, family: Family, unit: str) -> bytes | None:
    if cell in (b"infinity", b"-infinity"):
        return cell
    match = _ISO.fullmatch(cell)
    if match is None:
        return None
    year = int(match[1]) if match[8] is None else 1 - int(match[1])
    days = days_from_civil(year, int(match[2]), int(match[3]))
    if family is Family.DATE:
        return _date_text(_truncate_days(days, unit))
    if match[4] is None:
        return None
    seconds = Decimal(match[6].decode()) + 60 * int(match[5]) + 3600 * int(match[4])
    moment = days * _DAY_US + int(seconds * 1_000_000)
    if family is Family.TIMESTAMPTZ:
        if match[7] is None:
            return None
        moment -= _offset_us(match[7])
    moment = _truncate_us(moment, unit)
    minutes = moment % _DAY_US // 60_000_000
    date = _date_text(moment // _DAY_US)
    date, era = (date[:-3], b" BC") if date.endswith(b" BC") else (date, b"")
    zone = b"+00" if family is Family.TIMESTAMPTZ else b""
    return b"%s %02d:%02d:00%s%s" % (date, minutes // 60, minutes % 60, zone, era)


def _offset_us(text: bytes) -> int:
    hours, minutes, seconds = ([int(part) for part in text[1:].split(b":")] + [0, 0])[:3]
    offset = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000
    return -offset if text.startswith(b"-") else offset


def _date_text(days: int) -> bytes:
    year, month, day = civil_from_days(days)
    if year > 0:
        return b"%04d-%02d-%02d" % (year, month, day)
    return b"%04d-%02d-%02d BC" % (1 - year, month, day)
