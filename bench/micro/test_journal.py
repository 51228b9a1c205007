"""Records per second into a ring, through the writer, and bytes per record.

Run once in CI so that it cannot rot; measured with `pytest bench/micro/test_journal.py -s`.
CPU time counts, not the clock: other processes on the machine must not fail it. The bars are
three times what the design asks for; the printed numbers are the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import orjson

from _fastpath.journal import Journal, JournalReader
from gateway.audit.verify import verify
from gateway.audit.writer import AuditWriter

RECORDS = 60_000
RING_SIZE = 64 << 20

INTENT = orjson.dumps(
    {
        "v": 1,
        "kind": "statement.intent",
        "session": "w0-1-17",
        "principal": "https://idp.example.com|agent-7",
        "target": "orders",
        "role": "read",
        "stmt": 1,
        "time": 1_764_000_000_000_000,
        "path": "extended",
        "sql": "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
        "params": ["4242"],
        "decision": "allow",
        "rules": ["read-bench"],
        "effects": ["rows.read"],
        "objects": ["public.pgbench_accounts"],
        "policy_digest": "ab" * 32,
    }
)
RESULT = orjson.dumps(
    {
        "v": 1,
        "kind": "statement.result",
        "session": "w0-1-17",
        "stmt": 1,
        "time": 1_764_000_000_000_100,
        "outcome": "ok",
        "tag": "SELECT 1",
        "rows": 1,
        "bytes": 34,
        "duration_us": 123,
    }
)


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this process for one call of `work`."""
    began = time.process_time()
    work()
    return time.process_time() - began


def test_journal_takes_a_million_records_a_second(tmp_path: Path) -> None:
    ring = Journal(str(tmp_path / "bench.ring"), RING_SIZE)
    reader = JournalReader(ring.path)
    produce = consume = 0.0
    for lap in range(6):
        used = cpu_s(lambda: ring.append_many(INTENT, RECORDS))
        drained = cpu_s(lambda: reader.read_batch(RING_SIZE))
        reader.release()
        if lap >= 3:  # the first laps touch every page of the new file
            produce += used
            consume += drained
    count = 3 * RECORDS
    print(f"\njournal: {count / produce:,.0f} records/s in, {count / consume:,.0f} out")
    print(f"journal: {produce / count * 1e9:.0f} ns per {len(INTENT)}-byte record")
    assert count / produce > 1_000_000 / 3


def test_writer_stays_within_its_budget(tmp_path: Path) -> None:
    writer = AuditWriter(tmp_path)
    writer.open()
    ring = Journal(str(tmp_path / "journal" / "bench.ring"), RING_SIZE)
    used, began, clock = 0.0, time.monotonic(), 0.0

    def drain() -> None:
        writer._rings_due = 0.0  # noqa: SLF001  look for rings now
        while writer.run_once():
            pass

    for _ in range(3):
        for _ in range(RECORDS // 2):
            assert ring.append(INTENT)
            assert ring.append(RESULT)
        began = time.monotonic()
        used += cpu_s(drain)
        clock += time.monotonic() - began
    writer.close()
    count = 3 * RECORDS
    size = sum(path.stat().st_size for path in (tmp_path / "audit" / "segments").iterdir())
    index = sum(path.stat().st_size for path in (tmp_path / "audit").glob("index.db*"))
    began = time.monotonic()
    assert verify(tmp_path).is_clean
    checked = time.monotonic() - began
    print(f"\nwriter: {used / count * 1e6:.2f} us CPU per record, {count / clock:,.0f} records/s")
    print(f"writer: {size / count:.0f} bytes per record, index {index / count:.2f}")
    print(f"verify: {count / checked:,.0f} records/s")
    assert used / count < 3 * 3e-6
