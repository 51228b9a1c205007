"""A block index of the trail in SQLite: which terms occur in which stretch of which segment.

The index is no part of the proof and can be deleted at any time: it is rebuilt from the
segments. It costs per distinct term of a block of a few hundred records instead of per record,
which is what keeps an allowed statement cheap; a search reads the blocks it names and judges
the records themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from _fastpath.terms import TermScanner
from gateway.audit.segments import (
    FILE_HEADER_SIZE,
    Entry,
    list_segments,
    read_entries,
    read_segment,
    segment_number,
    segment_size,
)
from gateway.logs import get_logger

_LOG = get_logger("audit")

SCHEMA_VERSION: Final = 1
BLOCK_BYTES: Final = 512 << 10
TERM_IDS_MAX: Final = 100_000  # memory of the writer for terms it has entered
# Keys of records whose string values are terms, at any depth (docs/audit.md).
TERM_KEYS: Final = (
    "kind",
    "session",
    "principal",
    "issuer",
    "subject",
    "groups",
    "target",
    "role",
    "decision",
    "outcome",
    "sqlstate",
    "error",
    "effects",
    "objects",
    "rules",
    "rule",
    "masks",
    "approval",
    "run_id",
)
_SCHEMA: Final = """
CREATE TABLE block (id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, start INTEGER NOT NULL,
  finish INTEGER NOT NULL, sequence INTEGER NOT NULL, time_min INTEGER NOT NULL,
  time_max INTEGER NOT NULL) STRICT;
CREATE TABLE term (id INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE posting (term INTEGER NOT NULL, block INTEGER NOT NULL,
  PRIMARY KEY (term, block)) STRICT, WITHOUT ROWID;
"""


class Block(NamedTuple):
    """A stretch of one segment file, whole entries only."""

    segment: int  # first sequence of the segment, which names the file
    start: int
    finish: int
    sequence: int  # of the first entry
    time_min: int
    time_max: int


def index_path(data_dir: Path) -> Path:
    """Where the index of a data directory is."""
    return data_dir / "audit" / "index.db"


class AuditIndex:
    """The writing end, owned by the writer process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scanner = TermScanner(TERM_KEYS)
        self._term_ids: dict[bytes, int] = {}
        self._segment = 0
        self._start = self._end = 0
        self._sequence = 0
        self._is_writing = False
        self._is_broken = False
        self._blocks_pending = 0
        self._db = self._open()

    def _open(self) -> apsw.Connection:
        try:
            return _connect(self._path)
        except apsw.Error as error:
            # Rebuilt by catch_up; nothing that counts is lost.
            _LOG.warning("the audit index is not usable and is made anew: %s", error)
            self._remove()
            return _connect(self._path)

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def catch_up(self, directory: Path, heartbeat: Callable[[], None] = lambda: None) -> int:
        """Enter what the segments have and the index has not; how many entries that was.

        Raises OSError, and nothing of the database: recording goes on without an index.
        """
        try:
            return self._catch_up(directory, heartbeat)
        except (apsw.CorruptError, apsw.NotADBError):
            self._db.close(True)
            self._remove()
            self._db = _connect(self._path)
            return self._catch_up(directory, heartbeat)
        except apsw.Error as error:
            self._give_up(error)
            return 0

    def _catch_up(self, directory: Path, heartbeat: Callable[[], None]) -> int:
        self._forget_lost(directory)
        segment, finish = self._db.execute(
            "SELECT segment, finish FROM block ORDER BY id DESC LIMIT 1"
        ).fetchone() or (0, 0)
        count = 0
        for path in list_segments(directory):
            first = segment_number(path)
            if first < segment:
                continue
            heartbeat()
            start = finish if first == segment else FILE_HEADER_SIZE
            try:
                data = read_segment(path)
            except ValueError as error:
                _LOG.error("%s cannot be indexed: %s", path.name, error)
                continue
            for entry in read_entries(data, start=start):
                self.add_entry(first, entry)
                count += 1
        self.commit()
        return count

    def _forget_lost(self, directory: Path) -> None:
        """Drop blocks behind a segment's end: a power loss can leave the index ahead of it."""
        paths = list_segments(directory)
        if paths:
            last, size = segment_number(paths[-1]), _size_of(paths[-1])
            for row in self._db.execute(
                "SELECT id FROM block WHERE segment > ?1 OR (segment = ?1 AND finish > ?2)",
                (last, size),
            ).fetchall():
                self._db.execute("DELETE FROM posting WHERE block = ?", row)
                self._db.execute("DELETE FROM block WHERE id = ?", row)

    def add_entry(self, segment: int, entry: Entry) -> None:
        """Enter one entry; entries come in order."""
        self._begin_block(segment, entry.offset, entry.sequence)
        self._scanner.scan_one(entry.payload)
        self.finish_part(entry.end)

    def begin_part(self, segment: int, start: int, sequence: int) -> TermScanner:
        """What takes the terms of the entries that are about to be written at `start`."""
        self._begin_block(segment, start, sequence)
        return self._scanner

    def finish_part(self, end: int) -> None:
        """The entries of this part are in the file up to `end`.

        Raises nothing of the database: an index that fails is left behind, and a search reads
        what it lacks from the segments until the next start makes it whole.
        """
        self._end = end
        if end - self._start >= BLOCK_BYTES or self._scanner.is_full():
            self.close_block()

    def _begin_block(self, segment: int, start: int, sequence: int) -> None:
        if segment != self._segment:
            self.close_block()
        if self._start == self._end:
            self._segment, self._start, self._sequence = segment, start, sequence
            self._end = start

    def close_block(self) -> None:
        """Enter the open block, if it has anything."""
        if self._start == self._end:
            return
        terms, time_min, time_max = self._scanner.take()
        if not self._is_broken:
            try:
                self._enter_block(terms, time_min, time_max)
            except apsw.Error as error:
                self._give_up(error)
        self._start = self._end

    def _give_up(self, error: apsw.Error) -> None:
        _LOG.error("the audit index fails and waits for the next start: %s", error)
        self._is_broken, self._is_writing = True, False
        self._db.close(True)

    def _enter_block(self, terms: list[bytes], time_min: int, time_max: int) -> None:
        if not self._is_writing:
            self._db.execute("BEGIN")
            self._is_writing = True
        self._db.execute(
            "INSERT INTO block (segment, start, finish, sequence, time_min, time_max)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (self._segment, self._start, self._end, self._sequence, time_min, time_max),
        )
        block = self._db.last_insert_rowid()
        self._db.executemany(
            "INSERT OR IGNORE INTO posting (term, block) VALUES (?, ?)",
            [(self._term_id(term), block) for term in terms],
        )
        self._blocks_pending += 1
        if self._blocks_pending >= 16:
            self.commit()

    def _term_id(self, term: bytes) -> int:
        known = self._term_ids.get(term)
        if known is not None:
            return known
        if len(self._term_ids) >= TERM_IDS_MAX:
            self._term_ids.clear()
        text = term.decode("utf-8", "replace")
        row = self._db.execute("SELECT id FROM term WHERE term = ?", (text,)).fetchone()
        if row is None:
            self._db.execute("INSERT INTO term (term) VALUES (?)", (text,))
            row = (self._db.last_insert_rowid(),)
        self._term_ids[term] = row[0]
        return int(row[0])

    def commit(self) -> None:
        """Show the entered blocks to searches. The open block is not among them."""
        self._blocks_pending = 0
        if self._is_writing:
            try:
                self._db.execute("COMMIT")
                self._is_writing = False
            except apsw.Error as error:
                self._give_up(error)

    def close(self) -> None:
        """Commit and close. The open block is read from the segment by whoever comes next."""
        self.commit()
        if not self._is_broken:
            self._db.close()


class IndexReader:
    """The reading end, for searches; any number, in any process."""

    def __init__(self, path: Path) -> None:
        """Raises apsw.Error when there is no usable index: read all segments then."""
        self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        self._db.set_busy_timeout(2_000)
        if self._db.pragma("user_version") != SCHEMA_VERSION:
            raise apsw.Error("other schema")

    def indexed_to(self) -> tuple[int, int]:
        """(segment, offset) behind the last block; what follows must be read directly."""
        row = self._db.execute(
            "SELECT segment, finish FROM block ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def find_blocks(
        self, patterns: Iterable[tuple[str, str]], time_min: int, time_max: int, before: int
    ) -> list[Block]:
        """Blocks that may hold a term of `patterns`, newest first; all blocks for no pattern.

        A pattern is (key, GLOB of its value). Only blocks that overlap the times and begin
        below sequence `before`.
        """
        bounds = "b.time_max >= ? AND b.time_min <= ? AND b.sequence < ?"
        values: list[int | str] = [time_min, time_max, before]
        where = bounds
        wanted = list(patterns)
        if wanted:
            globs = [f"{key}={pattern}" for key, pattern in wanted]
            # "key=" alone stands for values not entered, "*" for terms that did not fit.
            exact = [f"{key}=" for key, _ in wanted] + ["*"]
            match = " OR ".join(["t.term GLOB ?"] * len(globs) + ["t.term = ?"] * len(exact))
            where += (
                # Only our own operators are put together; every value is bound.
                " AND b.id IN (SELECT p.block FROM term t JOIN posting p ON p.term = t.id"  # noqa: S608
                f" WHERE {match})"
            )
            values += [*globs, *exact]
        query = (
            "SELECT b.segment, b.start, b.finish, b.sequence, b.time_min, b.time_max"  # noqa: S608
            f" FROM block b WHERE {where} ORDER BY b.id DESC"
        )
        return [Block(*row) for row in self._db.execute(query, values)]

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def _size_of(path: Path) -> int:
    try:
        return segment_size(path)
    except ValueError:  # verify names it; nothing of it can be in the way of the index
        return 0


def _connect(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path))
    # Losing the last transactions in a power loss costs a rebuild of those blocks, no more.
    db.set_busy_timeout(2_000)
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", 0)
    version = db.pragma("user_version")
    if version == 0:
        db.execute("BEGIN;" + _SCHEMA + f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")
    elif version != SCHEMA_VERSION:
        db.close()
        raise apsw.Error(f"index schema {version}")
    path.chmod(0o600)
    return db
