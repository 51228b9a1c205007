"""200 messages of a server, cut anywhere: the client gets the same bytes, masked.

Goal: where a read ends changes nothing. Method: the whole session core with a planner that masks;
results of both protocols, COPY in its three formats, errors and notices, cut in two at every offset,
and byte by byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from _fastpath.copyout import CopyOut
from _fastpath.datarow import CellMask, ColumnDesc, MaskPlan
from _fastpath.journal import JournalReader
from _fastpath.link import ServerLink
from _fastpath.statements import Verdict, VerdictCache
from tests.fuzz.targets import build_description
from tests.support.reference import build_row
from tests.support.relay import (
    BOUND,
    EVENT_BROKEN,
    IDLE,
    PARSED,
    SYNC,
    Bench,
    bind,
    done,
    execute,
    kinds,
    message,
    parse,
    query,
    ready,
)

SECRET = b"secret@mail.example"
PLAN = MaskPlan(
    [
        None,
        CellMask(kind="email", type_oid=25),
        CellMask(kind="partial", type_oid=25, params={"keep_last": 2}),
        CellMask(kind="hash", type_oid=25, key=bytes(32)),
        CellMask(kind="bucket", type_oid=23, params={"size": 10}),
        CellMask(kind="scan", type_oid=25),
    ]
)
SHAPE = message(
    b"T",
    build_description(
        [ColumnDesc(b"c%d" % n, 1, n, 23 if n in {0, 4} else 25, -1, -1, 0) for n in range(6)]
    ),
)
CELLS = [b"1", SECRET, SECRET, SECRET, b"4217", b"mail " + SECRET]
ROWS = [
    build_row(CELLS),
    build_row([None] * 6),
    build_row([b"22", None, b"", SECRET * 3, b"-7", b"nothing to find"]),
]
SQL = {
    b"select": ROWS * 4,
    b"copy text": [b"\t".join(CELLS) + b"\n", b"1\t\\N\ta\\tb\tx\t5\t\\\\N\n"],
    b"copy csv": [b'1,"a ""b"" c",x,y,5,z\n', b",,,,,\n"],
    b"copy binary": [b"PGCOPY\n\xff\r\n\0" + bytes(8), *(row[5:] for row in ROWS), b"\xff\xff"],
}


class Planner:
    """Masks every result, as the worker's planner does for a decision with masks."""

    def __call__(self, *_: object) -> MaskPlan:
        return PLAN

    def plan_copy(self, response: bytes, verdict: Verdict, _index: int) -> CopyOut:
        form = verdict.audit.decode().rstrip('"').split()[1]
        delimiter = b"," if form == "csv" else b"\t"
        return CopyOut(PLAN, form, delimiter=delimiter, null=b"" if form == "csv" else b"\\N")


def copy(form: bytes) -> bytes:
    """A COPY whose CopyData cut its rows in the middle."""
    payload = b"".join(SQL[b"copy " + form])
    parts = [payload[at : at + 17] for at in range(0, len(payload), 17)]
    response = (b"\1" if form == b"binary" else b"\0") + struct.pack(">h", 6) + bytes(12)
    data = b"".join(message(b"d", part) for part in parts)
    return message(b"H", response) + data + message(b"c") + done(b"COPY 2") + ready()


def corpus() -> tuple[bytes, bytes]:
    """What the client sends at once, and what the server answers: 200 messages at least."""
    asked, answered = b"", b""
    notice = message(b"N", b"SNOTICE\0C00000\0Msaw " + SECRET + b"\0\0")
    error = message(b"E", b"SERROR\0C22012\0Msaw " + SECRET + b"\0\0")
    for number in range(5):
        asked += query(b"select")
        answered += SHAPE + b"".join(SQL[b"select"]) + notice + done() + ready()
        asked += parse(b"", b"select") + bind(b"", b"") + execute() + SYNC
        answered += PARSED + BOUND + SHAPE + b"".join(SQL[b"select"]) + done() + ready()
        if number == 2:
            asked += query(b"select")
            answered += SHAPE + ROWS[0] + error + ready()
            for form in (b"text", b"csv", b"binary"):
                asked += query(b"copy " + form)
                answered += copy(form)
    return asked, answered


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.cache = VerdictCache(Planner(), True, 0, 0)
    for sql in SQL:
        verdict = Verdict(
            0, SimpleNamespace(statements=()), b',"sql":"%s"' % sql, copy_out=b"copy" in sql
        )
        for types in (b"", b"\0\0"):
            bench.cache.add(sql, types, verdict, by_fingerprint=False)
    yield bench


def answer(bench: Bench, asked: bytes, parts: list[bytes]) -> bytes:
    """What the client of a new session gets."""
    bench.relay = bench.session()
    bench.relay.use_cache(bench.cache, True, 0)
    bench.link = ServerLink()
    action, _, _ = bench.client(asked)
    assert action == IDLE
    out = b"".join(bench.relay.from_server(part) or b"" for part in parts)
    assert not bench.relay.events & EVENT_BROKEN, bench.relay.fault
    return out


def drained(bench: Bench) -> Bench:
    """Make room in the ring: each session leaves records."""
    reader = JournalReader(str(bench.path / "ring"))
    while reader.read_batch(1 << 20):
        reader.release()
    return bench


def test_every_cut_gives_the_same(planned: Bench) -> None:
    asked, answered = corpus()
    count, pos = 0, 0
    while pos < len(answered):
        pos += 1 + int.from_bytes(answered[pos + 1 : pos + 5], "big")
        count += 1
    assert count >= 200
    whole = answer(planned, asked, [answered])
    assert SECRET not in whole
    assert kinds(whole).count(b"D") == 12 * 10 + 1
    assert whole.count(b"***@***.***") == 4 * 10 + 1 + 3
    for cut in range(1, len(answered)):
        if cut % 20 == 0:
            drained(planned)
        assert answer(planned, asked, [answered[:cut], answered[cut:]]) == whole, cut
    single = [answered[at : at + 1] for at in range(len(answered))]
    assert answer(drained(planned), asked, single) == whole


def test_huge_rows_cut_anywhere(planned: Bench) -> None:
    """Rows that stream, cut around every boundary of theirs."""
    big = b"x" * 300_000
    rows = [build_row([*CELLS[:5], big]), build_row([big, *CELLS[1:]])]
    answered = SHAPE + b"".join(rows) + done() + ready()
    whole = answer(planned, query(b"select"), [answered])
    assert SECRET not in whole
    starts = (len(SHAPE), len(SHAPE) + len(rows[0]), len(answered) - 40)
    for start in starts:
        for cut in (*range(max(1, start - 12), start + 80, 3), start + 5000, start + 290_000):
            if cut < len(answered):
                parts = [answered[:cut], answered[cut:]]
                assert answer(drained(planned), query(b"select"), parts) == whole, cut
