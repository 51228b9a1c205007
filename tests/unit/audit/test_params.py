"""Recorded parameters can be read: what PostgreSQL would print, from what a driver sends."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import PyFormat, Transformer

from gateway.audit.params import decode, readable_params


def sent(value: Any) -> tuple[int, bytes]:
    """(type OID, binary form) as psycopg sends it."""
    dumper = Transformer().get_dumper(value, PyFormat.BINARY)
    data = dumper.dump(value)
    assert data is not None
    return dumper.oid, bytes(data)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (-70_000, "-70000"), (1 << 40, str(1 << 40)), (2.5, "2.5"), (True, "true"),
        (Decimal("12.340"), "12.340"), (Decimal("-0.0001"), "-0.0001"), (Decimal(1_0000_0000), "100000000"),
        (Decimal("123456789.123456789"), "123456789.123456789"), (Decimal("NaN"), "NaN"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"), (b"\x01\xff", "\\x01ff"),
        (dt.date(2026, 2, 28), "2026-02-28"), (dt.date(1999, 1, 1), "1999-01-01"),
        (dt.datetime.fromisoformat("2026-02-28 01:02:03.000004"), "2026-02-28 01:02:03.000004"),
        (dt.datetime(2026, 2, 28, 1, 2, 3, tzinfo=dt.UTC), "2026-02-28 01:02:03+00"),
        ([1, 2, None], "{1,2,NULL}"), ([uuid.UUID(int=1)], "{" + str(uuid.UUID(int=1)) + "}"),
    ],
)  # fmt: skip
def test_what_a_driver_sends_reads_as_what_it_is(value: Any, text: str) -> None:
    oid, data = sent(value)
    assert readable_params([{"type": oid, "hex": data.hex()}]) == [text]


def test_what_cannot_be_read_stays_as_it_is() -> None:
    """Goal: nothing is guessed and nothing raises. Method: wrong sizes, no type, other forms."""
    params: list[Any] = [
        "text", None, {"omitted_bytes": 9}, {"redacted_bytes": 4}, {"hex": "00"},
        {"type": 23, "hex": "00"}, {"type": 99_999, "hex": "00"}, {"type": 1700, "hex": "0001"},
        {"type": 1007, "hex": "00000001"}, {"type": "23", "hex": "zz"}, {"type": 16, "hex": "07"},
    ]  # fmt: skip
    assert readable_params(params) == params


@given(
    st.sampled_from(
        [16, 17, 20, 23, 25, 700, 1007, 1082, 1083, 1114, 1184, 1186, 1700, 2950, 3802]
    ),
    st.binary(max_size=64),
)
def test_hostile_bytes_never_break_a_reader(oid: int, data: bytes) -> None:
    (read,) = readable_params([{"type": oid, "hex": data.hex()}])
    assert read == {"type": oid, "hex": data.hex()} or read == decode(oid, data)
