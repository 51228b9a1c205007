"""Masked COPY: three formats, every option, rows cut anywhere, and bytes that are no COPY."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastpath.copyout import CopyOut
from _fastpath.datarow import CellMask, MaskPlan
from _fastpath.errors import FrameError

KEY = b"0123456789abcdef"
SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
Row = Sequence[str | None]


def plan(*kinds: str, form: int = 0, **params: object) -> MaskPlan:
    """One text column per kind; "." is clear."""
    return MaskPlan(
        [
            None if kind == "." else CellMask(
                kind=kind, type_oid=25, key=KEY, format=form, params=params
            )
            for kind in kinds
        ]
    )  # fmt: skip


def messages(stream: bytes) -> Iterator[bytes]:
    while stream:
        kind, size = struct.unpack_from(">ci", stream)
        assert kind == b"d"
        yield stream[5 : size + 1]
        stream = stream[size + 1 :]


def mask(copy: CopyOut, *parts: bytes) -> list[bytes]:
    out = b"".join(copy.feed_bytes(part) for part in parts) + copy.finish_bytes()
    return list(messages(out))


def text_row(*cells: str | None) -> bytes:
    escapes = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\v": "\\v"}
    table = str.maketrans(escapes)
    return ("\t".join("\\N" if c is None else c.translate(table) for c in cells) + "\n").encode()


def binary_row(*cells: bytes | None) -> bytes:
    out = struct.pack(">h", len(cells))
    for cell in cells:
        out += struct.pack(">i", -1) if cell is None else struct.pack(">i", len(cell)) + cell
    return out


def test_text_masks_by_column_and_keeps_the_rest() -> None:
    rows = [text_row("1", "secret\tx\\y", "a\nb"), text_row("2", None, None), text_row("3", "", "")]
    shown = mask(CopyOut(plan(".", "redact", "."), "text"), *rows)
    assert shown == [
        text_row("1", "[redacted]", "a\nb"),
        text_row("2", None, None),
        text_row("3", "[redacted]", ""),
    ]


def test_text_values_are_unescaped_for_the_mask_and_escaped_again() -> None:
    copy = CopyOut(plan("partial", keep_first=2, keep_last=2), "text", delimiter=b"|")
    assert mask(copy, b"\\|\\tsecret\\\\\\n\n") == [b"\\|\\t***\\\\\\n\n"]


def test_header_is_no_row() -> None:
    for form in ("text", "csv"):
        delimiter = b"\t" if form == "text" else b","
        copy = CopyOut(plan("redact", "."), form, header=True, delimiter=delimiter)
        line = b"email%sid\n" % delimiter
        assert mask(copy, line, line) == [line, b"[redacted]%sid\n" % delimiter]


CSV_FORMS: list[dict[str, Any]] = [
    {},
    {"delimiter": b";", "quote": b"'", "escape": b"'"},
    {"escape": b"\\"},
    {"null": b"NULL"},
    {"force_quote": (True, True, True)},
]


@pytest.mark.parametrize("form", CSV_FORMS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_csv_in_every_dialect_and_cut_anywhere(form: dict[str, Any], size: int) -> None:
    """Method: write rows as the server would, mask the middle column to itself, compare."""
    given = {"quote": '"', "escape": '"', "delimiter": ",", "null": ""}
    given |= {name: value.decode() for name, value in form.items() if isinstance(value, bytes)}
    quote, escape, delimiter, null = given.values()
    values = ["plain", None, "", "two\nlines", f"q{quote}e{escape}d{delimiter}", "NULL", "\\.", "ä"]

    def cell(value: str | None) -> str:
        if value is None:
            return null
        forced = "force_quote" in form or value == null
        if forced or set(value) & {quote, delimiter, "\n", "\r"}:
            inner = "".join(escape + c if c in (quote, escape) else c for c in value)
            return quote + inner + quote
        return value

    rows = [delimiter.join([cell("1"), cell(value), cell("x")]) + "\n" for value in values]
    stream = "".join(rows).encode()
    parts = [stream[at : at + size] for at in range(0, len(stream), size)]
    # Keeps every text as it is: nothing in these values is anything that scan finds.
    same = CopyOut(plan(".", "scan", "."), "csv", **{"delimiter": b",", "null": b"", **form})
    assert mask(same, *parts) == [row.encode() for row in rows]
    redacted = CopyOut(plan(".", "redact", "."), "csv", **{"delimiter": b",", "null": b"", **form})
    shown = [
        delimiter.join([cell("1"), cell(None if v is None else "[redacted]"), cell("x")]) + "\n"
        for v in values
    ]
    assert mask(redacted, *parts) == [row.encode() for row in shown]


def test_csv_quotes_a_masked_value_that_would_read_as_null() -> None:
    copy = CopyOut(plan("redact"), "csv", delimiter=b",", null=b"[redacted]")
    assert mask(copy, b"x\n[redacted]\n") == [b'"[redacted]"\n', b"[redacted]\n"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_binary_cut_anywhere(size: int) -> None:
    rows = [binary_row(b"1", b"secret", b""), binary_row(b"2", None, None)]
    stream = SIGNATURE + b"".join(rows) + b"\xff\xff"
    parts = [stream[at : at + size] for at in range(0, len(stream), size)]
    shown = mask(CopyOut(plan("hash", "redact", ".", form=1), "binary"), *parts)
    (hashed,) = mask(CopyOut(plan("hash"), "text"), b"1\n")
    (other,) = mask(CopyOut(plan("hash"), "text"), b"2\n")
    assert shown == [
        SIGNATURE + binary_row(hashed.strip(), b"[redacted]", b""),
        binary_row(other.strip(), None, None),
        b"\xff\xff",
    ]


BAD = [
    ("text", b"1\n"),
    ("text", b"1\t2\t3\n"),
    ("text", b"1\t2"),
    ("csv", b"1,2,3\n"),
    ("csv", b'"1\n'),
    ("csv", b'a"b,1\n'),
    ("csv", b'"a"b,1\n'),
    ("binary", b"PGCOPX" + SIGNATURE[6:]),
    ("binary", SIGNATURE),
    ("binary", SIGNATURE[:11] + b"\0\1\0\0" + bytes(4) + b"\xff\xff"),
    ("binary", SIGNATURE[:15] + b"\xff\xff\xff\xff" + b"\xff\xff"),
    ("binary", SIGNATURE + binary_row(b"1") + b"\xff\xff"),
    ("binary", SIGNATURE + binary_row(b"1", b"2", b"3") + b"\xff\xff"),
    ("binary", SIGNATURE + struct.pack(">hi", 2, -2)),
    ("binary", SIGNATURE + struct.pack(">hi", 2, 0x7FFFFFFF)),
    ("binary", SIGNATURE + b"\xff\xffx"),
]


@pytest.mark.parametrize(("form", "stream"), BAD)
def test_what_is_no_copy_is_refused(form: str, stream: bytes) -> None:
    delimiter = b"," if form == "csv" else b"\t"
    for size in (1, 1000):
        copy = CopyOut(plan("partial", "."), form, delimiter=delimiter)
        with pytest.raises(FrameError):
            mask(copy, *(stream[at : at + size] for at in range(0, len(stream), size)))


def test_a_huge_row_is_streamed() -> None:
    """Goal: neither a clear cell nor one with a fixed mask is held until it is complete."""
    copy = CopyOut(plan("redact", "."), "text")
    sent = b""
    for _ in range(64):
        assert copy.feed_bytes(b"s" * 65536) == b""
    for _ in range(64):
        sent += copy.feed_bytes(b"\t" * (not sent) + b"c" * 65536)
        assert len(sent) > 0
    sent += copy.feed_bytes(b"\n")
    assert b"".join(messages(sent)) == b"[redacted]\t" + b"c" * 65536 * 64 + b"\n"


@given(
    st.lists(st.tuples(st.text(st.characters(exclude_characters="\0", codec="utf-8")), st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"))), max_size=8),
    st.lists(st.integers(0, 400), max_size=6),
)  # fmt: skip
def test_csv_reads_back_as_any_reader_does(rows: list[Row], cuts: list[int]) -> None:
    """Method: Python's csv module reads what was masked; values are compared as SELECT has them."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    stream = written.getvalue().encode()
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parts = [stream[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    copy = CopyOut(plan(".", "email"), "csv", delimiter=b",", null=b"")
    shown = b"".join(mask(copy, *parts)).decode()
    read = list(csv.reader(io.StringIO(shown, newline="")))
    assert read == [[row[0], "***@***.***"] for row in rows]
