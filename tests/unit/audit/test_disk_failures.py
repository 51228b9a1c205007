"""A disk that is full, slow or gone delays records and loses none; a clock may go any way."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.segments import list_segments
from gateway.audit.verify import verify
from gateway.audit.writer import AuditWriter, WriterSettings
from gateway.clock import SYSTEM_CLOCK
from tests.support.tiny_verify import tiny_verify
from tests.support.trail import all_payloads, drain, intent, make_trail, open_ring


class JumpingClock:
    """Monotonic time as it is; the wall clock is whatever it is set to."""

    def __init__(self) -> None:
        self.wall_s = 1_764_000_000.0

    def wall(self) -> float:
        return self.wall_s

    def monotonic(self) -> float:
        return SYSTEM_CLOCK.monotonic()


def test_the_reserve_is_given_up_for_the_last_records(tmp_path: Path, monkeypatch: Any) -> None:
    """Goal: a full disk still takes what was accepted. Method: writes fail while it is held."""
    ring = open_ring(tmp_path)
    writer = AuditWriter(tmp_path)
    writer.open()
    drain(writer)
    ballast = tmp_path / "audit" / "ballast"
    assert ballast.stat().st_blocks * 512 >= 8 << 20
    real = os.write

    def full(fd: int, data: Any) -> int:
        if ballast.exists():
            raise OSError(errno.ENOSPC, "no space")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full)
    assert ring.append(intent(1))
    assert writer.run_once() == 0  # failed, and gave it up
    drain(writer)
    assert all_payloads(tmp_path) == [intent(1)]
    writer.close()
    assert verify(tmp_path).is_clean


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_a_disk_that_comes_back_needs_no_restart(
    tmp_path: Path, monkeypatch: Any, code: int
) -> None:
    """Goal: full, read-only or broken, the records wait in the ring. Method: fail every write."""
    ring = open_ring(tmp_path)
    writer = AuditWriter(tmp_path)
    writer.open()
    drain(writer)
    real = os.write

    def failing(fd: int, data: Any) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", failing)
    sent: list[bytes] = []
    while ring.append(record := intent(len(sent))):
        sent.append(record)
        if len(sent) % 500 == 0:
            writer._retry_due = 0.0
            assert writer.run_once() == 0
    monkeypatch.setattr(os, "write", real)
    writer._retry_due = 0.0
    drain(writer)
    assert ring.append(intent(99_999))
    drain(writer)
    writer.close()
    assert all_payloads(tmp_path) == [*sent, intent(99_999)]
    assert verify(tmp_path).is_clean
    assert tiny_verify(tmp_path) == ""


def test_a_clock_that_goes_backwards_changes_nothing_of_the_proof(tmp_path: Path) -> None:
    """Goal: order is the sequence's, not the clock's. Method: jumps of years both ways."""
    ring, clock = open_ring(tmp_path), JumpingClock()
    settings = WriterSettings(segment_bytes_max=3_000, checkpoint_s=0.0)
    writer = AuditWriter(tmp_path, settings, clock=clock)
    writer.open()
    for number in range(60):
        clock.wall_s += (-1) ** number * number * 1e6
        assert ring.append(intent(number, time=int(clock.wall_s * 1e6)))
        drain(writer)
    writer.close()
    result = verify(tmp_path)
    assert result.is_clean
    assert result.checkpoints > 10
    assert tiny_verify(tmp_path) == ""
    assert len(all_payloads(tmp_path)) == 60


def test_power_loss_at_any_byte_of_any_file_leaves_a_clean_trail(tmp_path: Path) -> None:
    """Goal: a start after any cut of what was not yet synced. Method: cut at every third byte.

    The segment's end and a torn line of the checkpoints are what a power loss can cut: everything
    before the last flush is on the disk.
    """
    import shutil

    source = tmp_path / "source"
    make_trail(source, records=12, segment_bytes=1 << 20)
    ring = open_ring(source)
    writer = AuditWriter(source)
    writer.open()
    writer.checkpoint()
    synced = list_segments(source / "audit" / "segments")[-1].stat().st_size
    for number in range(3):
        assert ring.append(intent(number))
    writer._rings_due = 0.0
    flush, writer._flush = writer._flush, lambda: None  # type: ignore[method-assign]
    assert writer.run_once() == 3
    crashed = tmp_path / "crashed"
    end = list_segments(source / "audit" / "segments")[-1].stat().st_size
    for size in range(synced, end + 1, 3):
        shutil.rmtree(crashed, ignore_errors=True)
        shutil.copytree(source, crashed)
        path = list_segments(crashed / "audit" / "segments")[-1]
        os.truncate(path, size)
        again = AuditWriter(crashed)
        again.open()
        drain(again)
        again.close()
        assert [intent(n) for n in range(3)] == all_payloads(crashed)[-3:]
        result = verify(crashed)
        assert result.is_clean, (size, result.problems)
    del flush
    writer._segments.close_file()
