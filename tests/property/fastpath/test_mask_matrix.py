"""Every kind on every type it fits, in both formats, as a driver reads it.

Goal: a masked value decodes to its declared type, text and binary say the same, masking twice
stays within what masking once can show, and kinds that promise it keep no part of the original.
Method: draw a value, encode it as the server would, mask, decode with psycopg's own loaders.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import struct
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.adapt import Transformer
from psycopg.pq import Format

from _fastpath.datarow import CellMask, MaskPlan, fitting_kinds
from _fastpath.maskencode import encode, encode_array
from _fastpath.masktypes import ColumnType
from tests.support.reference import build_row, parse_row

KEY = b"0123456789abcdef"
texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)
moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))  # noqa: DTZ001
days = st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))
octets = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
VALUES: dict[int, st.SearchStrategy[object]] = {
    16: st.booleans(),
    17: st.binary(max_size=20),
    20: st.integers(-(2**63), 2**63 - 1),
    21: st.integers(-(2**15), 2**15 - 1),
    23: st.integers(-(2**31), 2**31 - 1),
    25: texts,
    26: st.integers(0, 2**32 - 1),
    114: st.dictionaries(texts, texts | st.integers(), max_size=3),
    650: st.ip_addresses(v=4).map(lambda ip: f"{ip}/32"),
    700: st.floats(width=32, allow_nan=False),
    701: st.floats(allow_nan=False),
    829: octets,
    869: st.ip_addresses().map(str),
    1043: texts,
    1082: days,
    1083: st.times().map(str),
    1114: moments,
    1184: moments.map(lambda moment: moment.replace(tzinfo=dt.UTC)),
    1186: st.integers(0, 9999).map(lambda count: dt.timedelta(days=count)),
    1266: st.times().map(str),
    1700: st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False),
    2950: st.uuids().map(str),
    3802: st.dictionaries(texts, texts | st.integers(), max_size=3),
}
ARRAYS = {1000: 16, 1001: 17, 1007: 23, 1009: 25, 1016: 20, 1182: 1082, 1185: 1184, 1231: 1700, 2951: 2950, 1041: 869, 3807: 3802}  # fmt: skip
PYTHON_TYPES: dict[int, type | tuple[type, ...]] = {
    16: bool, 17: (bytes, memoryview), 20: int, 21: int, 23: int, 25: str, 26: int, 650: ipaddress.IPv4Network,
    700: float, 701: float, 829: (str, bytes), 1043: str, 1082: dt.date, 1083: dt.time, 1114: dt.datetime,
    1184: dt.datetime, 1186: dt.timedelta, 1266: dt.time, 2950: uuid.UUID,
}  # fmt: skip
PARAMS: dict[str, dict[str, object]] = {
    "partial": {"keep_first": 1, "keep_last": 2},
    "bucket": {"size": 1000},
    "truncate": {"to": "month"},
    "json": {"keep": ["a.*"]},
}
CONSTANTS: dict[int, object] = {
    16: True, 17: "\\x01", 114: {"a": 1}, 3802: [1], 650: "10.0.0.0/8", 829: "00:00:00:00:00:01",
    869: "10.0.0.1", 1082: "2000-01-01", 1083: "01:02:03", 1114: "2000-01-01 00:00:00",
    1184: "2000-01-01 00:00:00+00", 1186: "3 days", 1266: "01:02:03",
    2950: "00000000-0000-0000-0000-000000000001",
}  # fmt: skip
CASES = [(kind, oid) for oid in [*VALUES, *ARRAYS] for kind in fitting_kinds(oid)]


def column_mask(kind: str, type_oid: int, form: int) -> CellMask:
    params = dict(PARAMS.get(kind, {}))
    if kind == "constant":
        params["value"] = CONSTANTS.get(ARRAYS.get(type_oid, type_oid), 7)
    if kind == "truncate" and ARRAYS.get(type_oid, type_oid) == 1083:
        params["to"] = "hour"
    return CellMask(
        kind=kind, type_oid=type_oid, params=params, format=form, key=KEY, notnull=kind == "null"
    )


def mask(column: CellMask, cell: bytes) -> bytes | None:
    return parse_row(MaskPlan([column]).rewrite_bytes(build_row([cell])))[0]


def load(type_oid: int, form: int, cell: bytes | None) -> Any:
    if cell is None:
        return None
    return Transformer(None).get_loader(type_oid, Format(form)).load(cell)


def check(kind: str, type_oid: int, forms: tuple[bytes, bytes]) -> None:
    masked = [mask(column_mask(kind, type_oid, form), forms[form]) for form in (0, 1)]
    read = [load(type_oid, form, masked[form]) for form in (0, 1)]
    if type_oid == 700:
        # A float4's text is shorter than the double that Python reads it into.
        read = [value and struct.unpack(">f", struct.pack(">f", value))[0] for value in read]
    assert repr(plain(read[0])) == repr(plain(read[1]))
    one = read[1][0] if type_oid in ARRAYS and read[1] else read[1]
    expected = PYTHON_TYPES.get(ARRAYS.get(type_oid, type_oid))
    if expected is not None and one is not None and one != []:
        assert isinstance(one, expected)
    again = [mask(column_mask(kind, type_oid, form), masked[form] or b"") for form in (0, 1)]
    load(type_oid, 0, again[0])
    load(type_oid, 1, again[1])
    if kind in (
        "null",
        "constant",
        "redact",
        "zero",
        "email",
        "bucket",
        "truncate",
        "json",
        "scan",
    ):
        assert again == masked


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, bytes):
        # macaddr has no loader of its own: text as text, binary as bytes.
        return value.hex(":") if len(value) == 6 else value
    return value


@pytest.mark.parametrize(("kind", "type_oid"), [case for case in CASES if case[1] in VALUES])
@settings(max_examples=25)
@given(data=st.data())
def test_scalar(kind: str, type_oid: int, data: st.DataObject) -> None:
    value = data.draw(VALUES[type_oid])
    check(kind, type_oid, encode(ColumnType(type_oid), value))


@pytest.mark.parametrize(("kind", "type_oid"), [case for case in CASES if case[1] in ARRAYS])
@settings(max_examples=25)
@given(data=st.data())
def test_array(kind: str, type_oid: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[ARRAYS[type_oid]], max_size=4))
    check(kind, type_oid, encode_array(ColumnType(type_oid), values))


SECRET = st.text(
    st.characters(min_codepoint=0x400, max_codepoint=0x44F), min_size=4, max_size=40
)  # no character of any replacement
NOTHING_KEPT: dict[str, Callable[[], CellMask]] = {
    kind: (lambda kind=kind: column_mask(kind, 25, 0))  # type: ignore[misc]
    for kind in ("null", "constant", "redact", "zero", "email", "hash", "uuid")
}


@pytest.mark.parametrize("kind", NOTHING_KEPT)
@given(secret=SECRET)
def test_no_four_characters_survive(kind: str, secret: str) -> None:
    shown = (mask(NOTHING_KEPT[kind](), secret.encode()) or b"").decode()
    assert not any(secret[at : at + 4] in shown for at in range(len(secret) - 3))


@given(st.lists(SECRET, min_size=1, max_size=4))
def test_whole_arrays_tell_neither_values_nor_their_number(values: list[str]) -> None:
    text, binary = encode_array(ColumnType(1009), list(values))
    for kind in ("redact", "email", "zero", "constant"):
        one = encode_array(ColumnType(1009), ["x"])
        for form, cell in ((0, text), (1, binary)):
            assert mask(column_mask(kind, 1009, form), cell) == mask(
                column_mask(kind, 1009, form), one[form]
            )


def test_enum_shows_one_of_its_labels() -> None:
    labels = ("low", "high")
    for kind, shown in (("redact", b"low"), ("zero", b"low"), ("null", None)):
        for form in (0, 1):
            column = CellMask(kind=kind, type_oid=90001, labels=labels, format=form)
            assert mask(column, b"high") == shown
    constant = CellMask(kind="constant", type_oid=90001, labels=labels, params={"value": "high"})
    assert mask(constant, b"low") == b"high"
    with pytest.raises(ValueError, match="one of low, high"):
        MaskPlan([CellMask(kind="constant", type_oid=1, labels=labels, params={"value": "x"})])
    array = CellMask(kind="redact", type_oid=90002, element_oid=90001, labels=labels)
    assert mask(array, b"{high,high}") == b"{low}"


def test_nested_and_bounded_arrays_keep_their_shape() -> None:
    column = column_mask("partial", 1009, 0)
    text = b'[0:1][2:3]={{abcdefgh,NULL},{"a b\\"cdefg",""}}'
    assert mask(column, text) == b"[0:1][2:3]={{a***gh,NULL},{a***fg,***}}"
