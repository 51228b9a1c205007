"""The writer: exactly once, recovery from every stop, and no draining onto a full disk."""

from __future__ import annotations

import errno
import os
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.audit.recovery import recover
from gateway.audit.search import AuditSearch, Query
from gateway.audit.segments import FILE_HEADER_SIZE, list_segments
from gateway.audit.signing import load_or_make_key
from gateway.audit.verify import verify
from gateway.audit.writer import AuditWriter, WriterSettings
from tests.support.tiny_verify import tiny_verify
from tests.support.trail import (
    all_payloads,
    drain,
    entries_of,
    intent,
    make_trail,
    open_ring,
    ring_path,
)

SMALL = WriterSettings(segment_bytes_max=4_000)


def opened(data_dir: Path, settings: WriterSettings = SMALL, **options: Any) -> AuditWriter:
    options.setdefault("measure_disk", lambda _: 0.1)
    writer = AuditWriter(data_dir, settings, **options)
    writer.open()
    return writer


def abandon(writer: AuditWriter) -> None:
    """What kill -9 leaves: files as they are, the lock free, nothing signed or closed."""
    os.close(writer._lock_fd)
    writer._lock_fd = -1
    writer._segments.close_file()
    writer._index._db.close(True)


def kinds(data_dir: Path) -> list[str]:
    return [
        orjson.loads(entry.payload)["kind"]
        for path in list_segments(data_dir / "audit" / "segments")
        for entry in entries_of(path)
        if not entry.ring_id or b"security." in entry.payload
    ]


def test_records_of_all_rings_are_stored_byte_for_byte(tmp_path: Path) -> None:
    writer = opened(tmp_path)
    one, two = open_ring(tmp_path, "worker-0"), open_ring(tmp_path, "control")
    for number in range(50):
        assert one.append(intent(number))
        assert two.append(intent(1_000 + number))
    drain(writer)
    writer.close()
    assert sorted(all_payloads(tmp_path)) == sorted(
        [intent(n) for n in range(50)] + [intent(1_000 + n) for n in range(50)]
    )
    assert verify(tmp_path).is_clean
    assert one.lag_bytes() == two.lag_bytes() == 0


def test_space_is_given_back_only_after_the_flush(tmp_path: Path, monkeypatch: Any) -> None:
    """Goal: a record is in the ring until it is on the disk."""
    writer, ring = opened(tmp_path), open_ring(tmp_path)
    lags: list[int] = []
    flush = os.fdatasync

    def noting(fd: int) -> None:
        lags.append(ring.lag_bytes())
        flush(fd)

    monkeypatch.setattr(os, "fdatasync", noting)
    ring.append(intent(1))
    drain(writer)
    assert lags[0] > 0
    assert ring.lag_bytes() == 0


@pytest.mark.parametrize("flushed", [False, True])
def test_a_writer_killed_before_release_does_not_store_twice(tmp_path: Path, flushed: bool) -> None:
    writer, ring = opened(tmp_path), open_ring(tmp_path)
    for number in range(30):
        ring.append(intent(number))
    writer._find_rings()
    for reader in writer._readers.values():
        writer._drain(reader)
    if flushed:
        writer._segments.sync()
    assert ring.lag_bytes() > 0
    abandon(writer)
    again = opened(tmp_path)
    drain(again)
    again.close()
    assert all_payloads(tmp_path) == [intent(number) for number in range(30)]
    assert verify(tmp_path).is_clean


def test_a_torn_tail_of_any_length_is_read_again_from_the_ring(tmp_path: Path) -> None:
    """Goal: no gap, no duplicate, whatever part of the last write arrived. Method: every cut."""
    source = tmp_path / "source"
    writer = opened(source, WriterSettings())
    ring = open_ring(source)
    ring.append(intent(0))
    drain(writer)
    ring.append(intent(1))
    writer._find_rings()
    writer._drain(writer._readers["worker-0.ring"])
    abandon(writer)
    segment = list_segments(source / "audit" / "segments")[-1]
    tail = entries_of(segment)[-1]
    for cut in range(0, tail.end - tail.offset, 13):
        copy = tmp_path / f"cut-{cut}"
        shutil.copytree(source, copy)
        os.truncate(copy / "audit" / "segments" / segment.name, tail.offset + cut)
        again = opened(copy)
        drain(again)
        again.close()
        assert all_payloads(copy) == [intent(0), intent(1)]
        assert verify(copy).problems == []
        assert tiny_verify(copy) == ""


@pytest.mark.parametrize("fill", [b"\0", b"\xa5"])
def test_a_page_that_never_reached_the_disk_is_cut_and_kept(tmp_path: Path, fill: bytes) -> None:
    """Goal: after a power loss unsigned garbage goes, named, and the chain holds."""
    writer, ring = opened(tmp_path, WriterSettings()), open_ring(tmp_path)
    ring.append(intent(0))
    drain(writer)
    writer.checkpoint()
    ring.append(intent(1))
    writer._find_rings()
    writer._drain(writer._readers["worker-0.ring"])
    abandon(writer)
    segment = list_segments(tmp_path / "audit" / "segments")[-1]
    last = entries_of(segment)[-1]
    content = segment.read_bytes()
    segment.write_bytes(content[: last.end - 20] + fill * 20)
    again = opened(tmp_path)
    drain(again)
    again.close()
    assert "security.audit_torn" in kinds(tmp_path)
    assert all_payloads(tmp_path) == [intent(0), intent(1)]
    assert verify(tmp_path).problems == []


def test_signed_entries_are_never_cut_off(tmp_path: Path) -> None:
    """Goal: recovery destroys no evidence. Method: change a signed record, then start again."""
    make_trail(tmp_path, records=10, segment_bytes=1 << 20)
    segment = list_segments(tmp_path / "audit" / "segments")[-1]
    entry = entries_of(segment)[4]
    content = bytearray(segment.read_bytes())
    content[entry.end - 3] ^= 1
    segment.write_bytes(content)
    writer, ring = opened(tmp_path), open_ring(tmp_path)
    ring.append(intent(99))
    drain(writer)
    writer.close()
    assert segment.read_bytes() == content
    assert "security.audit_damaged" in kinds(tmp_path)
    problems = verify(tmp_path).problems
    assert ("edited", entry.sequence) in {(p.what, p.sequence) for p in problems}
    assert all_payloads(tmp_path)[-1] == intent(99)


@pytest.mark.parametrize("how", ["cut", "removed", "header"])
def test_missing_signed_entries_are_recorded_and_no_number_is_used_twice(
    tmp_path: Path, how: str
) -> None:
    make_trail(tmp_path, records=10, segment_bytes=1 << 20)
    before = verify(tmp_path).last_sequence
    segment = list_segments(tmp_path / "audit" / "segments")[-1]
    if how == "cut":
        os.truncate(segment, entries_of(segment)[5].offset)
    elif how == "removed":
        segment.unlink()
    else:
        segment.write_bytes(b"garbage" + segment.read_bytes()[7:])
    writer = opened(tmp_path)
    writer.close()
    assert "security.audit_truncated" in kinds(tmp_path)
    newest = list_segments(tmp_path / "audit" / "segments")[-1]
    assert int(newest.stem) == before + 1
    assert {"truncated", "gap"} & {p.what for p in verify(tmp_path).problems}


def test_a_forged_checkpoint_does_not_move_the_trail(tmp_path: Path) -> None:
    make_trail(tmp_path, records=6, segment_bytes=1 << 20)
    log = tmp_path / "audit" / "checkpoints.log"
    lines = log.read_bytes()
    body = orjson.loads(lines.splitlines()[-1].rpartition(b" ")[0])
    forged = orjson.dumps(body | {"sequence": 10**9, "number": body["number"] + 1})
    log.write_bytes(lines + forged + b" " + b"00" * 64 + b"\n")
    writer, _, events = recover(
        tmp_path / "audit", load_or_make_key(tmp_path / "audit").public_key()
    )
    writer.close_file()
    assert writer.end.sequence_next < 100
    assert [event["kind"] for event in events] == ["security.audit_damaged"]


def test_damage_in_a_ring_becomes_a_security_event_once(tmp_path: Path) -> None:
    ring = open_ring(tmp_path)
    ring.append_many(b'{"v":1,"kind":"x"}------', 4)
    with ring_path(tmp_path).open("r+b") as file:
        file.seek(65_536 + 40 + 20)
        file.write(b"?")
    writer = opened(tmp_path)
    drain(writer)
    abandon(writer)
    again = opened(tmp_path)
    drain(again)
    again.close()
    assert kinds(tmp_path).count("security.journal_damaged") == 1
    assert verify(tmp_path).problems == []


def test_a_ring_that_is_none_is_set_aside_and_said(tmp_path: Path) -> None:
    ring_path(tmp_path).write_bytes(b"not a ring")
    writer = opened(tmp_path)
    drain(writer)
    assert open_ring(tmp_path).append(intent(1))
    drain(writer)
    writer.close()
    assert "security.journal_unreadable" in kinds(tmp_path)
    assert all_payloads(tmp_path) == [intent(1)]
    assert list(ring_path(tmp_path).parent.glob("*.unreadable-*"))


def test_a_record_that_is_not_an_object_is_kept_and_reported(tmp_path: Path) -> None:
    writer, ring = opened(tmp_path), open_ring(tmp_path)
    ring.append(b'{"v":1,"kind":"statement.intent","sql":"cut')
    drain(writer)
    writer.close()
    assert all_payloads(tmp_path) == [b'{"v":1,"kind":"statement.intent","sql":"cut']
    assert "security.record_malformed" in kinds(tmp_path)


def test_a_full_disk_stops_draining_and_recovers_without_a_restart(tmp_path: Path) -> None:
    share = [0.5]
    writer = opened(tmp_path, measure_disk=lambda _: share[0])
    ring = open_ring(tmp_path)
    for level, stored in ((0.92, 1), (0.98, 1), (0.5, 3)):
        share[0], writer._disk_due = level, 0.0
        ring.append(intent(1))
        drain(writer)
        assert len(all_payloads(tmp_path)) == stored
    writer.close()
    assert [k for k in kinds(tmp_path) if k.startswith("limit.")] == [
        "limit.disk_warned",
        "limit.disk_resumed",
    ]


@pytest.mark.parametrize("calls", range(1, 9))
def test_a_write_that_fails_anywhere_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: Any, calls: int
) -> None:
    """Goal: ENOSPC at any write, in the middle of it, is survived. Method: fail the n-th write."""
    writer, ring = opened(tmp_path, WriterSettings(segment_bytes_max=1_500)), open_ring(tmp_path)
    write, seen = os.write, [0]

    def failing(fd: int, data: Any) -> int:
        seen[0] += 1
        if seen[0] == calls:
            write(fd, bytes(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "no space")
        return write(fd, data)

    monkeypatch.setattr(os, "write", failing)
    for number in range(12):
        ring.append(intent(number))
        writer._retry_due = 0.0
        drain(writer)
    writer._retry_due = 0.0
    drain(writer)
    writer.close()
    assert seen[0] >= calls
    assert all_payloads(tmp_path) == [intent(number) for number in range(12)]
    assert verify(tmp_path).problems == []


@pytest.mark.parametrize("calls", range(1, 10))
def test_a_flush_that_fails_takes_back_what_may_not_be_on_the_disk(
    tmp_path: Path, monkeypatch: Any, calls: int
) -> None:
    """Goal: no ring space is given back for bytes a failed flush lost. Method: fail the n-th."""
    writer, ring = opened(tmp_path, WriterSettings(segment_bytes_max=1_500)), open_ring(tmp_path)
    flush, seen = os.fdatasync, [0]

    def failing(fd: int) -> None:
        seen[0] += 1
        if seen[0] == calls:
            raise OSError(errno.EIO, "the disk lied")
        flush(fd)

    monkeypatch.setattr(os, "fdatasync", failing)
    for number in range(12):
        ring.append(intent(number))
        writer._retry_due = 0.0
        drain(writer)
    writer._retry_due = 0.0
    drain(writer)
    writer.close()
    assert seen[0] > calls
    assert all_payloads(tmp_path) == [intent(number) for number in range(12)]
    assert ring.lag_bytes() == 0
    assert verify(tmp_path).problems == []
    assert sum(1 for _ in AuditSearch(tmp_path).find(Query(filters={"kind": "statement.*"}))) == 12


def test_a_full_ring_is_freed_by_the_next_writer(tmp_path: Path) -> None:
    """Goal: a kill between storing and releasing cannot leave the gateway refusing for ever."""
    writer, ring = opened(tmp_path, WriterSettings()), open_ring(tmp_path, size=1)
    while ring.append(b'{"v":1,"kind":"x"}'):
        pass
    writer._find_rings()
    writer._drain(writer._readers["worker-0.ring"])
    abandon(writer)
    assert not ring.append(b'{"v":1,"kind":"x"}')
    again = opened(tmp_path)
    again._rings_due = 0.0
    again.run_once()
    again.run_once()
    assert ring.append(b'{"v":1,"kind":"x"}')
    again.close()
    assert verify(tmp_path).problems == []


def test_one_writer_per_data_directory(tmp_path: Path) -> None:
    writer = opened(tmp_path)
    with pytest.raises(BlockingIOError):
        opened(tmp_path)
    writer.close()


def test_the_key_is_private_and_stays(tmp_path: Path) -> None:
    opened(tmp_path).close()
    key = tmp_path / "audit" / "signing.key"
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    opened(tmp_path).close()
    assert key.read_bytes() == before


def test_segments_rotate_by_size_and_each_continues_the_last(tmp_path: Path) -> None:
    make_trail(tmp_path, records=60, segment_bytes=2_000)
    paths = list_segments(tmp_path / "audit" / "segments")
    assert len(paths) > 5
    for before, after in pairwise(paths):
        opening = orjson.loads(entries_of(after)[0].payload)
        assert opening["previous_leaf"] == entries_of(before)[-1].leaf.hex()
    assert all(path.stat().st_size > FILE_HEADER_SIZE for path in paths)
