"""Make small, sound audit trails for tests, and take their files apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from _fastpath.journal import Journal
from gateway.audit.segments import (
    FILE_HEADER_SIZE,
    Entry,
    list_segments,
    read_entries,
    read_segment,
)
from gateway.audit.writer import AuditWriter, WriterSettings


def ring_path(data_dir: Path, process: str = "worker-0") -> Path:
    """The ring file of a process; its directory is made."""
    path = data_dir / "journal" / f"{process}.ring"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def open_ring(data_dir: Path, process: str = "worker-0", size: int = 1 << 20) -> Journal:
    """The producing end of a process's ring."""
    return Journal(str(ring_path(data_dir, process)), size)


def intent(number: int, **fields: Any) -> bytes:
    """An intent record."""
    record: dict[str, Any] = {
        "v": 1,
        "kind": "statement.intent",
        "time": 1_764_000_000_000_000 + number,
        "session": "w0-1",
        "stmt": number,
        "subject": "agent-7",
        "target": "orders",
        "sql": f"SELECT {number}",
        "decision": "allow",
        "effects": ["rows.read"],
        "objects": ["sales.orders"],
        "rules": ["read-sales"],
    }
    return orjson.dumps(record | fields)


def result(number: int, **fields: Any) -> bytes:
    """The result record of `intent(number)`."""
    record: dict[str, Any] = {
        "v": 1,
        "kind": "statement.result",
        "time": 1_764_000_000_000_500 + number,
        "session": "w0-1",
        "stmt": number,
        "outcome": "ok",
        "rows": 1,
        "duration_us": 500,
    }
    return orjson.dumps(record | fields)


def drain(writer: AuditWriter) -> int:
    """Run the writer until the rings are empty; how many records that was."""
    count = 0
    writer._rings_due = 0.0
    while moved := writer.run_once():
        count += moved
    return count


def make_trail(
    data_dir: Path, records: int = 40, segment_bytes: int = 3_000, *, pack: bool = False
) -> None:
    """A closed trail of several segments and checkpoints."""
    options = WriterSettings(segment_bytes_max=segment_bytes, pack=pack)
    writer = AuditWriter(data_dir, options)
    writer.open()
    ring = open_ring(data_dir)
    for number in range(records):
        assert ring.append(intent(number) if number % 2 else result(number))
        if number % 4 == 0:
            drain(writer)
        if number % 10 == 5:
            writer.checkpoint()
    writer.close()


def entries_of(path: Path) -> list[Entry]:
    """All entries of a segment file."""
    return list(read_entries(read_segment(path), start=FILE_HEADER_SIZE))


def all_payloads(data_dir: Path) -> list[bytes]:
    """Payloads of all ring records in the trail, in order."""
    return [
        entry.payload
        for path in list_segments(data_dir / "audit" / "segments")
        for entry in entries_of(path)
        if entry.ring_id
    ]


def encode(entry: Entry) -> bytes:
    """The bytes of an entry in its file."""
    return entry.head + entry.leaf + entry.payload


def all_records(data_dir: Path) -> list[dict[str, Any]]:
    """All records of the trail, the writer's own included, in order."""
    return [
        orjson.loads(entry.payload)
        for path in list_segments(data_dir / "audit" / "segments")
        for entry in entries_of(path)
    ]
