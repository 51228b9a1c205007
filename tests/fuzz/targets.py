"""Fuzz targets: one per parser of bytes that a peer chooses.

Each takes any bytes and must come back with a result or FrameError, nothing else. Where a twin
exists its verdict must be the same.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

from _fastpath.copyout import CopyOut
from _fastpath.datarow import CellMask, ColumnDesc, MaskPlan, parse_row_description
from _fastpath.errors import FrameError
from _fastpath.fingerprint import fingerprint
from _fastpath.framing import scan_frames, scan_run
from _fastpath.maskcells import build_cell
from _fastpath.maskjson import JsonPaths, JsonScan
from _fastpath.rowstream import RowStream
from _fastpath.scan import find_all
from tests.support import reference, scan_corpus, sql_corpus

KEY = b"0123456789abcdef"
FRAME_SIZE_MAX = 1 << 16
COLUMNS = [
    None,
    CellMask(kind="redact", type_oid=25),
    CellMask(kind="partial", type_oid=1042, typmod=20, params={"keep_first": 1, "keep_last": 2}),
    CellMask(kind="hash", type_oid=23, key=KEY),
    CellMask(kind="null", type_oid=25),
]
PLAN = MaskPlan(COLUMNS)
BUCKET: dict[str, object] = {"size": 7}
MONTH: dict[str, object] = {"to": "month"}
MINUTE: dict[str, object] = {"to": "minute"}
COARSE = [("bucket", oid, BUCKET) for oid in (20, 21, 23, 26, 700, 701, 1700)]
COARSE += [("truncate", oid, MONTH) for oid in (1082, 1114, 1184)]
COARSE += [("truncate", 1083, MINUTE)]
COPY_PLANS = [
    MaskPlan([None, CellMask(kind="scan", type_oid=25, format=form), COLUMNS[1]]) for form in (0, 1)
]


@dataclass(frozen=True)
class Target:
    """A parser with inputs to start from."""

    run: Callable[[bytes], object]
    seeds: list[bytes]


def fuzz_framing(data: bytes) -> None:
    found: object
    expected: object
    try:
        found = scan_frames(data, FRAME_SIZE_MAX)
    except FrameError as error:
        found = error.offset
    try:
        expected = reference.scan_frames(data, FRAME_SIZE_MAX)
    except FrameError as error:
        expected = error.offset
    assert found == expected
    status, end, _ = scan_run(data, 0, ord("D"), FRAME_SIZE_MAX)
    assert -1 <= status <= 1
    assert 0 <= end <= len(data)


def fuzz_rows(data: bytes) -> None:
    found: bytes | None
    expected: bytes | None
    try:
        found = PLAN.rewrite_bytes(data)
    except FrameError:
        found = None
    try:
        expected = reference.rewrite(COLUMNS, data)
    except (FrameError, ValueError, OverflowError):
        expected = None
    assert found == expected


def fuzz_description(data: bytes) -> None:
    try:
        columns = parse_row_description(data)
    except FrameError:
        return
    assert build_description(columns) == data


def fuzz_copy(data: bytes) -> None:
    """The first byte chooses the format; a stream cut in two gives what the whole gives."""
    form = ("text", "csv", "binary")[data[0] % 3] if data else "text"
    results: list[bytes | None] = []
    for cut in (0, len(data) // 2):
        copy = CopyOut(COPY_PLANS[form == "binary"], form, delimiter=b",", header=form == "csv")
        try:
            shown = copy.feed_bytes(data[1 : 1 + cut]) + copy.feed_bytes(data[1 + cut :])
            results.append(shown + copy.finish_bytes())
        except FrameError:
            results.append(None)
    assert results[0] == results[1]


def fuzz_row_stream(data: bytes) -> None:
    """A row that streams is the row masked as a whole."""
    whole: bytes | None
    streamed: bytes | None
    message = b"D" + struct.pack(">i", len(data) + 4) + data
    try:
        whole = PLAN.rewrite_bytes(message)
    except FrameError:
        whole = None
    try:
        row = RowStream(PLAN, len(data))
        streamed = row.feed_bytes(data[: len(data) // 2]) + row.feed_bytes(data[len(data) // 2 :])
    except FrameError:
        streamed = None
    assert streamed == whole or len(data) < 2


def fuzz_scan(data: bytes) -> None:
    end = 0
    for _, start, stop in find_all(data):
        assert end <= start < stop <= len(data)
        end = stop


def fuzz_json(data: bytes) -> None:
    for masker in (JsonScan(), JsonPaths([[b"a", None]]), JsonPaths([[b"a"]], keep=True)):
        with contextlib.suppress(ValueError):
            masker.mask_bytes(data)


def fuzz_coarse(data: bytes) -> None:
    """The first byte chooses type and format."""
    choice = data[0] if data else 0
    kind, type_oid, params = COARSE[choice % len(COARSE)]
    cell = CellMask(kind=kind, type_oid=type_oid, format=choice >> 7, params=params)
    with contextlib.suppress(ValueError):
        build_cell(cell).mask_bytes(data[1:])


def fuzz_fingerprint(data: bytes) -> None:
    found = fingerprint(data)
    if found is not None:
        assert reference.decode_fingerprint(found) == reference.tokens(data.decode())


def build_description(columns: list[ColumnDesc]) -> bytes:
    out = struct.pack(">h", len(columns))
    for column in columns:
        out += column.name + b"\0" + struct.pack(">IhIhih", *column[1:])
    return out


ROWS = [
    reference.build_row([b"1", b"secret", b"abcdefgh", b"-7", None]),
    reference.build_row([None, None, None, None, None]),
    reference.build_row(
        [b"", b"", b"\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9exyz", b"2147483647", b"x" * 40]
    ),
]
DESCRIPTION = build_description(
    [ColumnDesc(b"id", 16384, 1, 23, 4, -1, 0), ColumnDesc(b"e mail", 16384, 2, 1043, -1, 24, 1)]
)

TARGETS = {
    "framing": Target(fuzz_framing, [b"".join(ROWS) + b"Z\0\0\0\5I", b"S\0\0\0\4H\0\0\0\4"]),
    "rows": Target(fuzz_rows, [*ROWS, b"".join(ROWS)]),
    "copy": Target(
        fuzz_copy,
        [
            b"\0" + b"1,a@b.example,x\\\ny\n\\N,\\N,z\n",
            b"\1" + b'id,"mail",x\n1,"a ""b"" c",\n2,,"x\ny"\n',
            b"\2PGCOPY\n\xff\r\n\0" + bytes(8) + ROWS[1][5:7] + b"\xff\xff",
        ],
    ),
    "row-stream": Target(fuzz_row_stream, [row[5:] for row in ROWS]),
    "coarse": Target(
        fuzz_coarse,
        [
            bytes([choice]) + cell
            for choice in (*range(len(COARSE)), *range(128, 128 + len(COARSE)))
            for cell in (b"-1234.50", b"2026-02-03 04:05:06.789+05:30 BC", bytes(8), ROWS[0][7:19])
        ],
    ),
    "scan": Target(fuzz_scan, [text.encode() for text, _ in scan_corpus.corpus(60)]),
    "json": Target(fuzz_json, [b'{"a": [1, "x\\u0040y.example", {"b": null}], "c": 1.5e3}']),
    "description": Target(fuzz_description, [DESCRIPTION, b"\0\0"]),
    "fingerprint": Target(fuzz_fingerprint, [s.encode() for s in sql_corpus.statements()]),
}
