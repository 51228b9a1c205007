"""Twin of `_fastpath/moments`: the start of a moment's calendar unit, in plain Python."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from _fastpath.maskencode import encode
from _fastpath.masktypes import ColumnType, Family

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


def build_truncate(
    column: ColumnType, unit: object, *, is_binary: bool
) -> Callable[[bytes], bytes]:
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
        return date_text(_truncate_days(days, unit))
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
    date = date_text(moment // _DAY_US)
    date, era = (date[:-3], b" BC") if date.endswith(b" BC") else (date, b"")
    zone = b"+00" if family is Family.TIMESTAMPTZ else b""
    return b"%s %02d:%02d:00%s%s" % (date, minutes // 60, minutes % 60, zone, era)


def _offset_us(text: bytes) -> int:
    hours, minutes, seconds = ([int(part) for part in text[1:].split(b":")] + [0, 0])[:3]
    offset = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000
    return -offset if text.startswith(b"-") else offset


def date_text(days: int) -> bytes:
    year, month, day = civil_from_days(days)
    if year > 0:
        return b"%04d-%02d-%02d" % (year, month, day)
    return b"%04d-%02d-%02d BC" % (1 - year, month, day)
