"""Cost of the compiled leaf modules per message, row and statement (pytest-benchmark).

Run with `pytest bench/micro/test_fastpath.py`. Rows and frames are measured 1,000 at a time, so
that the call itself does not count; `memcpy` of the same rows is the yardstick in the same run.
`extra_info` carries what the tables quote: GB/s of rows read, ns per frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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
}


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


def test_frame_run(benchmark: Benchmark) -> None:
    assert benchmark(scan_run, ROWS, 0, ord("D"), 1 << 20) == (0, len(ROWS), ROW_COUNT)
    if benchmark.stats is not None:
        benchmark.extra_info["ns/frame"] = round(benchmark.stats.stats.median / ROW_COUNT * 1e9, 2)


def test_fingerprint(benchmark: Benchmark) -> None:
    assert benchmark(fingerprint, SQL) is not None
