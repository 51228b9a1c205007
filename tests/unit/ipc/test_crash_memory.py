"""What is marked or buried is found; what was forgotten is not."""

from __future__ import annotations

from pathlib import Path

from gateway.ipc.crash_memory import CrashMemory, request_digest
from gateway.limits import CRASHED_TEXTS_MAX


def test_mark_outlives_its_process_and_is_buried(tmp_path: Path) -> None:
    """Goal: the cause of a death is known afterwards. Method: mark, look through another map."""
    memory = CrashMemory.create(tmp_path / "crashes")
    digest = request_digest({"sql": "select 1"})
    memory.mark(3, digest)
    other = CrashMemory.open(tmp_path / "crashes")
    assert other.marked(3) == digest
    assert digest not in other
    assert other.bury(3)
    assert memory.marked(3) is None
    assert digest in memory
    assert not memory.bury(3)


def test_ring_forgets_the_oldest(tmp_path: Path) -> None:
    """Goal: memory is bounded. Method: one more than fits; repeats take no room."""
    memory = CrashMemory.create(tmp_path / "crashes")
    digests = [request_digest({"sql": str(n)}) for n in range(CRASHED_TEXTS_MAX + 1)]
    for digest in digests[:-1]:
        memory.add(digest)
        memory.add(digest)
    assert all(digest in memory for digest in digests[:-1])
    memory.add(digests[-1])
    assert digests[0] not in memory
    assert digests[-1] in memory
    assert digests[1] in memory


def test_misaligned_bytes_are_no_match(tmp_path: Path) -> None:
    """Goal: only whole entries count. Method: look for the seam between two entries."""
    memory = CrashMemory.create(tmp_path / "crashes")
    memory.add(b"a" * 8 + b"b" * 8)
    memory.add(b"c" * 8 + b"d" * 8)
    assert b"b" * 8 + b"c" * 8 not in memory
    assert bytes(16) not in memory
