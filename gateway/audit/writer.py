"""Drain the rings of all processes into the chained, signed trail: exactly once, in batches.

Order of safety: chain and write, flush to disk, only then give the ring space back. A kill at
any point leaves records in the ring, in the segment or in both, and recovery skips what the
segment already has. When the disk cannot take more, nothing is drained: the rings fill, and
whoever produces refuses what it cannot record.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _fastpath.journal import JournalReader, RingDamaged
from _fastpath.terms import TermScanner
from gateway import metrics
from gateway.audit.ballast import Ballast
from gateway.audit.disk import DiskWatch, disk_share
from gateway.audit.index import AuditIndex, index_path
from gateway.audit.packer import Packer
from gateway.audit.records import build_record
from gateway.audit.recovery import recover
from gateway.audit.settings import WriterSettings
from gateway.audit.signing import (
    Checkpoint,
    append_line,
    key_id,
    line_digest,
    load_or_make_key,
    sign_line,
)
from gateway.audit.wake import WriterWaits
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.logs import get_logger

__all__ = ["AuditWriter", "WriterSettings"]
_LOG = get_logger("audit")
_RINGS_LOOK_S = 0.25  # how often new ring files are looked for
_DISK_LOOK_S = 1.0
_RETRY_S = 0.5  # after a write error
_IDLE_S = 0.008  # with the flush, no record is older than 10 ms before it is on the disk
_INDEX_COMMIT_S = 1.0
_CLOSE_S_MAX = 5.0  # producers that do not stop must not keep the writer from stopping
_RECORDS = metrics.AUDIT_RECORDS.slot()
_LAG = metrics.JOURNAL_LAG.slot()


class AuditWriter:
    """The one consumer of all rings of a data directory."""

    def __init__(
        self,
        data_dir: Path,
        settings: WriterSettings | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        measure_disk: Callable[[Path], float] = disk_share,
    ) -> None:
        self._data_dir = data_dir
        self._directory = data_dir / "audit"
        self._settings = settings or WriterSettings()
        self._clock = clock
        self._disk = DiskWatch(
            self._directory,
            warn_share=self._settings.disk_warn_share,
            refuse_share=self._settings.disk_refuse_share,
            measure=measure_disk,
        )
        self._ballast = Ballast(self._directory)
        self._readers: dict[str, JournalReader] = {}
        self._read: list[JournalReader] = []  # read from since the last flush
        self._lives: dict[int, int] = {}  # ring id -> first sequence of its present producer
        self._is_dirty = False
        self._must_reopen = False
        self._rings_due = self._disk_due = self._index_due = self._retry_due = 0.0
        self._waits = WriterWaits(data_dir, is_group=self._settings.is_group)
        self._lock_fd = -1

    def open(self, heartbeat: Callable[[], None] = lambda: None) -> None:
        """Recover the trail and make it ready. Raises OSError, BlockingIOError if one runs."""
        self._data_dir.joinpath("journal").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.joinpath("segments").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = os.open(
            self._directory / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._key = load_or_make_key(self._directory)
        self._open_trail(heartbeat)

    def _open_trail(self, heartbeat: Callable[[], None]) -> None:
        self._segments, self._checkpoints, events = recover(self._directory, self._key.public_key())
        self._index = AuditIndex(index_path(self._data_dir))
        self._index.catch_up(self._segments.directory, heartbeat)
        self._packer = Packer(self._segments.directory, is_on=self._settings.pack)
        self._packer.start()
        now = self._clock.monotonic()
        self._synced_at = self._checkpointed_at = self._segment_since = now
        for event in events:
            _LOG.warning("audit recovery: %s", event)
            self._append_own(**event)
        self._flush()

    @property
    def sequence_next(self) -> int:
        """The sequence that the next entry gets."""
        return self._segments.end.sequence_next

    def run(
        self, should_stop: Callable[[], bool], heartbeat: Callable[[], None] = lambda: None
    ) -> None:
        """Drain until `should_stop`, then drain once more, checkpoint and close."""
        self.open(heartbeat)
        try:
            while not should_stop():
                heartbeat()
                began = self._clock.monotonic()
                moved = self.run_once()
                self._waits.moved(moved)
                if not moved:
                    self._waits.pause(_IDLE_S, self._lag_bytes)
                elif not self._is_behind():
                    # One flush for all that came meanwhile: what a pass costs is per pass. What
                    # comes now waits for the pause, the next pass and its flush.
                    took = self._clock.monotonic() - began
                    self._waits.pause(self._settings.sync_s - 2 * took, self._lag_bytes)
        finally:
            self.close()

    def _lag_bytes(self) -> int:
        return sum(reader.lag_bytes() for reader in self._readers.values())

    def _is_behind(self) -> bool:
        limit = self._settings.batch_bytes_max
        return any(reader.lag_bytes() >= limit for reader in self._readers.values())

    def run_once(self) -> int:
        """One pass over all rings; how many records went into the trail."""
        now = self._clock.monotonic()
        if now < self._retry_due:
            return 0
        try:
            return self._pass(now)
        except OSError as error:
            # Full or broken disk: keep everything in the rings and try again.
            _LOG.error("the audit trail cannot be written: %s", error)
            self._retry_due = now if self._ballast.drop(error) else now + _RETRY_S
            self._rewind()
            return 0

    def _pass(self, now: float) -> int:
        if self._must_reopen:
            self._reopen()
        if now >= self._rings_due:
            self._rings_due = now + _RINGS_LOOK_S
            self._find_rings()
        if now >= self._disk_due:
            self._disk_due = now + _DISK_LOOK_S
            for kind, share in self._disk.look():
                self._append_own(kind=kind, share=round(share, 4))
            if self._disk.has_room:
                self._ballast.hold()
        if self._segments.is_closed:  # the disk was full in the middle of a rotation
            self._rotate()
        count = 0
        if not self._disk.is_paused:
            for reader in list(self._readers.values()):
                count += self._drain(reader)
                if reader.life_first() != self._lives.get(reader.ring_id):
                    self._close_lives(reader)
        is_due = now - self._synced_at >= self._settings.sync_s
        if self._is_dirty and (is_due or not self._is_behind()):
            self._flush()
        self._do_periodic(now)
        if count:
            metrics.inc(_RECORDS, count)
        return count

    def _reopen(self) -> None:
        """Recover after a flush that failed: what it took back is read from the rings again."""
        self._segments.close_file()
        self._index.close()
        self._packer.stop()
        self._readers.clear()
        self._read.clear()
        self._open_trail(lambda: None)
        self._must_reopen = False
        self._rings_due = 0.0

    def _find_rings(self) -> None:
        for path in self._data_dir.joinpath("journal").glob("*.ring"):
            known = self._readers.get(path.name)
            if known is not None and (known.is_at_path() or known.lag_bytes()):
                continue
            try:
                reader = JournalReader(str(path))
            except FileNotFoundError:
                continue
            except RingDamaged as error:
                aside = path.with_suffix(f".unreadable-{self.sequence_next}")
                path.rename(aside)
                _LOG.error("%s; set aside as %s", error, aside.name)
                self._append_own(
                    kind="security.journal_unreadable", ring=path.name, copy=aside.name
                )
                continue
            reader.resume(self._segments.end.rings.get(reader.ring_id, 0))
            self._readers[path.name] = reader

    def _drain(self, reader: JournalReader) -> int:
        """Move one run of `reader` into the segment. Raises OSError with nothing moved."""
        try:
            count = reader.scan(self._settings.batch_bytes_max)
            damage = reader.take_damage()
            if count:
                self._append_run(reader)
        except RingDamaged as error:
            _LOG.error("%s", error)
            path = Path(reader.path)
            del self._readers[path.name]
            path.rename(path.with_suffix(f".unreadable-{self.sequence_next}"))
            self._append_own(kind="security.journal_unreadable", ring=path.name)
            return 0
        if damage is not None:
            self._append_damage(reader, *damage)
        if reader.held_bytes():
            # Also what was only skipped: a full ring would otherwise stay full for ever.
            self._read.append(reader)
            self._is_dirty = True
        return count

    def _close_lives(self, reader: JournalReader) -> None:
        """Mark what earlier producers of a ring left open, once all they wrote is read."""
        first = reader.life_first()
        if reader.sequence_next < first:
            return
        for session, number, ring, sequence in self._segments.end.opened.items():
            if ring == reader.ring_id and sequence < first:
                self._append_own(
                    kind="statement.result",
                    session=session.decode("utf-8", "replace"),
                    stmt=number,
                    outcome="unknown",
                    reason="its worker died before the result was recorded",
                )
        self._lives[reader.ring_id] = first

    def _append_run(self, reader: JournalReader) -> None:
        segments = self._segments
        sequence = segments.end.sequence_next
        scanner = self._index.begin_part(segments.first_sequence, segments.size, sequence)
        malformed = segments.append_run(reader, scanner)
        self._index.finish_part(segments.size)
        self._is_dirty = True
        for position in malformed:
            self._append_own(
                kind="security.record_malformed",
                ring=Path(reader.path).name,
                sequence=sequence + position,
            )
        if segments.size >= self._settings.segment_bytes_max:
            self._rotate()

    def _append_damage(
        self, reader: JournalReader, what: str, first: int, last: int, position: int, size: int
    ) -> None:
        _LOG.error("%s: records %s to %s are %s", reader.path, first, last, what)
        payload = build_record(
            f"security.journal_{what}",
            {
                "ring": Path(reader.path).name,
                "ring_id": str(reader.ring_id),
                "ring_first": first,
                "ring_last": last,
                "offset": position,
                "bytes": size,
            },
        )
        if what == "cut":  # the record itself is in the trail under this ring sequence
            self._append_own_payload(payload)
            return
        # Under the last lost sequence: a restart then knows that this loss is recorded.
        scanner = self._begin_own()
        self._segments.append_lost(payload, reader.ring_id, last)
        self._finish_own(scanner, payload)

    def _append_own(self, *, kind: str, **fields: Any) -> None:
        self._append_own_payload(build_record(kind, fields))

    def _append_own_payload(self, payload: bytes) -> None:
        scanner = self._begin_own()
        self._segments.append_own(payload)
        self._finish_own(scanner, payload)

    def _begin_own(self) -> TermScanner:
        segments = self._segments
        return self._index.begin_part(
            segments.first_sequence, segments.size, segments.end.sequence_next
        )

    def _finish_own(self, scanner: TermScanner, payload: bytes) -> None:
        if scanner.scan_one(payload):
            self._segments.end.opened.note(scanner)
        self._index.finish_part(self._segments.size)
        self._is_dirty = True

    def _flush(self) -> None:
        """Make everything appended durable, then give the ring space back."""
        began = self._clock.monotonic()
        try:
            self._segments.sync()
        except OSError:
            self._must_reopen = True
            raise
        self._is_dirty = False
        self._synced_at = self._clock.monotonic()
        metrics.observe(metrics.AUDIT_SYNC, self._synced_at - began)
        for reader in self._read:
            reader.release()
            self._waits.tell(Path(reader.path))
        self._read.clear()

    def _rewind(self) -> None:
        """Read again what a failed write may have left out; the segment says what it has."""
        for reader in self._readers.values():
            reader.resume(self._segments.end.rings.get(reader.ring_id, 0))

    def _do_periodic(self, now: float) -> None:
        settings = self._settings
        if now - self._checkpointed_at >= settings.checkpoint_s:
            self._checkpointed_at = now
            self.checkpoint()
        if now - self._segment_since >= settings.segment_age_s_max and not self._disk.is_paused:
            if self._segments.end.sequence_next > self._segments.first_sequence + 1:
                self._rotate()
            self._segment_since = now
        if now >= self._index_due:
            self._index_due = now + _INDEX_COMMIT_S
            self._index.commit()
            metrics.put(_LAG, self._lag_bytes())

    def checkpoint(self, root: str = "") -> None:
        """Sign the chain's end, if it moved since the last time. Raises OSError."""
        end, last = self._segments.end, self._checkpoints.last
        if end.sequence_next == 1 or (last and last.sequence == end.sequence_next - 1):
            return
        self._flush()
        checkpoint = Checkpoint(
            number=self._checkpoints.number_next,
            stream=end.stream.hex(),
            sequence=end.sequence_next - 1,
            leaf=end.leaf.hex(),
            time=int(self._clock.wall() * 1e6),
            key=key_id(self._key.public_key()),
            previous=self._checkpoints.digest,
            root=root,
        )
        line = sign_line(checkpoint, self._key)
        append_line(self._directory / "checkpoints.log", line)
        self._checkpoints.last = checkpoint
        self._checkpoints.digest = line_digest(line)
        self._checkpoints.number_next += 1

    def _rotate(self) -> None:
        """Close the segment under its root, sign that, start the next."""
        segments = self._segments
        if not segments.is_closed:
            segments.append_close()
            self._is_dirty = True
            self._index.close_block()
        self.checkpoint(segments.end.root)
        segments.open_new(self._checkpoints.number_next - 1)
        self._packer.start()
        self._segment_since = self._clock.monotonic()

    def close(self) -> None:
        """Drain what is there, checkpoint, close. Safe to call twice."""
        if self._lock_fd < 0:
            return
        try:
            self._rings_due = 0.0
            until = self._clock.monotonic() + _CLOSE_S_MAX
            while self.run_once() and self._clock.monotonic() < until:
                pass
            self._flush()
            self.checkpoint()
        except OSError as error:
            _LOG.error("the audit trail cannot be closed well: %s", error)
        finally:
            self._index.close()
            self._segments.close_file()
            self._packer.stop()
            self._waits.close()
            os.close(self._lock_fd)
            self._lock_fd = -1
