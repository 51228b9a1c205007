"""Masked values as a driver reads them: psycopg's decoders are the oracle for both formats."""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import Transformer
from psycopg.pq import Format

from _fastpath.datarow import CellMask, MaskPlan, fitting_kinds
from tests.support.reference import build_row, parse_row

KEY = b"0123456789abcdef"
INT_OIDS = {21: 16, 23: 32, 20: 64}


def read(column: CellMask, cell: bytes = b"?") -> Any:
    """Mask one cell and decode it as a client would."""
    (shown,) = parse_row(MaskPlan([column]).rewrite_bytes(build_row([cell])))
    if shown is None:
        return None
    loader = Transformer(None).get_loader(column.type_oid, Format(column.format))
    return loader.load(shown)


def constant(type_oid: int, value: object, typmod: int = -1) -> list[Any]:
    return [
        read(
            CellMask(
                kind="constant",
                type_oid=type_oid,
                typmod=typmod,
                params={"value": value},
                format=form,
            )
        )
        for form in (0, 1)
    ]


KNOWN = {
    16: False, 17: b"", 20: 0, 21: 0, 23: 0, 25: "[redacted]", 26: 0, 114: "[redacted]", 700: 0.0, 701: 0.0,
    869: ipaddress.ip_address("0.0.0.0"), 1042: "[redacted]", 1043: "[redacted]", 1082: dt.date(1970, 1, 1),
    1114: dt.datetime(1970, 1, 1), 1184: dt.datetime(1970, 1, 1, tzinfo=dt.UTC), 1700: Decimal(0),  # noqa: DTZ001
    2950: uuid.UUID(int=0), 3802: "[redacted]", 19: "[redacted]",
}  # fmt: skip


@pytest.mark.parametrize("type_oid", KNOWN)
@pytest.mark.parametrize("form", [0, 1], ids=["text", "binary"])
def test_redacted_values_decode(type_oid: int, form: int) -> None:
    value = read(CellMask(kind="redact", type_oid=type_oid, format=form))
    assert value == KNOWN[type_oid]


@pytest.mark.parametrize("type_oid", KNOWN)
@pytest.mark.parametrize("form", [0, 1], ids=["text", "binary"])
def test_defaults_decode(type_oid: int, form: int) -> None:
    column = CellMask(kind="null", type_oid=type_oid, format=form, notnull=True)
    value = read(column)
    if type_oid in (25, 1042, 1043, 19):
        assert value == ""
    elif type_oid in (114, 3802):
        assert value is None  # JSON null, not SQL NULL
    else:
        assert value == KNOWN[type_oid]


@given(st.sampled_from(list(INT_OIDS)), st.data())
def test_integers(type_oid: int, data: st.DataObject) -> None:
    bits = INT_OIDS[type_oid]
    value = data.draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    assert constant(type_oid, value) == [value, value]


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40))
def test_numerics(value: Decimal) -> None:
    text, binary = constant(1700, value)
    assert text == binary == value
    assert text.as_tuple() == binary.as_tuple()


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-9999, max_value=9999),
    st.integers(0, 6),
)
def test_numerics_take_the_column_scale(value: Decimal, scale: int) -> None:
    text, binary = constant(1700, value, typmod=((12 << 16) | scale) + 4)
    assert text.as_tuple() == binary.as_tuple()
    assert text.as_tuple().exponent == -scale
    assert abs(text - value) <= Decimal(1).scaleb(-scale) / 2


@given(st.floats())
def test_doubles(value: float) -> None:
    for found in constant(701, value):
        assert found == value or (math.isnan(found) and math.isnan(value))


@given(st.floats(width=32))
def test_floats(value: float) -> None:
    text, binary = constant(700, value)
    assert binary == value or math.isnan(value)
    assert text == pytest.approx(value, rel=1e-6, nan_ok=True)


@given(st.datetimes(timezones=st.just(dt.UTC)))
def test_moments(value: dt.datetime) -> None:
    assert constant(1184, value) == [value, value]
    assert constant(1114, value.isoformat()) == [value.replace(tzinfo=None)] * 2
    assert constant(1082, value.date()) == [value.date()] * 2


@given(st.uuids(), st.ip_addresses(), st.binary(max_size=20), st.booleans())
def test_others(key: uuid.UUID, address: object, blob: bytes, flag: bool) -> None:
    assert constant(2950, str(key)) == [key, key]
    assert constant(869, str(address)) == [address, address]
    assert constant(17, blob) == [blob, blob]
    assert constant(16, flag) == [flag, flag]


@pytest.mark.parametrize("type_oid", [20, 23, 2950, 17, 25])
def test_hashes_decode_to_one_value(type_oid: int) -> None:
    cells = {20: (b"-5", b"\xff" * 7 + b"\xfb"), 23: (b"5", bytes([0, 0, 0, 5])), 25: (b"a", b"a")}
    cells[17] = (b"\\x00ff", b"\0\xff")
    cells[2950] = (b"00000000-0000-0000-0000-000000000001", bytes(15) + b"\1")
    assert "hash" in fitting_kinds(type_oid)
    text, binary = (
        read(CellMask(kind="hash", type_oid=type_oid, key=KEY, format=form), cells[type_oid][form])
        for form in (0, 1)
    )
    assert text == binary
