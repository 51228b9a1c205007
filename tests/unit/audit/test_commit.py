"""The commit gate: bytes leave in order, and only once the writer has flushed past their intent."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

from _fastpath.journal import JournalReader
from gateway.audit.wake import GatherPace, WakePipe, WriterWaits, producer_wake, writer_wake
from tests.support.trail import open_ring, ring_path


def test_a_wake_is_seen_once_and_never_blocks(tmp_path: Path) -> None:
    one, other = WakePipe(tmp_path / "run" / "a.wake"), WakePipe(tmp_path / "run" / "a.wake")
    for _ in range(100_000):  # more than a pipe holds
        one.wake()
    other.drain()
    loop = asyncio.new_event_loop()
    woken: list[int] = []

    def on_wake() -> None:
        woken.append(1)
        loop.stop()

    loop.add_reader(other.fileno(), on_wake)
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    assert woken == []
    one.wake()
    loop.call_later(5, loop.stop)
    loop.run_forever()
    loop.remove_reader(other.fileno())
    loop.close()
    assert woken == [1]
    one.close()
    other.close()
    gc.collect()


def test_the_writer_is_woken_only_in_group_mode(tmp_path: Path) -> None:
    ring = ring_path(tmp_path)
    plain = WriterWaits(tmp_path, is_group=False)
    plain.tell(ring)
    plain.pause(0)
    assert not writer_wake(tmp_path).exists()
    assert not producer_wake(ring).exists()
    group = WriterWaits(tmp_path, is_group=True)
    asking = WakePipe(writer_wake(tmp_path))
    asking.wake()
    group.pause(60)  # would time out the test
    group.tell(ring)
    assert producer_wake(ring).exists()
    group.close()
    asking.close()


def test_space_given_back_is_what_durable_means(tmp_path: Path) -> None:
    """Goal: the gate may trust the tail. Method: it moves with `release` and not with reading."""
    ring = open_ring(tmp_path)
    reader = JournalReader(str(ring_path(tmp_path)))
    assert ring.append(b"{}")
    assert reader.scan(1 << 20) == 1
    assert ring.lag_bytes() > 0
    reader.release()
    assert ring.lag_bytes() == 0


def test_a_flush_gathers_only_where_flushes_serve_several() -> None:
    """Goal: one client never waits for others. Method: count the looks at what came."""
    pace = GatherPace()
    looks: list[int] = []

    def lag() -> int:
        looks.append(1)
        return min(len(looks), 3)

    for _ in range(50):
        pace.note(2)
    pace.gather(lag)
    assert looks == []
    for _ in range(50):
        pace.note(40)
    pace.gather(lag)
    assert len(looks) == 4  # until nothing came between two looks
    left = iter(range(100))
    pace.gather(lambda: next(left))
    assert next(left) == 5  # or the time is over
