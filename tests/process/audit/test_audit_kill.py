"""kill -9 of either end of the journal, and of the writer: nothing lost, nothing doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gateway.audit.verify import verify
from gateway.audit.writer import AuditWriter, WriterSettings
from tests.support.tiny_verify import tiny_verify
from tests.support.trail import all_payloads, drain, open_ring

PRODUCER = """
import sys
from _fastpath.journal import Journal
ring, number = Journal(sys.argv[1], 1 << 20), int(sys.argv[2])
out = sys.stdout.buffer
while True:
    if ring.append(b'{"v":1,"kind":"statement.intent","n":%d}' % number):
        number += 1
        # What is told here was accepted: it must never be missing.
        out.write(b"%d\\n" % number)
        out.flush()
"""

WRITER = """
import sys
from pathlib import Path
from gateway.audit.writer import AuditWriter, WriterSettings
AuditWriter(Path(sys.argv[1]), WriterSettings(
    segment_bytes_max=200_000, checkpoint_s=0.05, batch_bytes_max=20_000)).run(lambda: False)
"""


def spawn(code: str, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    """Start a child that runs `code`."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, **options)  # type: ignore[call-overload,no-any-return]


def kill(child: subprocess.Popen[bytes]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)


def pause(seconds: float) -> None:
    """Let children work; how long is part of the randomness, nothing is waited for."""
    threading.Event().wait(seconds)


def numbers(data_dir: Path) -> list[int]:
    return [int(payload.rpartition(b":")[2][:-1]) for payload in all_payloads(data_dir)]


def test_a_killed_producer_loses_nothing_it_was_told_is_written(tmp_path: Path) -> None:
    """Goal: accepted means recorded. Method: kill producers at random; compare with their word."""
    rng, accepted = random.Random(1), 0
    open_ring(tmp_path)
    writer = AuditWriter(tmp_path, WriterSettings(segment_bytes_max=100_000))
    writer.open()
    ring = str(tmp_path / "journal" / "worker-0.ring")
    for _ in range(6):
        child = spawn(PRODUCER, ring, str(accepted), stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        until = time.monotonic() + rng.uniform(0.0, 0.15)
        told = b""
        while time.monotonic() < until:
            told = child.stdout.readline()
            writer.run_once()
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().splitlines()
        child.stdout.close()
        child.wait(10)
        lines = [line for line in [told.strip(), *rest] if line.isdigit()]
        drain(writer)
        stored = numbers(tmp_path)
        # The one appended and not told of may be there; one told of must be.
        assert len(stored) >= (int(lines[-2]) if len(lines) > 1 else 1)
        assert stored == list(range(len(stored)))
        accepted = len(stored)
    writer.close()
    assert verify(tmp_path).problems == []


@pytest.mark.timeout(120)
def test_a_killed_writer_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Goal: exactly once from ring to trail. Method: kill the writer at random under load."""
    rng, sent = random.Random(2), 0
    ring = open_ring(tmp_path, size=4 << 20)
    for _ in range(8):
        child = spawn(WRITER, str(tmp_path))
        until = time.monotonic() + rng.uniform(0.35, 0.8)
        while time.monotonic() < until:
            if ring.append(b'{"v":1,"kind":"statement.intent","n":%d}' % sent):
                sent += 1
            else:
                pause(0.001)
        kill(child)
    writer = AuditWriter(tmp_path)
    writer.open()
    drain(writer)
    writer.close()
    assert sent > 1_000
    assert numbers(tmp_path) == list(range(sent))
    result = verify(tmp_path)
    assert result.problems == []
    assert tiny_verify(tmp_path) == ""
    assert result.segments > 1


def test_an_idle_writer_is_nearly_free(tmp_path: Path) -> None:
    """Goal: no busy loop. Method: CPU time of a writer with nothing to do."""
    open_ring(tmp_path)
    child = spawn(WRITER, str(tmp_path))
    stat = Path(f"/proc/{child.pid}/stat")
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob("audit/segments/*.seg")) and time.monotonic() < deadline:
        pause(0.01)
    pause(0.3)

    def ticks() -> int:
        return sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))

    before = ticks()
    pause(1.5)
    used = (ticks() - before) / os.sysconf("SC_CLK_TCK")
    kill(child)
    assert used <= 0.05  # two ticks of 10 ms are noise; a busy loop would be 1.5 s


def test_a_writer_told_to_stop_drains_signs_and_closes(tmp_path: Path) -> None:
    ring = open_ring(tmp_path)
    for number in range(500):
        assert ring.append(b'{"v":1,"kind":"statement.intent","n":%d}' % number)
    beats: list[int] = []
    AuditWriter(tmp_path).run(lambda: len(beats) > 3, lambda: beats.append(1))
    result = verify(tmp_path)
    assert numbers(tmp_path) == list(range(500))
    assert result.is_clean
    assert result.signed_to == result.last_sequence


# Named points of the writer's path. At each the child kills itself once, the n-th time it is there.
POINTS = {
    "before-write": "before(segments.SegmentWriter, '_write')",
    "after-write": "after(segments.SegmentWriter, '_write')",
    "torn-write": "torn()",
    "before-flush": "before(segments.SegmentWriter, 'sync')",
    "after-flush": "after(segments.SegmentWriter, 'sync')",
    "before-close-entry": "before(segments.SegmentWriter, 'append_close')",
    "after-close-entry": "after(segments.SegmentWriter, 'append_close')",
    "before-checkpoint": "before(writer, 'append_line')",
    "after-checkpoint": "after(writer, 'append_line')",
    "before-open-segment": "before(segments.SegmentWriter, 'open_new')",
    "after-open-segment": "after(segments.SegmentWriter, 'open_new')",
    "before-index-commit": "before(index.AuditIndex, 'commit')",
    "packed-not-removed": "before(pathlib.Path, 'unlink')",
    "before-pack-rename": "before(pathlib.Path, 'rename')",
}
DYING = """
import os, pathlib, signal, sys
from gateway.audit import index, segments, writer
left = int(sys.argv[2])

def die():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def before(owner, name):
    real = getattr(owner, name)
    def call(*given, **named):
        die()
        return real(*given, **named)
    setattr(owner, name, call)

def after(owner, name):
    real = getattr(owner, name)
    def call(*given, **named):
        found = real(*given, **named)
        die()
        return found
    setattr(owner, name, call)

def torn():
    real = segments._write_all
    def call(fd, content):
        global left
        left -= 1
        if left == 0:
            os.write(fd, bytes(content)[: len(content) // 2 + 1])
            os.kill(os.getpid(), signal.SIGKILL)
        real(fd, content)
    segments._write_all = call

POINT
writer.AuditWriter(pathlib.Path(sys.argv[1]), writer.WriterSettings(
    segment_bytes_max=60_000, checkpoint_s=0.02, batch_bytes_max=20_000)).run(lambda: False)
"""


@pytest.mark.timeout(240)
def test_a_writer_killed_at_any_named_point_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Goal: no point of the path is special. Method: die at each while records come."""
    ring, sent = open_ring(tmp_path, size=4 << 20), 0
    for number, (point, code) in enumerate(POINTS.items()):
        child = spawn(DYING.replace("POINT", code), str(tmp_path), str(1 + number % 3))
        deadline = time.monotonic() + 60
        while child.poll() is None:
            assert time.monotonic() < deadline, f"{point} is never reached"
            for _ in range(20):
                if ring.append(b'{"v":1,"kind":"statement.intent","n":%d}' % sent):
                    sent += 1
            pause(0.002)
        assert child.returncode == -signal.SIGKILL, point
    writer = AuditWriter(tmp_path)
    writer.open()
    drain(writer)
    writer.close()
    assert numbers(tmp_path) == list(range(sent))
    result = verify(tmp_path)
    assert result.problems == []
    assert tiny_verify(tmp_path) == ""
    assert result.segments > 3
