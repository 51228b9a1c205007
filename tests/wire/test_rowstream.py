"""Huge rows as they come: the same bytes as from a complete row, and little of it held."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastpath.datarow import CellMask, MaskPlan
from _fastpath.errors import FrameError
from _fastpath.rowstream import RowStream
from tests.support.reference import build_row

KEY = b"0123456789abcdef"
KINDS = {
    ".": None,
    "r": CellMask(kind="redact", type_oid=25),
    "n": CellMask(kind="null", type_oid=25),
    "p": CellMask(kind="partial", type_oid=25, params={"keep_first": 1, "keep_last": 2}),
    "h": CellMask(kind="hash", type_oid=25, key=KEY),
    "s": CellMask(kind="scan", type_oid=25),
}


def stream(plan: MaskPlan, row: bytes, cuts: list[int]) -> bytes:
    found = RowStream(plan, len(row) - 5)
    edges = sorted({5, len(row), *(5 + cut % (len(row) - 5) for cut in cuts)})
    return b"".join(found.feed_bytes(row[a:b]) for a, b in zip(edges, edges[1:], strict=False))


@given(
    st.lists(st.tuples(st.sampled_from(list(KINDS)), st.none() | st.binary(max_size=30)), min_size=1, max_size=6),
    st.lists(st.integers(0, 10_000), max_size=8),
)  # fmt: skip
def test_equals_the_whole_row(cells: list[tuple[str, bytes | None]], cuts: list[int]) -> None:
    plan = MaskPlan([KINDS[kind] for kind, _ in cells])
    row = build_row([cell for _, cell in cells])
    assert stream(plan, row, cuts) == plan.rewrite_bytes(row)


def test_equals_the_whole_row_byte_by_byte() -> None:
    plan = MaskPlan([KINDS[kind] for kind in ".rph.s."])
    row = build_row([b"1", b"secret", b"0123456789", b"x", b"", b"mail a@b.example", b"end"])
    assert stream(plan, row, list(range(len(row)))) == plan.rewrite_bytes(row)


ROW = build_row([b"aa", b"bb"])


@pytest.mark.parametrize(
    "row",
    [
        ROW[:5] + b"\0\1" + ROW[7:],
        ROW[:5] + b"\0\3" + ROW[7:],
        *(ROW[:7] + struct.pack(">i", size) + ROW[11:] for size in (-2, 1, 3, 2**31 - 1)),
        *(ROW[:13] + struct.pack(">i", size) + ROW[17:] for size in (-2, 1, 3, 2**31 - 1)),
        ROW + b"x",
        ROW[:-1],
        ROW[:6],
    ],
)
@pytest.mark.parametrize("kinds", ["..", "r.", ".r", "hh"])
def test_malformed_rows_are_refused(row: bytes, kinds: str) -> None:
    plan = MaskPlan([KINDS[kind] for kind in kinds])
    for cuts in ([], list(range(40))):
        with pytest.raises(FrameError):
            stream(plan, row, cuts)


def test_a_huge_cell_behind_the_last_mask_streams() -> None:
    plan = MaskPlan([KINDS["r"], None])
    chunk = b"x" * 65536
    head = b"\0\2" + struct.pack(">i", 6) + b"secret" + struct.pack(">i", 64 * len(chunk))
    row = RowStream(plan, len(head) + 64 * len(chunk))
    sent = row.feed_bytes(head)
    for _ in range(64):
        part = row.feed_bytes(chunk)
        assert part == chunk
        sent += part
    assert sent == plan.rewrite_bytes(build_row([b"secret", chunk * 64]))


def test_a_huge_cell_with_a_fixed_mask_is_not_held() -> None:
    plan = MaskPlan([KINDS["r"]])
    row = RowStream(plan, 6 + (1 << 20))
    row.feed_bytes(b"\0\1" + struct.pack(">i", 1 << 20))
    for _ in range(1023):
        assert row.feed_bytes(bytes(1024)) == b""
    assert row.feed_bytes(bytes(1024)) == build_row([b"[redacted]"])
