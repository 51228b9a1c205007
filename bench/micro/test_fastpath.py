"""Cost of the compiled leaf modules per message, row and statement (pytest-benchmark).

Run with `pytest bench/micro/test_fastpath.py`. Rows and frames are measured 1,000 at a time, so
that the call itself does not count; `memcpy` of the same rows is the yardstick in the same run.
`extra_info` carries what the tables quote: GB/s of rows read, ns per frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from _fastpath.copyout import CopyOut
from _fastpath.datarow import CellMask, MaskPlan
from _fastpath.fingerprint import fingerprint
from _fastpath.framing import scan_run
from _fastpath.outbuf import OutBuf
from tests.support.reference import build_row

KEY = b"0123456789abcdef"
CELLS = [
    b"12345",
    b"alice smith",
    b"alice@example.com",
    b"2024-01-01 10:00:00+00",
    b"555-1234-77",
    b"t",
    b"some note of text here",
    b"100.25",
    b"NY",
    b"99",
]
ROW_COUNT = 1000
ROWS = build_row(CELLS) * ROW_COUNT
SQL = (
    b"SELECT id, email, name FROM customers "
    b"WHERE id = 12345 AND created_at > '2024-01-01' ORDER BY name, 1"
)

Benchmark = Any  # pytest-benchmark's fixture has no types


def text(kind: str, **params: object) -> CellMask:
    return CellMask(kind=kind, type_oid=25, params=params, key=KEY)


def plan(**masks: CellMask) -> MaskPlan:
    return MaskPlan([masks.get(f"c{column}") for column in range(len(CELLS))])


PLANS = {
    "clear": plan(),
    "redact-3-of-10": plan(c1=text("redact"), c2=text("redact"), c4=text("redact")),
    "mixed-3-of-10": plan(c1=text("redact"), c2=text("email"), c4=text("partial", keep_last=4)),
    "null-3-of-10": plan(c1=text("null"), c2=text("null"), c4=text("null")),
    "partial-1-of-10": plan(c4=text("partial", keep_last=4)),
    "hash-1-of-10": plan(c2=text("hash")),
    "uuid-1-of-10": plan(c2=text("uuid")),
    "scan-1-of-10": plan(c2=text("scan")),
    "bucket-1-of-10": plan(c0=CellMask(kind="bucket", type_oid=23, params={"size": 100})),
    "truncate-1-of-10": plan(c3=CellMask(kind="truncate", type_oid=1184, params={"to": "month"})),
    "redact-10-of-10": plan(**{f"c{column}": text("redact") for column in range(10)}),
}
NOTE = (
    b"Customer called about order 48213 and asked for a refund of 100.25 to the card on file, "
    b"2026-03-04 10:20; wrote to alice@example.com, answered the same day. "
) * 4
NOTES = build_row([b"12345", NOTE]) * ROW_COUNT
DOCUMENT = (
    b'{"id": 12345, "name": "alice@example.com", "tags": ["a", "b"], "address": {"zip": "12345"}}'
)
DOCUMENTS = build_row([b"12345", DOCUMENT]) * ROW_COUNT
WIDE_PLANS = {
    "scan-note": (NOTES, MaskPlan([None, text("scan")])),
    "redact-note": (NOTES, MaskPlan([None, text("redact")])),
    "hash-note": (NOTES, MaskPlan([None, text("hash")])),
    "json-paths": (
        DOCUMENTS,
        MaskPlan(
            [None, CellMask(kind="json", type_oid=114, params={"paths": ["name", "address.zip"]})]
        ),
    ),
    "json-scan": (DOCUMENTS, MaskPlan([None, CellMask(kind="scan", type_oid=114)])),
}  # fmt: skip
COPIED = b"\t".join(CELLS) + b"\n"


def note_rate(benchmark: Benchmark, size: int) -> None:
    if benchmark.stats is not None:
        benchmark.extra_info["GB/s"] = round(size / benchmark.stats.stats.median / 1e9, 2)


def test_memcpy(benchmark: Benchmark) -> None:
    buf = OutBuf()

    def copy() -> bytes:
        buf.append_bytes(ROWS)
        return buf.take_bytes()

    assert benchmark(copy) == ROWS
    note_rate(benchmark, len(ROWS))


@pytest.mark.parametrize("name", PLANS)
def test_mask_rows(benchmark: Benchmark, name: str) -> None:
    rewrite: Callable[[bytes], bytes] = PLANS[name].rewrite_bytes
    out = benchmark(rewrite, ROWS)
    assert (out == ROWS) == (name == "clear")
    note_rate(benchmark, len(ROWS))


@pytest.mark.parametrize("name", WIDE_PLANS)
def test_mask_wide_rows(benchmark: Benchmark, name: str) -> None:
    rows, found = WIDE_PLANS[name]
    assert benchmark(found.rewrite_bytes, rows) != rows
    note_rate(benchmark, len(rows))


@pytest.mark.parametrize("form", ["text", "csv"])
def test_mask_copy(benchmark: Benchmark, form: str) -> None:
    rows = (COPIED if form == "text" else COPIED.replace(b"\t", b",")) * ROW_COUNT

    def mask() -> bytes:
        delimiter = b"\t" if form == "text" else b","
        copy = CopyOut(PLANS["redact-3-of-10"], form, delimiter=delimiter)
        return copy.feed_bytes(rows) + copy.finish_bytes()

    assert b"[redacted]" in benchmark(mask)
    note_rate(benchmark, len(rows))


def test_frame_run(benchmark: Benchmark) -> None:
    assert benchmark(scan_run, ROWS, 0, ord("D"), 1 << 20) == (0, len(ROWS), ROW_COUNT)
    if benchmark.stats is not None:
        benchmark.extra_info["ns/frame"] = round(benchmark.stats.stats.median / ROW_COUNT * 1e9, 2)


def test_fingerprint(benchmark: Benchmark) -> None:
    assert benchmark(fingerprint, SQL) is not None
