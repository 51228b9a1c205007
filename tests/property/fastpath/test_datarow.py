"""Masking for any rows: the compiled plan, its twin, and what must hold of both."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from _fastpath.datarow import CellMask, MaskPlan
from _fastpath.errors import FrameError
from _fastpath.framing import scan_frames, scan_run
from tests.support import reference
from tests.support.reference import build_row, parse_row

KEY = b"0123456789abcdef"
Row = list[bytes | None]

texts = st.text(max_size=30).map(str.encode) | st.binary(max_size=40) | st.just(b"x" * 300)
masks = st.one_of(
    st.none(),
    st.none(),
    st.builds(
        CellMask,
        kind=st.sampled_from(["null", "redact", "email", "partial", "hash"]),
        type_oid=st.sampled_from([25, 1043, 1042, 19]),
        typmod=st.sampled_from([-1, 5, 8, 14, 40]),
        params=st.fixed_dictionaries(
            {"keep_first": st.integers(0, 4), "keep_last": st.integers(0, 4)}
        ),
        notnull=st.booleans(),
        format=st.integers(0, 1),
        key=st.just(KEY),
    ),
)


@st.composite
def results(draw: st.DrawFn) -> tuple[list[CellMask | None], list[Row]]:
    columns = draw(st.lists(masks, max_size=8))
    row = st.lists(st.none() | texts, min_size=len(columns), max_size=len(columns))
    return columns, draw(st.lists(row, max_size=6))


def stream(rows: Sequence[Row]) -> bytes:
    return b"".join(map(build_row, rows))


@given(results())
def test_agrees_with_reference(result: tuple[list[CellMask | None], list[Row]]) -> None:
    columns, rows = result
    assert MaskPlan(columns).rewrite_bytes(stream(rows)) == reference.rewrite(columns, stream(rows))


@given(results())
def test_clear_cells_are_untouched_and_nulls_stay(
    result: tuple[list[CellMask | None], list[Row]],
) -> None:
    columns, rows = result
    out = MaskPlan(columns).rewrite_bytes(stream(rows))
    frames, end = scan_frames(out, 1 << 30)
    assert end == len(out)
    start = 0
    for (_, stop), row in zip(frames, rows, strict=True):
        for column, before, after in zip(columns, row, parse_row(out[start:stop]), strict=True):
            if column is None or before is None:
                assert after == before
        start = stop


@given(
    st.lists(st.characters(exclude_characters="*@.[]redact", codec="utf-8"), min_size=4).map(
        "".join
    )
)
def test_kinds_that_promise_none_keep_no_part(value: str) -> None:
    """Goal: no four characters of a value survive null, redact and email."""
    columns = [CellMask(kind=kind, type_oid=25, key=KEY) for kind in ("null", "redact", "email")]
    cells = parse_row(MaskPlan(columns).rewrite_bytes(build_row([value.encode()] * 3)))
    for cell in cells:
        shown = "" if cell is None else cell.decode()
        assert not any(value[at : at + 4] in shown for at in range(len(value) - 3))


@given(st.text(max_size=40), st.integers(0, 5), st.integers(0, 5))
def test_partial_tells_no_length_and_shows_no_more_than_it_hides(
    value: str, first: int, last: int
) -> None:
    params = {"keep_first": first, "keep_last": last}
    plan = MaskPlan([CellMask(kind="partial", type_oid=25, params=params)])
    (cell,) = parse_row(plan.rewrite_bytes(build_row([value.encode()])))
    shown = (cell or b"").decode()
    if len(value) < 2 * (first + last):
        assert shown == "***"
    else:
        assert shown == value[:first] + "***" + value[len(value) - last :]


@given(results(), st.data())
def test_splits_change_nothing(
    result: tuple[list[CellMask | None], list[Row]], data: st.DataObject
) -> None:
    """Goal: where a read ends must not show. Method: rewrite run by run over random reads."""
    columns, rows = result
    sent = stream(rows)
    plan = MaskPlan(columns)
    held, out = b"", b""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        held += sent[start:stop]
        _, end, _ = scan_run(held, 0, ord("D"), 1 << 30)
        out += plan.rewrite_bytes(held[:end])
        held = held[end:]
    assert held == b""
    assert out == plan.rewrite_bytes(sent)


@given(results(), st.data())
def test_damaged_rows_give_the_same_verdict_as_the_reference(
    result: tuple[list[CellMask | None], list[Row]], data: st.DataObject
) -> None:
    """Goal: a result or FrameError, and the same from both. Method: overwrite a few bytes."""
    columns, rows = result
    damaged = bytearray(stream(rows) or b"D\0\0\0\6\0\0")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.sampled_from([0, 1, 2, 4, 0x7F, 0x80, 0xFF, ord("D")]))
    try:
        expected: bytes | None = reference.rewrite(columns, bytes(damaged))
    except FrameError:
        expected = None
    try:
        found: bytes | None = MaskPlan(columns).rewrite_bytes(bytes(damaged))
    except FrameError:
        found = None
    assert found == expected
