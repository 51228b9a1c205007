"""Prove the trail offline, and name what is wrong with it: file, sequence, and in what way.

Nothing is trusted but the public keys: lengths, sequences, hashes, roots and checkpoints are
all recomputed. Where one entry is wrong, the stored hashes of its neighbours keep the damage
from spreading, so that the entry itself is named and not everything behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from _fastpath.openset import OpenStatements
from _fastpath.terms import TermScanner
from gateway.audit.chain import ENTRY_OVERHEAD, HEAD, ZERO_HASH, EntryKind, MerkleTree, leaf_hash
from gateway.audit.findings import Verification
from gateway.audit.packing import SUFFIX, read_packed
from gateway.audit.retention import read_purged
from gateway.audit.segments import (
    FILE_HEADER_SIZE,
    Entry,
    list_segments,
    read_entries,
    read_file_header,
    read_segment,
    segment_number,
)
from gateway.audit.signing import (
    Checkpoint,
    is_signed_by,
    key_id,
    line_digest,
    load_public_key,
    parse_line,
    read_lines,
)

__all__ = ["Verification", "verify"]
_RESYNC_SPAN: Final = 64  # sequences to look for behind an entry whose length makes no sense
_KNOWN_LOSS: Final = (b'"kind":"security.journal_damaged"', b'"kind":"security.journal_missing"')


def verify(
    data_dir: Path,
    *,
    keys: Iterable[Path] = (),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Verification:
    """Check everything under `data_dir`; `keys` are the trusted public keys (PEM files).

    Without `keys` the exported key beside the trail is trusted, which proves nothing against
    somebody who could replace it too. Raises OSError, ValueError for keys that cannot be read.
    """
    directory = data_dir / "audit"
    paths = list(keys) or [directory / "signing.pub"]
    trusted = {key_id(key): key for key in map(load_public_key, paths)}
    result = Verification()
    # Before the segments: what a living writer appends meanwhile is then not yet signed.
    signed = _verify_checkpoints(directory / "checkpoints.log", trusted, result)
    log = directory / "checkpoints.log"
    walk = _TrailWalk(result, signed, lambda: len(read_lines(log)))
    walk.purged, wrong = read_purged(directory, trusted)
    for text in wrong:
        result.add("signature", "purged.log", 0, text)
    segments = list_segments(directory / "segments")
    sizes = {path: _disk_size(path) for path in segments}
    total, done = sum(sizes.values()), 0
    for path in segments:
        data = _read(path, result)
        walk.segment(path, data, is_last=path == segments[-1])
        done += sizes[path]
        progress(done, total)
    walk.finish()
    for path in sorted((directory / "segments").glob("*.torn-*")):
        result.notes.append(f"{path.name}: unsigned bytes that a start after a crash set aside")
    return result


def _disk_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # packed at this moment
        return 0


def _read(path: Path, result: Verification) -> bytes:
    """The plain bytes of a segment; a packed one is checked to its last byte first."""
    first = segment_number(path)
    try:
        if path.suffix == SUFFIX:
            return read_packed(path, check=True)
        return read_segment(path)
    except ValueError as error:
        result.add("edited", path.name, first, f"cannot be unpacked: {error}")
    try:
        return read_packed(path)
    except ValueError:
        return b""


def _verify_checkpoints(
    path: Path, trusted: dict[str, Ed25519PublicKey], result: Verification
) -> dict[int, Checkpoint]:
    signed: dict[int, Checkpoint] = {}
    previous_digest, last = "", None
    for number, line in enumerate(read_lines(path), 1):
        result.checkpoints += 1
        try:
            checkpoint, body, signature = parse_line(line)
        except ValueError as error:
            result.add("edited", path.name, 0, f"checkpoint {number} cannot be read: {error}")
            previous_digest = line_digest(line)
            continue
        key = trusted.get(checkpoint.key)
        is_believed = key is not None and is_signed_by(key, body, signature)
        if key is None:
            text = f"checkpoint {number} is signed with unknown key {checkpoint.key}"
            result.add("key", path.name, checkpoint.sequence, text)
        elif not is_believed:
            text = f"checkpoint {number} was changed: its signature does not hold"
            result.add("signature", path.name, checkpoint.sequence, text)
        if checkpoint.previous != previous_digest or checkpoint.number != number:
            text = (
                f"line {number} is checkpoint {checkpoint.number} and does not follow the line"
                " before it: a checkpoint was removed, moved or changed"
            )
            result.add("gap", path.name, checkpoint.sequence, text)
        if last and (checkpoint.sequence <= last.sequence or checkpoint.stream != last.stream):
            text = f"checkpoint {number} does not go on from {last.number}: two histories"
            result.add("fork", path.name, checkpoint.sequence, text)
        previous_digest, last = line_digest(line), checkpoint
        if is_believed:
            signed[checkpoint.sequence] = checkpoint
            result.signed_to = max(result.signed_to, checkpoint.sequence)
            result.stream = result.stream or checkpoint.stream
    return signed


class _TrailWalk:
    """State carried from entry to entry and from segment to segment."""

    def __init__(
        self,
        result: Verification,
        signed: dict[int, Checkpoint],
        count_checkpoints: Callable[[], int],
    ) -> None:
        self.count_checkpoints = count_checkpoints
        self.result = result
        self.signed = signed
        self.stream = bytes.fromhex(result.stream) if result.stream else b""
        self.sequence = 0
        self.leaf = ZERO_HASH
        self.computed = ZERO_HASH  # of the last entry, where its stored leaf is wrong
        self.rings: dict[int, int] | None = None
        self.seen_signed: set[int] = set()
        self.purged: dict[int, dict[str, Any]] = {}  # by first sequence
        self.opened = OpenStatements()
        self.scanner = TermScanner(())
        self.file, self.first_named = "", 0

    def segment(self, path: Path, data: bytes, *, is_last: bool) -> None:
        """Check one file as the continuation of those before."""
        self.file, self.first_named = path.name, segment_number(path)
        result = self.result
        result.segments += 1
        try:
            stream, first = read_file_header(data)
        except ValueError:
            result.add("edited", self.file, self.first_named, "the file header is not a segment's")
            stream, first = self.stream, self.first_named
        if not self.stream:
            self.stream = stream
            result.stream = stream.hex()
        if stream != self.stream:
            result.add("fork", self.file, first, "belongs to another stream")
        if first != self.first_named:
            text = f"the file is named {self.first_named} and begins at {first}"
            result.add("edited", self.file, first, text)
        self._step_over_purged(self.first_named)
        if self.first_named > self.sequence + 1:
            text = f"sequences {self.sequence + 1} to {self.first_named - 1} are missing"
            result.add("gap", self.file, self.sequence + 1, text)
            self.sequence, self.leaf = self.first_named - 1, b""
        elif self.first_named <= self.sequence:
            text = f"begins at {self.first_named}, but {self.sequence} was already reached"
            result.add("fork", self.file, self.first_named, text)
        entries, torn = self._split(data)
        if torn and is_last and self.sequence + len(entries) >= result.signed_to:
            result.notes.append(f"{self.file}: {torn} bytes of an unfinished entry at the end")
        elif torn:
            text = f"{torn} bytes at the end are not a whole entry"
            result.add("truncated", self.file, self.sequence + len(entries), text)
        self._entries(entries, is_last=is_last)

    def _step_over_purged(self, first: int) -> None:
        """Go on behind segments that were deleted with a signed proof of where they ended."""
        while self.sequence + 1 < first and self.sequence + 1 in self.purged:
            proof = self.purged[self.sequence + 1]
            if proof["last_sequence"] <= self.sequence:
                return
            self.sequence = proof["last_sequence"]
            self.leaf = self.computed = bytes.fromhex(proof["leaf"])
            self.rings = None  # the next opening says what the deleted ones reached
            self.result.purged += 1
            checkpoint = self.signed.get(self.sequence)
            if checkpoint is not None:
                self.seen_signed.add(self.sequence)
                if checkpoint.leaf != proof["leaf"]:
                    text = f"{proof['file']} was purged with another end than was signed"
                    self.result.add("fork", "purged.log", self.sequence, text)

    def _split(self, data: bytes) -> tuple[list[Entry], int]:
        """All entries of a file by structure, and how many bytes are left at its end."""
        entries: list[Entry] = []
        position = min(FILE_HEADER_SIZE, len(data))
        while True:
            for entry in read_entries(data, start=position):
                if entry.kind not in (1, 2, 3):
                    break
                entries.append(entry)
                position = entry.end
            left = len(data) - position
            following = self._resynchronise(data, position, entries) if left else 0
            if not following:
                return entries, left
            text = f"the entry at offset {position} has an impossible length or kind"
            expected = (entries[-1].sequence if entries else self.sequence) + 1
            self.result.add("edited", self.file, expected, text)
            position = following

    def _resynchronise(self, data: bytes, position: int, entries: list[Entry]) -> int:
        """The offset of the next entry behind one that makes no sense; 0 when there is none."""
        expected = (entries[-1].sequence if entries else self.sequence) + 1
        for sequence in range(expected + 1, expected + _RESYNC_SPAN):
            at = data.find(sequence.to_bytes(8, "little"), position + 1)
            while at >= 0:
                if len(data) - at >= ENTRY_OVERHEAD:
                    _, length, kind, _, _ = HEAD.unpack(data[at : at + HEAD.size])
                    if kind in (1, 2, 3) and length <= len(data) - at - ENTRY_OVERHEAD:
                        return at
                at = data.find(sequence.to_bytes(8, "little"), at + 1)
        return 0

    def _entries(self, entries: list[Entry], *, is_last: bool) -> None:
        result, tree = self.result, MerkleTree()
        leaves = {entry.sequence: entry.leaf for entry in entries}
        is_closed = False
        if not entries or entries[0].kind != EntryKind.OPEN:
            text = "the segment does not begin with its opening entry"
            result.add("truncated", self.file, self.sequence + 1, text)
        for position, entry in enumerate(entries):
            following = entries[position + 1] if position + 1 < len(entries) else None
            if self._entry(entry, following, leaves):
                try:
                    if entry.kind == EntryKind.OPEN:
                        self._opening(entry)
                    elif entry.kind == EntryKind.CLOSE:
                        is_closed = True
                        self._closing(entry, tree)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    text = f"the entry does not say what it must: {error}"
                    result.add("edited", self.file, entry.sequence, text)
            tree.add_all([entry.leaf])
            if is_closed and following is not None:
                text = "entries follow the closing entry of the segment"
                result.add("fork", self.file, following.sequence, text)
        if not is_closed and not is_last:
            text = "the segment has no closing entry, but another one follows it"
            result.add("truncated", self.file, self.sequence, text)

    def _entry(self, entry: Entry, following: Entry | None, leaves: dict[int, bytes]) -> bool:
        """Judge one entry; True when it is what it should be."""
        result, expected = self.result, self.sequence + 1
        result.entries += 1
        if entry.kind == EntryKind.RECORD and self.scanner.scan_one(entry.payload):
            self.opened.note(self.scanner, 1, entry.sequence)
        if entry.sequence == expected:
            return self._in_order(entry)
        before = leaves.get(entry.sequence - 1)
        is_own = before is not None and self._hash(entry, before) == entry.leaf
        if entry.sequence < expected:
            if is_own:
                text = f"entry {entry.sequence} stands behind entry {self.sequence}"
                result.add("reordered", self.file, entry.sequence, text)
            else:
                self._edited(entry, expected)
            return False
        goes_on = following is not None and following.sequence == entry.sequence + 1
        if not is_own and not goes_on and expected in leaves:
            self._edited(entry, expected)
            return False
        if not is_own and following is not None and following.sequence == expected + 1:
            self._edited(entry, expected)
            return False
        skipped = range(expected, min(entry.sequence, expected + 10_000))
        missing = [number for number in skipped if number not in leaves]
        if missing:
            text = f"sequences {missing[0]} to {entry.sequence - 1} are missing"
            result.add("gap", self.file, missing[0], text)
        else:
            text = f"entry {entry.sequence} stands where {expected} should"
            result.add("reordered", self.file, entry.sequence, text)
        self._advance(entry, self._hash(entry, before) if before else entry.leaf)
        return False

    def _in_order(self, entry: Entry) -> bool:
        computed = self._hash(entry, self.leaf) if self.leaf else entry.leaf
        if computed != entry.leaf and self.computed != self.leaf:
            computed = self._hash(entry, self.computed)
        is_sound = computed == entry.leaf
        if not is_sound:
            text = f"the entry at offset {entry.offset} was changed, or the one before replaced"
            self.result.add("edited", self.file, entry.sequence, text)
        self._advance(entry, computed)
        if is_sound and entry.ring_id:
            self._ring(entry)
        return is_sound

    def _edited(self, entry: Entry, expected: int) -> None:
        text = f"the entry at offset {entry.offset} says it is {entry.sequence}"
        self.result.add("edited", self.file, expected, text)
        self._advance(entry._replace(sequence=expected), entry.leaf)

    def _hash(self, entry: Entry, previous: bytes) -> bytes:
        return leaf_hash(self.stream, entry.sequence, previous, entry.head, entry.payload)

    def _advance(self, entry: Entry, computed: bytes) -> None:
        self.sequence, self.leaf, self.computed = entry.sequence, entry.leaf, computed
        checkpoint = self.signed.get(entry.sequence)
        if checkpoint is not None:
            self.seen_signed.add(entry.sequence)
            if checkpoint.leaf != entry.leaf.hex():
                text = f"checkpoint {checkpoint.number} signed another history up to here"
                self.result.add("fork", self.file, entry.sequence, text)

    def _ring(self, entry: Entry) -> None:
        """Nothing may be lost or doubled between the rings and the trail either."""
        rings = self.rings if self.rings is not None else {}
        expected = rings.get(entry.ring_id, 1)
        if entry.ring_sequence != expected and not (
            entry.ring_sequence > expected and any(k in entry.payload[:120] for k in _KNOWN_LOSS)
        ):
            what = "gap" if entry.ring_sequence > expected else "duplicate"
            text = f"record {entry.ring_sequence} of ring {entry.ring_id:x} where {expected} is due"
            self.result.add(what, self.file, entry.sequence, text)
        rings[entry.ring_id] = entry.ring_sequence + 1
        self.rings = rings

    def _opening(self, entry: Entry) -> None:
        fields = orjson.loads(entry.payload)
        if self.rings is None:
            self.rings = {int(ring): due for ring, due in fields["rings"].items()}
            for session, number, _, _ in fields.get("open", []):
                self.opened.put(session.encode(), number, 1, entry.sequence)
        # Counted anew: a living writer may have signed and rotated since they were read.
        if fields["checkpoint"] > max(self.result.checkpoints, self.count_checkpoints()):
            text = (
                f"checkpoint {fields['checkpoint']} existed when this segment began;"
                f" only {self.result.checkpoints} are left"
            )
            self.result.add("truncated", "checkpoints.log", entry.sequence, text)

    def _closing(self, entry: Entry, tree: MerkleTree) -> None:
        fields = orjson.loads(entry.payload)
        if fields["root"] != tree.root().hex() or fields["entries"] != tree.count:
            text = "the Merkle root is not that of the entries before it"
            self.result.add("edited", self.file, entry.sequence, text)

    def finish(self) -> None:
        """Compare the end of the trail with what was signed."""
        result = self.result
        result.last_sequence = self.sequence
        result.open = [
            (session.decode("utf-8", "replace"), number)
            for session, number, _, _ in self.opened.items()
        ]
        lost = [number for number in self.signed if number not in self.seen_signed]
        beyond = [number for number in lost if number > self.sequence]
        if beyond:
            text = (
                f"checkpoint {self.signed[max(beyond)].number} signed sequence {max(beyond)},"
                f" but the trail ends at {self.sequence}: it was cut"
            )
            result.add("truncated", self.file or "segments", self.sequence + 1, text)
        if self.sequence > result.signed_to:
            result.notes.append(
                f"{self.sequence - result.signed_to} entries behind the last checkpoint"
            )
