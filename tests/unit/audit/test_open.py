"""Statements without a result: counted, found again after any stop, marked when a worker died."""

from __future__ import annotations

import os
import random
from pathlib import Path

import orjson
import pytest

from _fastpath.openset import OpenStatements
from _fastpath.terms import TermScanner
from gateway.audit.verify import verify
from gateway.audit.writer import AuditWriter, WriterSettings
from tests.support.trail import all_records, drain, intent, open_ring, result


def opened(data_dir: Path, segment_bytes: int = 1 << 20) -> AuditWriter:
    settings = WriterSettings(segment_bytes_max=segment_bytes)
    writer = AuditWriter(data_dir, settings, measure_disk=lambda _: 0.1)
    writer.open()
    return writer


def marked(data_dir: Path) -> list[int]:
    return [
        record["stmt"] for record in all_records(data_dir) if record.get("outcome") == "unknown"
    ]


def test_the_set_is_a_set() -> None:
    """Goal: adding and dropping in any order. Method: a Python set beside it, many collisions."""
    rng, ours = random.Random(4), OpenStatements()
    theirs: set[tuple[bytes, int]] = set()
    scanner = TermScanner(())
    for _ in range(20_000):
        number = rng.randrange(3_000)
        make = intent if rng.random() < 0.52 else result
        assert scanner.scan_one(make(number, session=f"s{number % 7}"))
        ours.note(scanner, 3, number)
        (theirs.add if make is intent else theirs.discard)((f"s{number % 7}".encode(), number))
    assert {item[:2] for item in ours.items()} == theirs
    assert len(ours) == len(theirs)


@pytest.mark.parametrize("restart", [False, True])
def test_what_a_dead_worker_left_open_becomes_unknown(tmp_path: Path, restart: bool) -> None:
    """Goal: an intent whose worker died is closed as `unknown`, once, and only that one."""
    writer, ring, other = opened(tmp_path), open_ring(tmp_path), open_ring(tmp_path, "worker-1")
    for number in range(6):
        ring.append(intent(number))
    for number in (0, 1, 3):
        ring.append(result(number))
    other.append(intent(50, session="other"))
    drain(writer)
    assert marked(tmp_path) == []  # they may still be running
    del ring  # the kernel frees the lock of a killed worker just so
    if restart:
        writer.close()
        writer = opened(tmp_path)
    ring = open_ring(tmp_path)
    ring.append(intent(0, session="new life"))
    for _ in range(3):
        drain(writer)
    writer.close()
    assert marked(tmp_path) == [2, 4, 5]
    found = verify(tmp_path)
    assert found.is_clean
    assert sorted(found.open) == [("new life", 0), ("other", 50)]


def test_open_statements_are_known_over_segments_and_stops(tmp_path: Path) -> None:
    """Goal: a long statement is not forgotten. Method: rotate often, kill the writer, restart."""
    writer, ring = opened(tmp_path, 1_500), open_ring(tmp_path)
    ring.append(intent(7_000))
    for number in range(40):
        ring.append(intent(number))
        ring.append(result(number))
        drain(writer)
    os.close(writer._lock_fd)
    writer._lock_fd = -1
    again = opened(tmp_path, 1_500)
    assert [item[1] for item in again._segments.end.opened.items()] == [7_000]
    del ring
    open_ring(tmp_path)
    drain(again)
    again.close()
    assert marked(tmp_path) == [7_000]
    assert verify(tmp_path).open == []


def test_records_of_an_earlier_life_still_in_the_ring_come_first(tmp_path: Path) -> None:
    """Goal: nothing is marked while its result is unread. Method: die, reopen, then drain."""
    ring = open_ring(tmp_path)
    ring.append(intent(1))
    ring.append(intent(2))
    ring.append(result(1))
    del ring
    open_ring(tmp_path)
    writer = AuditWriter(tmp_path, WriterSettings(batch_bytes_max=1))
    writer.open()
    drain(writer)
    writer.close()
    assert marked(tmp_path) == [2]
    last = [orjson.dumps(record["kind"]) for record in all_records(tmp_path)]
    assert last[-1] == b'"statement.result"'
