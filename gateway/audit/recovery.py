"""Find where the trail ends after any kind of stop, and say what a crash or a hand did to it.

The rule: what a signed checkpoint covers is never cut off, whatever it looks like; it is left
for `postern audit verify` to name. Behind the last checkpoint a torn tail is cut back to the
last whole entry, because the rings still hold what followed.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from _fastpath.openset import OpenStatements
from _fastpath.terms import TermScanner
from gateway.audit.chain import ENTRY_OVERHEAD, HEAD, EntryKind
from gateway.audit.segments import (
    FILE_HEADER_SIZE,
    ChainEnd,
    Entry,
    SegmentWriter,
    check_leaf,
    list_segments,
    read_entries,
    read_file_header,
    read_segment,
    segment_number,
    segment_path,
)
from gateway.audit.signing import Checkpoint, is_signed_by, line_digest, parse_line, read_lines


@dataclass(slots=True, kw_only=True)
class CheckpointEnd:
    """Where the checkpoint file ends."""

    last: Checkpoint | None = None
    digest: str = ""  # of the last line
    number_next: int = 1


@dataclass(slots=True)
class _Walk:
    """What one segment file holds, up to the first entry that is not sound."""

    stream: bytes = b""
    end: int = 0
    leaf: bytes = b""
    sequence: int = 0
    opened_us: int = 0
    root: str = ""
    is_closed: bool = False
    leaves: list[bytes] = field(default_factory=list)
    rings: dict[int, int] = field(default_factory=dict)
    opened: OpenStatements = field(default_factory=OpenStatements)
    scanner: TermScanner = field(default_factory=lambda: TermScanner(()))

    def note(self, entry: Entry) -> None:
        """Take in what an entry says about its ring and its statement."""
        if entry.ring_id:
            following = max(self.rings.get(entry.ring_id, 0), entry.ring_sequence + 1)
            self.rings[entry.ring_id] = following
        if self.scanner.scan_one(entry.payload):
            self.opened.note(self.scanner, entry.ring_id, entry.ring_sequence)


def recover(
    directory: Path, public: Ed25519PublicKey
) -> tuple[SegmentWriter, CheckpointEnd, list[dict[str, Any]]]:
    """Open the trail in `directory` (`.../audit`) for appending; `public` is our own key.

    Returns the writer positioned at the end, the checkpoint file's end and the events to
    record about what was found. Raises OSError.
    """
    segments = directory / "segments"
    events: list[dict[str, Any]] = []
    checkpoints = _recover_checkpoints(directory / "checkpoints.log", public, events)
    for leftover in segments.glob("*.new"):
        leftover.unlink(missing_ok=True)
    paths = list_segments(segments)
    if not paths:
        end = _end_without_segments(checkpoints, events)
        writer = SegmentWriter(segments, end)
        writer.open_new(checkpoints.number_next - 1)
        return writer, checkpoints, events
    path = paths[-1]
    try:
        data = read_segment(path)
        walk = _walk(data)
    except (ValueError, KeyError, TypeError, AttributeError):
        # Not a segment any more. It stays as evidence; the checkpoints say what is missing.
        damaged = segment_path(segments, segment_number(path)).with_suffix(".damaged")
        path.rename(damaged)
        writer, checkpoints, more = recover(directory, public)
        event = {"kind": "security.audit_damaged", "file": damaged.name}
        return writer, checkpoints, [event, *more]
    signed = checkpoints.last.sequence if checkpoints.last else 0
    is_resumable = not walk.is_closed
    if walk.end < len(data):
        if walk.sequence >= signed and path.suffix == ".seg":
            _cut_tail(path, data, walk, events)
        else:
            _skip_damage(path, data, walk, events)
            is_resumable = False
    if walk.sequence < signed and checkpoints.last:
        _skip_missing(walk, checkpoints.last, events)
        is_resumable = False
    end = ChainEnd(
        stream=walk.stream,
        sequence_next=walk.sequence + 1,
        leaf=walk.leaf,
        root=walk.root,
        rings=walk.rings,
        opened=walk.opened,
    )
    writer = SegmentWriter(segments, end)
    if is_resumable:
        writer.resume(path, walk.end, walk.leaves, walk.opened_us)
    else:
        writer.open_new(checkpoints.number_next - 1)
    return writer, checkpoints, events


def _walk(data: bytes) -> _Walk:
    """Follow the chain from the start of a segment. Raises ValueError without a sound opening."""
    walk = _Walk()
    walk.stream, first = read_file_header(data)
    entries = read_entries(data, start=FILE_HEADER_SIZE)
    opening = next(entries, None)
    if opening is None or opening.kind != EntryKind.OPEN or opening.sequence != first:
        raise ValueError("the newest audit segment has no opening entry")
    fields = orjson.loads(opening.payload)
    previous = bytes.fromhex(fields["previous_leaf"])
    if not check_leaf(walk.stream, previous, opening):
        raise ValueError("the opening entry of the newest audit segment was changed")
    walk.opened_us = fields["time"]
    walk.rings = {int(ring): following for ring, following in fields["rings"].items()}
    for session, number, ring, sequence in fields.get("open", []):
        walk.opened.put(session.encode(), number, int(ring), sequence)
    _accept(walk, opening)
    for entry in entries:
        if entry.sequence != walk.sequence + 1 or not check_leaf(walk.stream, walk.leaf, entry):
            break
        _accept(walk, entry)
    return walk


def _accept(walk: _Walk, entry: Entry) -> None:
    walk.end, walk.leaf, walk.sequence = entry.end, entry.leaf, entry.sequence
    walk.leaves.append(entry.leaf)
    walk.note(entry)
    if entry.kind == EntryKind.CLOSE:
        walk.is_closed = True
        walk.root = orjson.loads(entry.payload)["root"]


def _cut_tail(path: Path, data: bytes, walk: _Walk, events: list[dict[str, Any]]) -> None:
    """Cut what follows the last sound entry; keep a copy unless it is a write cut short."""
    tail = data[walk.end :]
    is_whole_entry = (
        len(tail) >= ENTRY_OVERHEAD
        and len(tail) - ENTRY_OVERHEAD >= HEAD.unpack(tail[: HEAD.size])[1]
    )
    event = {
        "kind": "process.audit_recovered",
        "file": path.name,
        "offset": walk.end,
        "bytes": len(tail),
        "sequence": walk.sequence,
    }
    if is_whole_entry and tail.strip(b"\0"):
        copy = path.with_name(f"{path.stem}.torn-{walk.end}")
        copy.write_bytes(tail)
        event |= {
            "kind": "security.audit_torn",
            "sha256": sha256(tail).hexdigest(),
            "copy": copy.name,
        }
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(fd, walk.end)
        os.fsync(fd)
    finally:
        os.close(fd)
    events.append(event)


def _skip_damage(path: Path, data: bytes, walk: _Walk, events: list[dict[str, Any]]) -> None:
    """Leave changed entries where they are and continue behind them.

    Structure alone (lengths, sequences) leads to the last entry; its stored leaf is what the
    next segment continues, so that a verifier sees one place of damage and not two.
    """
    sound = walk.sequence
    for entry in read_entries(data, start=walk.end):
        if entry.sequence != walk.sequence + 1:
            break
        _accept_damaged(walk, entry)
    events.append(
        {
            "kind": "security.audit_damaged",
            "file": path.name,
            "first_sequence": sound + 1,
            "last_sequence": walk.sequence,
        }
    )


def _accept_damaged(walk: _Walk, entry: Entry) -> None:
    walk.leaf, walk.sequence = entry.leaf, entry.sequence
    walk.note(entry)


def _skip_missing(walk: _Walk, last: Checkpoint, events: list[dict[str, Any]]) -> None:
    """Continue behind what a checkpoint signed: using its numbers again would be a fork."""
    events.append(
        {
            "kind": "security.audit_truncated",
            "first_sequence": walk.sequence + 1,
            "last_sequence": last.sequence,
        }
    )
    walk.sequence, walk.leaf = last.sequence, bytes.fromhex(last.leaf)


def _end_without_segments(checkpoints: CheckpointEnd, events: list[dict[str, Any]]) -> ChainEnd:
    last = checkpoints.last
    if last is None:
        return ChainEnd(stream=secrets.token_bytes(16))
    events.append(
        {
            "kind": "security.audit_truncated",
            "first_sequence": 1,
            "last_sequence": last.sequence,
        }
    )
    return ChainEnd(
        stream=bytes.fromhex(last.stream),
        sequence_next=last.sequence + 1,
        leaf=bytes.fromhex(last.leaf),
    )


def _own_checkpoint(line: bytes, public: Ed25519PublicKey) -> Checkpoint:
    checkpoint, body, signature = parse_line(line)
    if not is_signed_by(public, body, signature):
        raise ValueError("not signed by us")
    return checkpoint


def _recover_checkpoints(
    path: Path, public: Ed25519PublicKey, events: list[dict[str, Any]]
) -> CheckpointEnd:
    """Cut a torn last line and find the newest checkpoint that we signed."""
    lines = read_lines(path)
    whole = sum(map(len, lines))
    if path.exists() and path.stat().st_size > whole:
        os.truncate(path, whole)
    end = CheckpointEnd(digest=line_digest(lines[-1]) if lines else "")
    for line in reversed(lines):
        try:
            end.last = _own_checkpoint(line, public)
        except ValueError:
            events.append({"kind": "security.audit_damaged", "file": path.name})
            continue
        break
    end.number_next = max(end.last.number + 1 if end.last else 1, len(lines) + 1)
    return end
