"""Packed segments: the same bytes, read at any place, and no byte of the file is loose."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.audit import packing
from gateway.audit.packing import pack_file, packed_plain_size, read_packed, read_packed_span
from gateway.audit.retention import plan_purge, purge
from gateway.audit.search import AuditFollower, AuditSearch, Query
from gateway.audit.segments import list_segments, read_segment, segment_number
from gateway.audit.verify import verify
from gateway.audit.writer import AuditWriter, WriterSettings
from tests.support.tiny_verify import tiny_verify
from tests.support.trail import all_payloads, drain, intent, make_trail, open_ring


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trail whose closed segments are packed, all by hand: the writer's thread takes its time."""
    data_dir = tmp_path_factory.mktemp("packed")
    make_trail(data_dir)
    for path in list_segments(data_dir / "audit" / "segments")[:-1]:
        pack_file(path)
    return data_dir


def test_a_packed_file_reads_back_at_any_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "FRAME_BYTES", 1000)
    plain = os.urandom(300) + b"x" * 4_321
    source = tmp_path / "1.seg"
    source.write_bytes(plain)
    path = pack_file(source)
    assert not source.exists()
    assert read_packed(path, check=True) == plain
    assert packed_plain_size(path) == len(plain)
    for start in (0, 1, 999, 1000, 1001, 4_620, 4_621, 9_999):
        for finish in (None, start, start + 1, start + 1500, len(plain)):
            assert read_packed_span(path, start, finish) == plain[start:finish]


def test_the_zstd_program_unpacks_it(tmp_path: Path) -> None:
    """Goal: no tool of ours is needed. Method: the format's own decoder, streaming."""
    import zstandard

    source = tmp_path / "1.seg"
    source.write_bytes(b"abc" * 500_000)
    path = pack_file(source)
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        assert reader.read() == b"abc" * 500_000
    if program := shutil.which("zstd"):
        assert subprocess.check_output([program, "-dc", str(path)]) == b"abc" * 500_000


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_changed_byte_of_a_packed_segment_is_named(
    packed: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Goal: not one byte is loose, the table's and the headers' included. Method: flip or cut."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(packed, copy)
    path = data.draw(st.sampled_from(list_segments(copy / "audit" / "segments")[:-1]))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= data.draw(st.integers(1, 255))
    else:
        del content[at:]
    path.write_bytes(content)
    result = verify(copy)
    assert any(p.file == path.name for p in result.problems)
    assert tiny_verify(copy) != ""


def test_everything_reads_packed_and_plain_segments(packed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    assert verify(copy).is_clean
    assert tiny_verify(copy) == ""
    (copy / "audit" / "index.db").unlink()  # without an index everything is read
    found = list(AuditSearch(copy).find(Query(filters={"subject": "agent-7"}, limit=1000)))
    assert len(found) == 20
    writer = AuditWriter(copy, WriterSettings(pack=False))  # builds the index from packed ones
    writer.open()
    writer.close()
    assert len(list(AuditSearch(copy).find(Query(filters={"subject": "agent-7"}, limit=99)))) == 20
    plan = plan_purge(copy, before_us=1 << 62)
    purge(copy, plan, rule="test", by="test", now_us=1)
    assert len(list_segments(copy / "audit" / "segments")) == 1
    assert verify(copy).is_clean


def test_the_writer_packs_what_it_closes_and_a_follower_goes_on(tmp_path: Path) -> None:
    ring = open_ring(tmp_path)
    writer = AuditWriter(tmp_path, WriterSettings(segment_bytes_max=20_000))
    writer.open()
    follower = AuditFollower(tmp_path)
    payloads = [intent(number) for number in range(400)]
    seen = []
    for number, payload in enumerate(payloads):
        assert ring.append(payload)
        if number % 7 == 0:
            drain(writer)
        if number % 90 == 0:
            seen += follower.poll(number * 10.0)
    drain(writer)
    writer.close()
    seen += follower.poll(1e9)
    seen += follower.poll(2e9)
    paths = list_segments(tmp_path / "audit" / "segments")
    assert all_payloads(tmp_path) == payloads
    assert [e.record["stmt"] for e in seen if e.record["kind"] == "statement.intent"] == list(
        range(400)
    )
    assert sum(path.suffix == ".zst" for path in paths) >= 1
    packed = next(path for path in paths if path.suffix == ".zst")
    assert packed.stat().st_size < len(read_segment(packed)) / 3
    assert verify(tmp_path).is_clean


def test_a_crash_between_rename_and_unlink_leaves_one_segment(tmp_path: Path) -> None:
    """Goal: both forms are one segment. Method: put the plain one back, start again."""
    make_trail(tmp_path)
    path = list_segments(tmp_path / "audit" / "segments")[0]
    plain = path.read_bytes()
    packed = pack_file(path)
    path.write_bytes(plain)
    assert [segment_number(p) for p in list_segments(path.parent)].count(1) == 1
    assert verify(tmp_path).is_clean
    writer = AuditWriter(tmp_path)
    writer.open()
    writer.close()
    assert packed.exists()
    assert not path.exists()
    assert verify(tmp_path).is_clean
