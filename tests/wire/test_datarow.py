"""Masked rows: values per kind and type, formats that agree, and rows that break the format."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pytest

from _fastpath.datarow import CellMask, ColumnDesc, MaskPlan, mask_fits, parse_row_description
from _fastpath.errors import FrameError
from tests.support import reference
from tests.support.reference import build_row, parse_row

Rewrite = Callable[[Sequence[CellMask | None], bytes], bytes]
KEY = b"0123456789abcdef"
TEXT, VARCHAR, BPCHAR = 25, 1043, 1042


def compiled_rewrite(columns: Sequence[CellMask | None], rows: bytes) -> bytes:
    return MaskPlan(columns).rewrite_bytes(rows)


@pytest.fixture(params=[compiled_rewrite, reference.rewrite], ids=["compiled", "reference"])
def rewrite(request: pytest.FixtureRequest) -> Rewrite:
    found: Rewrite = request.param
    return found


def mask(kind: str, type_oid: int = TEXT, **facts: object) -> CellMask:
    params = {k: v for k, v in facts.items() if k in ("value", "keep_first", "keep_last")}
    rest = {k: v for k, v in facts.items() if k not in params}
    return CellMask(kind=kind, type_oid=type_oid, params=params, key=KEY, **rest)  # type: ignore[arg-type]


def masked(rewrite: Rewrite, cell: bytes | None, column: CellMask) -> bytes | None:
    return parse_row(rewrite([column], build_row([cell])))[0]


def test_clear_columns_and_order_survive(rewrite: Rewrite) -> None:
    cells = [b"1", b"secret", None, b"", b"x" * 5000, b"secret", b"end"]
    columns = [None, mask("redact"), None, mask("redact"), None, mask("null"), None]
    rows = build_row(cells) + build_row([b"2"] * 7)
    first = build_row([b"1", b"[redacted]", None, b"[redacted]", b"x" * 5000, None, b"end"])
    second = build_row([b"2", b"[redacted]", b"2", b"[redacted]", b"2", None, b"2"])
    assert rewrite(columns, rows) == first + second


@pytest.mark.parametrize("kind", ["null", "constant", "redact", "partial", "email", "hash"])
def test_null_stays_null(rewrite: Rewrite, kind: str) -> None:
    column = mask(kind, value="x", notnull=True)
    assert masked(rewrite, None, column) is None


@pytest.mark.parametrize(
    ("cell", "first", "last", "expected"),
    [
        ("123-45-6789", 0, 4, "***6789"),
        ("Alice", 1, 0, "A***"),
        ("Alice", 1, 1, "A***e"),
        ("Ali", 1, 1, "***"),
        ("1234567", 0, 4, "***"),
        ("12345678", 0, 4, "***5678"),
        ("", 1, 0, "***"),
        ("whatever", 0, 0, "***"),
        ("äöüß€𝄞éñ", 2, 2, "äö***éñ"),
        ("𝄞𝄞𝄞𝄞", 1, 1, "𝄞***𝄞"),
    ],
)
def test_partial_counts_characters(
    rewrite: Rewrite, cell: str, first: int, last: int, expected: str
) -> None:
    column = mask("partial", keep_first=first, keep_last=last)
    assert masked(rewrite, cell.encode(), column) == expected.encode()


@pytest.mark.parametrize(
    "cell",
    [
        b"\x80\x81\x82\x83\x84\x85",
        b"ab\xff\xffcd",
        b"abcd\xc3",
        b"\xe2\x82ABCDEFG",
        b"ABCDEF\xbf\xbf\xbf\xbf",
    ],
)
def test_partial_masks_wholly_what_is_no_text(rewrite: Rewrite, cell: bytes) -> None:
    """Goal: bytes of another encoding have no characters, so none can be kept."""
    assert masked(rewrite, cell, mask("partial", keep_first=1, keep_last=2)) == b"***"


@pytest.mark.parametrize(
    ("type_oid", "typmod", "kind", "expected"),
    [
        (VARCHAR, 4 + 5, "redact", b"[reda"),
        (VARCHAR, -1, "redact", b"[redacted]"),
        (BPCHAR, 4 + 12, "redact", b"[redacted]  "),
        (BPCHAR, 4 + 3, "email", b"***"),
        (VARCHAR, 4 + 8, "email", b"***@***."),
        (VARCHAR, 4 + 2, "partial", b"**"),
        (BPCHAR, 4 + 12, "partial", b"***gh       "),
        (19, -1, "redact", b"[redacted]"),
    ],
)
def test_width_is_respected(
    rewrite: Rewrite, type_oid: int, typmod: int, kind: str, expected: bytes
) -> None:
    column = mask(kind, type_oid, typmod=typmod, keep_last=2)
    cell = b"abcdefgh".ljust(typmod - 4) if type_oid == BPCHAR else b"abcdefgh"
    assert masked(rewrite, cell, column) == expected


def test_email_keeps_nothing() -> None:
    assert masked(compiled_rewrite, b"alice@example.com", mask("email")) == b"***@***.***"


# What each type shows when redacted: text form, binary form (numeric_send and friends).
ZEROS = {
    16: (b"f", b"\0"),
    17: (b"\\x", b""),
    18: (b"*", b"*"),
    20: (b"0", bytes(8)),
    21: (b"0", bytes(2)),
    23: (b"0", bytes(4)),
    26: (b"0", bytes(4)),
    114: (b'"[redacted]"', b'"[redacted]"'),
    700: (b"0", bytes(4)),
    701: (b"0", bytes(8)),
    869: (b"0.0.0.0", bytes([2, 32, 0, 4, 0, 0, 0, 0])),
    1082: (b"1970-01-01", struct.pack(">i", -10957)),
    1114: (b"1970-01-01 00:00:00", struct.pack(">q", -946684800000000)),
    1184: (b"1970-01-01 00:00:00+00", struct.pack(">q", -946684800000000)),
    1700: (b"0", bytes(8)),
    2950: (b"00000000-0000-0000-0000-000000000000", bytes(16)),
    3802: (b'"[redacted]"', b'\1"[redacted]"'),
}


@pytest.mark.parametrize("type_oid", ZEROS)
@pytest.mark.parametrize("format_", [0, 1], ids=["text", "binary"])
def test_redact_is_a_typed_zero(rewrite: Rewrite, type_oid: int, format_: int) -> None:
    assert (
        masked(rewrite, b"?", mask("redact", type_oid, format=format_)) == ZEROS[type_oid][format_]
    )


@pytest.mark.parametrize(
    ("type_oid", "value", "typmod", "text", "binary"),
    [
        (20, -5, -1, b"-5", b"\xff" * 7 + b"\xfb"),
        (1700, "12345.678", -1, b"12345.678", struct.pack(">hhHh3h", 3, 1, 0, 3, 1, 2345, 6780)),
        (1700, "-0.00012", -1, b"-0.00012", struct.pack(">hhHh2h", 2, -1, 0x4000, 5, 1, 2000)),
        (1700, 10000, -1, b"10000", struct.pack(">hhHhh", 1, 1, 0, 0, 1)),
        (1700, 0, (10 << 16 | 2) + 4, b"0.00", struct.pack(">hhHh", 0, 0, 0, 2)),
        (1700, "9.999", (4 << 16 | 2) + 4, b"10.00", struct.pack(">hhHhh", 1, 0, 0, 2, 10)),
        (1700, "NaN", -1, b"NaN", struct.pack(">hhHh", 0, 0, 0xC000, 0)),
        (700, 0.1, -1, b"0.1", struct.pack(">f", 0.1)),
        (701, 1e300, -1, b"1e+300", struct.pack(">d", 1e300)),
        (16, True, -1, b"t", b"\1"),
        (25, "naïve", -1, "naïve".encode(), "naïve".encode()),
        (3802, {"a": [1]}, -1, b'{"a": [1]}', b'\1{"a": [1]}'),
        (1082, "2024-02-29", -1, b"2024-02-29", struct.pack(">i", 8825)),
        (
            1184,
            "2000-01-01T01:00:00.5+01:00",
            -1,
            b"2000-01-01 00:00:00.5+00",
            struct.pack(">q", 500000),
        ),
        (17, "\\xdead", -1, b"\\xdead", b"\xde\xad"),
        (869, "10.0.0.1/8", -1, b"10.0.0.1/8", bytes([2, 8, 0, 4, 10, 0, 0, 1])),
    ],
)
def test_constant_has_one_value_in_both_formats(
    type_oid: int, value: object, typmod: int, text: bytes, binary: bytes
) -> None:
    for format_, expected in ((0, text), (1, binary)):
        column = mask("constant", type_oid, value=value, typmod=typmod, format=format_)
        assert masked(compiled_rewrite, b"?", column) == expected


@pytest.mark.parametrize(
    ("type_oid", "value"),
    [
        (21, 40000), (23, "x"), (23, True), (16, 1), (2950, "x"), (1082, "x"), (1700, "1e9999"), (1700, [1]),
        (1700, "1000" ), (25, "a\0b"), (25, None.__class__), (18, "ab"), (700, 1e300), (3802, {1, 2}), (17, 1), (869, "x"),
    ],
)  # fmt: skip
def test_constant_of_another_type_is_refused(type_oid: int, value: object) -> None:
    with pytest.raises(ValueError, match="is not a"):
        MaskPlan([mask("constant", type_oid, value=value, typmod=(3 << 16) + 4)])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (mask("partial", 23), "kinds that fit: null, constant, redact, zero, hash, bucket"),
        (mask("email", 16), "kinds that fit: null, constant, redact"),
        (mask("hash", 1700), "does not fit"),
        (mask("redact", 99999), "kinds that fit: null"),
        (mask("shuffle"), "does not fit"),
        (mask("constant"), "needs a value"),
        (mask("partial", keep_first=-1), "whole number"),
        (mask("partial", keep_last=True), "whole number"),
        (CellMask(kind="hash", type_oid=25, key=b"short"), "key of at least"),
        (mask("redact", format=2), "format"),
    ],
)
def test_what_does_not_fit_is_refused_when_planned(column: CellMask, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskPlan([column])


def test_null_of_a_not_null_column_is_a_default() -> None:
    assert masked(compiled_rewrite, b"x", mask("null", notnull=True)) == b""
    assert masked(compiled_rewrite, b"7", mask("null", 23, notnull=True, format=1)) == bytes(4)
    assert masked(compiled_rewrite, b"{}", mask("null", 3802, notnull=True, format=1)) == b"\1null"
    assert masked(compiled_rewrite, b"7", mask("null", 99999, notnull=True)) is None
    assert masked(compiled_rewrite, b"7", mask("null", 23)) is None


@pytest.mark.parametrize(
    ("type_oid", "text", "binary"),
    [
        (20, b"-12", struct.pack(">q", -12)),
        (23, b"2147483647", struct.pack(">i", 2147483647)),
        (
            2950,
            b"6b1c0a2e-0000-4000-8000-0123456789ab",
            bytes.fromhex("6b1c0a2e0000400080000123456789ab"),
        ),
        (17, b"\\xdeadbeef", b"\xde\xad\xbe\xef"),
        (17, b"a\\\\b\\001", b"a\\b\x01"),
        (25, b"alice", b"alice"),
    ],
)
def test_hash_is_one_value_in_both_formats(type_oid: int, text: bytes, binary: bytes) -> None:
    shown = masked(compiled_rewrite, text, mask("hash", type_oid))
    sent = masked(compiled_rewrite, binary, mask("hash", type_oid, format=1))
    assert shown is not None
    assert sent is not None
    if type_oid in (20, 23):
        assert int(shown) == int.from_bytes(sent, "big") >= 0
    elif type_oid == 2950:
        assert bytes.fromhex(shown.decode().replace("-", "")) == sent
        assert shown[14:15] == b"8"
    elif type_oid == 17:
        assert shown == b"\\x" + sent.hex().encode()
    else:
        assert shown == sent
        assert len(shown) == 32


def test_hash_needs_the_key_and_keeps_equality(rewrite: Rewrite) -> None:
    plan = [mask("hash"), mask("hash", VARCHAR), mask("hash", BPCHAR, typmod=4 + 40)]
    cells = parse_row(rewrite(plan, build_row([b"bob", b"bob", b"bob".ljust(40)])))
    assert cells[0] == cells[1] == (cells[2] or b"").rstrip()
    other = CellMask(kind="hash", type_oid=25, key=b"another key of 16")
    assert masked(rewrite, b"bob", other) != cells[0]


def test_hash_of_a_broken_value_ends_the_session_without_telling_it() -> None:
    for column, cell in [(mask("hash", 20), b"secret"), (mask("hash", 2950, format=1), b"secret")]:
        with pytest.raises(FrameError) as caught:
            MaskPlan([column]).rewrite_bytes(build_row([cell]))
        assert "secret" not in repr(caught.value)
        assert caught.value.__cause__ is None


ROW = build_row([b"aa", b"bb"])
MALFORMED = [
    ROW[:-1],
    ROW + b"D",
    ROW + ROW[:6],
    b"Z" + ROW[1:],
    ROW[:1] + struct.pack(">i", 3) + ROW[5:],
    ROW[:1] + struct.pack(">i", -1) + ROW[5:],
    ROW[:1] + struct.pack(">i", len(ROW)) + ROW[5:],
    ROW[:1] + struct.pack(">i", len(ROW) - 2) + ROW[5:],
    ROW[:5] + b"\0\1" + ROW[7:],
    ROW[:5] + b"\0\3" + ROW[7:],
    ROW[:5] + b"\xff\xff" + ROW[7:],
    *(ROW[:7] + struct.pack(">i", size) + ROW[11:] for size in (-2, -(2**31), 1, 3, 2**31 - 1)),
    *(ROW[:13] + struct.pack(">i", size) + ROW[17:] for size in (-2, -(2**31), 1, 3, 2**31 - 1)),
    b"D\0\0\0\4",
    b"D\0\0\0\5\0",
    b"D",
]


@pytest.mark.parametrize("rows", MALFORMED)
@pytest.mark.parametrize("kinds", ["..", "r.", ".r", "rr", "hh", "pp"])
def test_malformed_rows_are_refused(rewrite: Rewrite, rows: bytes, kinds: str) -> None:
    names = {".": None, "r": mask("redact"), "h": mask("hash"), "p": mask("partial", keep_last=1)}
    with pytest.raises(FrameError):
        rewrite([names[kind] for kind in kinds], rows)
    with pytest.raises(FrameError):
        rewrite([names[kind] for kind in kinds], ROW + rows)


def test_no_columns() -> None:
    plan = MaskPlan([])
    assert plan.is_clear
    assert plan.rewrite_bytes(build_row([]) * 3) == build_row([]) * 3
    assert plan.rewrite_bytes(b"") == b""


def description(*columns: ColumnDesc) -> bytes:
    out = struct.pack(">h", len(columns))
    for c in columns:
        out += c.name + b"\0" + struct.pack(">IhIhih", *c[1:])
    return out


def test_row_description() -> None:
    columns = [
        ColumnDesc(b"id", 4_000_000_000, 1, 23, 4, -1, 0),
        ColumnDesc(b"", 0, 0, 4_200_000_000, -1, 12, 1),
    ]
    assert parse_row_description(description(*columns)) == columns
    assert parse_row_description(b"\0\0") == []


def test_row_description_cut_anywhere_is_refused() -> None:
    payload = description(
        ColumnDesc(b"id", 1, 1, 23, 4, -1, 0), ColumnDesc(b"x", 1, 2, 25, -1, -1, 1)
    )
    for cut in range(len(payload)):
        with pytest.raises(FrameError):
            parse_row_description(payload[:cut])
    for bad in (
        payload + b"\0",
        b"\xff\xff" + payload[2:],
        b"\x7f\xff" + payload[2:],
        payload[:-1] + b"\2",
    ):
        with pytest.raises(FrameError):
            parse_row_description(bad)


def test_fitting_kinds_of_an_extension_text_type() -> None:
    assert not mask_fits("email", 99999)
    assert mask_fits("email", 99999, text_like=True)
    column = CellMask(kind="email", type_oid=99999, text_like=True)
    assert masked(compiled_rewrite, b"a@b.c", column) == b"***@***.***"
