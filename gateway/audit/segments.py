"""Segment files: the audit trail's bytes on disk, append-only, one stream per data directory.

A file is `magic | stream | first sequence` and then entries (`chain.py`). Its first entry says
what it continues, its last one holds the Merkle root. Nothing is ever rewritten; the one
exception, cutting a torn tail after a crash, is `recovery.py`'s and leaves a record.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from _fastpath.journal import JournalReader
from _fastpath.openset import OpenStatements
from _fastpath.terms import TermScanner
from _fastpath.trail import Trail
from gateway.audit.chain import ENTRY_OVERHEAD, HASH_SIZE, HEAD, ZERO_HASH, EntryKind, leaf_hash
from gateway.audit.packing import SUFFIX, packed_plain_size, read_packed, read_packed_span
from gateway.audit.signing import sync_directory
from gateway.clock import now_us

MAGIC: Final = b"PSTNSEG1"
FILE_HEADER_SIZE: Final = 32


class Entry(NamedTuple):
    """One entry as it stands in the file; nothing about it is checked yet."""

    offset: int
    sequence: int
    kind: int
    ring_id: int
    ring_sequence: int
    head: bytes
    leaf: bytes
    payload: bytes

    @property
    def end(self) -> int:
        """Offset one past the entry."""
        return self.offset + ENTRY_OVERHEAD + len(self.payload)


def segment_directory(data_dir: Path) -> Path:
    """Where the segments of a data directory are."""
    return data_dir / "audit" / "segments"


def segment_number(path: Path) -> int:
    """The first sequence of a segment, which names its file, packed or not."""
    return int(path.name.partition(".")[0])


def list_segments(directory: Path) -> list[Path]:
    """The segment files in order. One that a crash left in both forms counts as plain."""
    found = {segment_number(path): path for path in directory.glob(f"[0-9]*.seg{SUFFIX}")}
    found |= {segment_number(path): path for path in directory.glob("[0-9]*.seg")}
    return [found[number] for number in sorted(found)]


def segment_path(directory: Path, first_sequence: int) -> Path:
    """The file that starts at `first_sequence`, while it is written."""
    return directory / f"{first_sequence:020d}.seg"


def read_segment(path: Path, start: int = 0, finish: int | None = None) -> bytes:
    """The plain bytes of a segment, or a span of them, whichever form it has by now.

    Raises OSError, ValueError when a packed one cannot be read.
    """
    try:
        if path.suffix == SUFFIX:
            return read_packed_span(path, start, finish) if start or finish else read_packed(path)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size if finish is None else finish
            return os.pread(file.fileno(), size - start, start) if size > start else b""
    except FileNotFoundError:
        packed = path.with_name(path.name + SUFFIX)
        if path.suffix == SUFFIX or not packed.exists():
            raise
        return read_segment(packed, start, finish)


def segment_size(path: Path) -> int:
    """How many plain bytes a segment has. Raises OSError, ValueError."""
    try:
        return packed_plain_size(path) if path.suffix == SUFFIX else path.stat().st_size
    except FileNotFoundError:
        packed = path.with_name(path.name + SUFFIX)
        if path.suffix == SUFFIX or not packed.exists():
            raise
        return packed_plain_size(packed)


def read_file_header(data: bytes) -> tuple[bytes, int]:
    """(stream, first sequence). Raises ValueError when the bytes are not a segment's."""
    if len(data) < FILE_HEADER_SIZE or not data.startswith(MAGIC):
        raise ValueError("not an audit segment")
    return data[8:24], int.from_bytes(data[24:32], "little")


def read_entries(data: bytes, base: int = 0, start: int = 0) -> Iterator[Entry]:
    """Split `data` into entries from `start`; stops before one that is not whole.

    `base` is the file offset of `data[0]`. Where it stopped is the end of the last entry.
    """
    position, size = start, len(data)
    while size - position >= ENTRY_OVERHEAD:
        head = data[position : position + HEAD.size]
        sequence, length, kind, ring_id, ring_sequence = HEAD.unpack(head)
        body = position + ENTRY_OVERHEAD
        if length > size - body:
            return
        leaf = data[position + HEAD.size : body]
        payload = data[body : body + length]
        yield Entry(base + position, sequence, kind, ring_id, ring_sequence, head, leaf, payload)
        position = body + length


def read_opening(path: Path) -> dict[str, Any]:
    """What a segment's first entry says, unchecked. Raises OSError, ValueError."""
    head = read_segment(path, FILE_HEADER_SIZE, FILE_HEADER_SIZE + HEAD.size)
    if len(head) < HEAD.size or HEAD.unpack(head)[2] != EntryKind.OPEN:
        raise ValueError("the segment has no opening entry")
    start = FILE_HEADER_SIZE + ENTRY_OVERHEAD
    fields = orjson.loads(read_segment(path, start, start + HEAD.unpack(head)[1]))
    if not isinstance(fields, dict):
        raise ValueError("the opening entry is not an object")
    return fields


@dataclass(slots=True, kw_only=True)
class ChainEnd:
    """Everything needed to append the next entry."""

    stream: bytes
    sequence_next: int = 1
    leaf: bytes = ZERO_HASH
    root: str = ""  # of the last closed segment
    rings: dict[int, int] = field(default_factory=dict)  # ring id -> next ring sequence
    opened: OpenStatements = field(default_factory=OpenStatements)


class SegmentWriter:
    """Appends entries to the newest segment. One instance per data directory."""

    def __init__(self, directory: Path, end: ChainEnd) -> None:
        """Continue at `end`; call `resume` or `open_new` before the first append."""
        self.directory = directory
        self.end = end
        self.path = directory
        self.size = 0
        self._synced_size = 0
        self.opened_us = 0
        self.first_sequence = 0
        self.is_closed = False  # has its root; only a new segment may follow
        self._trail = Trail(end.stream, end.sequence_next, end.leaf)
        self._fd = -1

    def resume(self, path: Path, size: int, leaves: list[bytes], opened_us: int) -> None:
        """Go on in an existing file whose entries have `leaves` and end at `size`."""
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self.path, self.size, self.opened_us = path, size, opened_us
        self._synced_size = size
        self.first_sequence = segment_number(path)
        self._trail = Trail(self.end.stream, self.end.sequence_next, self.end.leaf)
        self._trail.add_leaves(leaves)

    def open_new(self, checkpoint_number: int) -> None:
        """Start the next segment; it appears under its name only with its first entry in it."""
        end, now = self.end, now_us()
        first = end.sequence_next
        opening = {
            "v": 1,
            "kind": "audit.segment_open",
            "time": now,
            "stream": end.stream.hex(),
            "first_sequence": first,
            "previous_leaf": end.leaf.hex(),
            "previous_root": end.root,
            "checkpoint": checkpoint_number,
            "rings": {str(ring): following for ring, following in end.rings.items()},
            "open": [
                [session.decode("utf-8", "replace"), number, str(ring), sequence]
                for session, number, ring, sequence in end.opened.items()
            ],
        }
        payload = orjson.dumps(opening)
        head = HEAD.pack(first, len(payload), EntryKind.OPEN, 0, 0)
        leaf = leaf_hash(end.stream, first, end.leaf, head, payload)
        header = MAGIC + end.stream + first.to_bytes(8, "little")
        content = header + head + leaf + payload
        path = segment_path(self.directory, first)
        temporary = path.with_suffix(".new")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, content)
            os.fsync(fd)
        except OSError:
            os.close(fd)
            temporary.unlink(missing_ok=True)
            raise
        os.close(fd)
        temporary.rename(path)
        sync_directory(self.directory)
        self.close_file()
        self.is_closed = False
        end.sequence_next, end.leaf = first + 1, leaf
        self.resume(path, len(content), [leaf], now)

    def append_run(self, reader: JournalReader, scanner: TermScanner) -> list[int]:
        """Chain and write the records of the reader's run; which of them are no JSON object.

        Raises OSError with nothing of the run in the file. `sync` makes them durable.
        """
        content, malformed = self._trail.stage_run(reader, scanner, self.end.opened)
        self._write(content)
        self.end.rings[reader.ring_id] = reader.run_last + 1
        return malformed

    def append_lost(self, payload: bytes, ring_id: int, ring_sequence: int) -> None:
        """Append an entry that stands for lost records of a ring. Raises OSError."""
        self._write(self._trail.stage_lost(payload, ring_id, ring_sequence))
        self.end.rings[ring_id] = ring_sequence + 1

    def append_own(self, payload: bytes, kind: EntryKind = EntryKind.RECORD) -> None:
        """Append an entry of the writer's own. Raises OSError."""
        self._write(self._trail.stage(payload, kind))

    def append_close(self) -> str:
        """Append the entry with the Merkle root over all before it; the root in hex."""
        root = self._trail.root().hex()
        closing = {
            "v": 1,
            "kind": "audit.segment_close",
            "time": now_us(),
            "entries": self._trail.count,
            "root": root,
        }
        self.append_own(orjson.dumps(closing), EntryKind.CLOSE)
        self.end.root = root
        self.is_closed = True
        return root

    def _write(self, content: memoryview) -> None:
        """Write what the trail has staged, and only then go on behind it."""
        try:
            _write_all(self._fd, content)
        except OSError:
            # Part of it may be in the file: the next append must start at a whole entry.
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(content)
        self._trail.accept()
        self.end.sequence_next, self.end.leaf = self._trail.sequence_next, self._trail.leaf

    def sync(self) -> None:
        """Return once everything appended is on the disk.

        Raises OSError, and then takes back what was not: after a failed flush the kernel may
        hold pages for clean that never reached the disk, and a second flush would lie. The
        caller must recover the trail before it appends again; the rings still have it all.
        """
        try:
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._synced_size)
            raise
        self._synced_size = self.size

    def close_file(self) -> None:
        """Close the descriptor. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write_all(fd: int, content: bytes | memoryview) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def check_leaf(stream: bytes, previous: bytes, entry: Entry) -> bool:
    """Whether an entry's stored leaf is what its bytes and its predecessor make."""
    return len(entry.leaf) == HASH_SIZE and entry.leaf == leaf_hash(
        stream, entry.sequence, previous, entry.head, entry.payload
    )
