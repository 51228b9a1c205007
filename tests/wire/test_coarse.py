"""Buckets and calendar units: the compiled maskers against exact arithmetic in Python.

Values are written as the server writes them; what comes back must be the twin's value in both
formats, whichever way (compiled or exact) the value takes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from _fastpath import maskmath
from _fastpath.maskcells import CellMask, build_cell
from _fastpath.maskencode import encode
from _fastpath.masktypes import ColumnType, Family
from tests.support import reference_moments

INTS = {20: 8, 21: 2, 23: 4}
DAYS = st.integers(-2_451_000, 2_145_031_948)
MOMENTS = st.integers(-211_813_488_000_000_000, 9_223_371_331_199_999_999)


def masker(
    kind: str, type_oid: int, form: int, typmod: int = -1, **params: object
) -> Callable[[bytes], bytes]:
    mask = CellMask(kind=kind, type_oid=type_oid, format=form, typmod=typmod, params=params)
    shown = build_cell(mask)
    return lambda cell: shown.mask_bytes(cell) or b""


def as_float(cell: bytes, form: int) -> float:
    """A zero is a zero, and a text may be longer or shorter."""
    if not form:
        return float(cell)
    value: float = struct.unpack(">f" if len(cell) == 4 else ">d", cell)[0]
    return value


def bucketed(type_oid: int, value: object, size: object, typmod: int = -1) -> list[bytes]:
    """What the compiled masker shows in text and binary, checked against the exact way."""
    column = ColumnType(type_oid, typmod)
    step = maskmath.bucket_step(column, size)
    shown = []
    for form, cell in enumerate(encode(column, value)):
        found = masker("bucket", type_oid, form, typmod, size=size)(cell)
        exact = maskmath.build_bucket(column, step, is_binary=bool(form))(cell)
        if column.family is Family.FLOAT:
            assert as_float(found, form) == as_float(exact, form)
        else:
            assert found == exact, (cell, found, exact)
        shown.append(found)
    return shown


@given(st.sampled_from(sorted(INTS)), st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**66))
@example(20, -(2**63), 3)
@example(20, 2**63 - 1, 2**63 - 1)
@example(20, -1, 2**63)
@example(21, -(2**15), 7)
def test_whole_numbers(type_oid: int, value: int, size: int) -> None:
    half = 1 << (8 * INTS[type_oid] - 1)
    for each in {value % (2 * half) - half, -half, half - 1, 0, -1}:
        for step in {size, size % 1000 + 1}:
            bucketed(type_oid, each, step)


@given(st.integers(0, 2**32 - 1), st.integers(1, 2**34))
def test_oids(value: int, size: int) -> None:
    bucketed(26, value, size)


@given(
    st.sampled_from([700, 701]),
    st.floats(width=32) | st.integers(-(2**25), 2**25).map(float) | st.floats(-1e6, 1e6, width=32),
    st.integers(1, 10**9) | st.sampled_from(["0.5", "0.1", 1000]),
)
@example(701, -0.0, 7)
@example(700, 16777215.0, 10)
@example(701, 99.99999999999999, 100)
def test_floats(type_oid: int, value: float, size: object) -> None:
    bucketed(type_oid, value, size)


decimals = st.decimals(
    -(10**20), 10**20, allow_nan=False, allow_infinity=False, places=3
) | st.decimals(-1000, 1000, allow_nan=False, allow_infinity=False)


@given(decimals, st.sampled_from([1, 7, 1000, "0.05", "0.125", "2.50", 10**19, "1e-20"]))
@example(Decimal("-0.01"), 1)
@example(Decimal("0.00"), "0.05")
@example(Decimal(10) ** 17, "0.125")
def test_numerics(value: Decimal, size: object) -> None:
    bucketed(1700, value, size)


@given(
    st.integers(1, 22), st.integers(0, 6), st.integers(-(10**22), 10**22),
    st.sampled_from([1, 7, 1000, "0.5", "0.125"]),
)  # fmt: skip
def test_numerics_of_a_precision(precision: int, scale: int, units: int, size: object) -> None:
    scale = min(scale, precision)
    units = units % 10**precision if units > 0 else -(-units % 10**precision)
    typmod = (precision << 16 | scale) + 4
    bucketed(1700, Decimal(units).scaleb(-scale), size, typmod)


@pytest.mark.parametrize("cell", [b"NaN", b"Infinity", b"-Infinity"])
def test_special_numbers_are_buckets_of_their_own(cell: bytes) -> None:
    for type_oid in (700, 701, 1700):
        assert masker("bucket", type_oid, 0, size=10)(cell) == cell
    for head in (0xC000, 0xD000, 0xF000):
        binary = struct.pack(">hhHh", 0, 0, head, 0)
        assert masker("bucket", 1700, 1, size=10)(binary) == binary


@pytest.mark.parametrize(
    ("type_oid", "form", "cells"),
    [
        (23, 0, [b"", b"-", b"1.5", b"+1", b"99999999999999999999", b"9223372036854775808", b"1\0"]),
        (23, 1, [b"", b"123", b"12345", b"12345678"]),
        (701, 0, [b"", b"-", b"x", b"1x", b"--1", b"1" * 400 + b"x"]),
        (701, 1, [b"", b"1234", b"123456789"]),
        (1700, 0, [b"", b"-", b".", b"1..2", b"x", b"\xff"]),
        (1700, 1, [b"", bytes(7), b"\0\2" + bytes(8), bytes(9), b"\xff\xff" + bytes(6)]),
        (1082, 1, [b"", b"123", b"12345678"]),
        (1114, 1, [b"", b"1234", b"\x7f" + b"\xff" * 6 + b"\xfe"]),
        (1083, 0, [b"", b"1", b"12:34", b"12:34:5", b"12:34:56.", b"12:34:56.1234567", b"aa:bb:cc"]),
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused(type_oid: int, form: int, cells: list[bytes]) -> None:
    moment = type_oid in (1082, 1083, 1114)
    unit = "hour" if type_oid == 1083 else "year"
    mask = (
        masker("truncate", type_oid, form, to=unit)
        if moment
        else masker("bucket", type_oid, form, size=10)
    )
    for cell in cells:
        with pytest.raises(ValueError, match="."):
            mask(cell)


# --- moments ------------------------------------------------------------------------------


def truncated(type_oid: int, unit: str, form: int, cell: bytes) -> bytes:
    column = ColumnType(type_oid)
    shown: bytes = masker("truncate", type_oid, form, to=unit)(cell)
    twin = reference_moments.build_truncate(column, unit, is_binary=bool(form))
    assert shown == twin(cell), (type_oid, unit, cell)
    return shown


@given(DAYS, st.sampled_from(reference_moments.UNITS[:4]))
@example(-(2**31), "year")
@example(2**31 - 1, "week")
def test_dates(days: int, unit: str) -> None:
    truncated(1082, unit, 1, struct.pack(">i", days))
    if -2_451_000 <= days < 2_000_000:
        text = reference_moments.date_text(days)
        binary = struct.unpack(">i", truncated(1082, unit, 1, struct.pack(">i", days)))[0]
        assert truncated(1082, unit, 0, text) == reference_moments.date_text(binary)


@given(
    MOMENTS, st.sampled_from(reference_moments.UNITS), st.integers(-57_540, 57_540),
    st.integers(0, 6),
)  # fmt: skip
@settings(max_examples=300)
def test_timestamps(moment: int, unit: str, offset_s: int, places: int) -> None:
    """Text in any zone and with any fraction, and binary, are one moment."""
    moment -= moment % 10 ** (6 - places)
    binary = truncated(1184, unit, 1, struct.pack(">q", moment))
    assert truncated(1114, unit, 1, struct.pack(">q", moment)) == binary
    local = moment + offset_s * 1_000_000
    date, rest = divmod(local, 86_400_000_000)
    text = reference_moments.date_text(date)
    text, era = (text[:-3], b" BC") if text.endswith(b" BC") else (text, b"")
    clock = b"%02d:%02d:%02d" % (rest // 3_600_000_000, rest // 60_000_000 % 60, rest // 10**6 % 60)
    if fraction := (b"%06d" % (rest % 10**6)).rstrip(b"0"):
        clock += b"." + fraction
    sign, seconds = (b"-", -offset_s) if offset_s < 0 else (b"+", offset_s)
    zone = sign + b"%02d:%02d:%02d" % (seconds // 3600, seconds // 60 % 60, seconds % 60)
    if (
        len(text.split(b"-")[0]) <= 6
        and -4712 <= reference_moments.civil_from_days(date)[0] <= 294_276
    ):
        shown = truncated(1184, unit, 0, text + b" " + clock + zone + era)
        again = truncated(1184, unit, 0, shown)
        assert again == shown
        assert truncated(1114, unit, 0, text + b" " + clock + era)


@pytest.mark.parametrize(
    "cell",
    [
        b"", b"x", b"infinity", b"-infinity", b"17/05/1984", b"1984-05", b"1984-05-1", b"198-05-17",
        b"1984-05-17 1:2:3+00", b"1984-05-17 01:02:03.+00", b"1984-05-17 01:02:03+", b" BC",
        b"1984-05-17 01:02:03+1", b"1984-05-17 01:02:03+01:", b"1984-05-17T01:02:03+00",
        b"1984-05-17 01:02:03.1234567+00", b"1984-05-17 01:02:03+00 BC ", b"1234567-01-01",
    ],
)  # fmt: skip
def test_another_style_shows_the_zero(cell: bytes) -> None:
    for type_oid in (1082, 1114, 1184):
        shown = masker("truncate", type_oid, 0, to="year")(cell)
        if cell.endswith(b"infinity"):
            assert shown == cell
        else:
            assert shown.startswith(b"1970-01-01")


@given(st.times(), st.sampled_from(["hour", "minute"]))
def test_times(time: object, unit: str) -> None:
    text, binary = encode(ColumnType(1083), time)
    shown = truncated(1083, unit, 0, text)
    assert encode(ColumnType(1083), shown.decode())[1] == truncated(1083, unit, 1, binary)
