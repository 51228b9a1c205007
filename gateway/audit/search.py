"""Find records in the trail, newest first, with each statement's intent and result joined.

The index only says where to look; every record is judged by its own bytes. What the index has
not entered yet, or all of it when there is no usable index, is read from the segments.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import apsw
import orjson

from gateway.audit.chain import EntryKind
from gateway.audit.index import Block, IndexReader, index_path
from gateway.audit.params import readable_params
from gateway.audit.segments import (
    FILE_HEADER_SIZE,
    list_segments,
    read_entries,
    read_segment,
    segment_directory,
    segment_number,
    segment_path,
    segment_size,
)

Record = dict[str, Any]
TIME_MAX: Final = (1 << 63) - 1
_PARTNER_BLOCKS_MAX: Final = 64  # how far a result may be from its intent to be joined
_CACHED_BLOCKS_MAX: Final = 8
# What a filter looks at: a record key, and how the pattern reads there.
FILTERS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "subject": (("subject", "{}"), ("principal", "{}"), ("principal", "*|{}")),
    "session": (("session", "{}"),),
    "target": (("target", "{}"),),
    "object": (("objects", "{}"),),
    "effect": (("effects", "{}"),),
    "decision": (("decision", "{}"),),
    "rule": (("rules", "{}"), ("rule", "{}")),
    "sqlstate": (("sqlstate", "{}"),),
    "error": (("error", "{}"),),
    "outcome": (("outcome", "{}"),),
    "group": (("groups", "{}"),),
    "kind": (("kind", "{}"),),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for; all conditions hold at once. Patterns may have `*` and `?`."""

    filters: Mapping[str, str] = field(default_factory=dict)
    text: str = ""  # anywhere in the SQL text or message, in any case
    since_us: int = 0
    until_us: int = TIME_MAX
    before: int = TIME_MAX  # sequence, for the next page
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Event:
    """A record; for a statement its intent, with the result where there is one yet."""

    sequence: int
    record: Record
    result: Record | None = None

    def merged(self) -> Record:
        """One object with the fields of both, parameters readable; the intent's fields win."""
        merged = {**self.result, **self.record} if self.result else self.record
        if isinstance(params := merged.get("params"), list):
            merged = {**merged, "params": readable_params(params)}
        return {"sequence": self.sequence, **merged}

    def matches(self, query: Query) -> bool:
        """Whether all conditions of `query` hold."""
        time = self.record.get("time", 0)
        if not query.since_us <= time <= query.until_us or self.sequence >= query.before:
            return False
        if query.text and not self._has_text(query.text.casefold()):
            return False
        return all(self._has(name, pattern) for name, pattern in query.filters.items())

    def _has_text(self, text: str) -> bool:
        keys = ("sql", "message", "text", "reason", "stated_reason")
        places = [str(self.record.get(key, "")) for key in keys]
        return any(text in place.casefold() for place in places)

    def _has(self, name: str, pattern: str) -> bool:
        for key, form in FILTERS[name]:
            wanted = form.format(pattern)
            for record in (self.record, self.result):
                if record and any(fnmatchcase(v, wanted) for v in _values(record, key)):
                    return True
        return False


def _values(value: Any, key: str) -> Iterator[str]:
    """All strings under `key`, at any depth, as the index enters them."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield from _strings(inner)
            elif isinstance(inner, dict | list):
                yield from _values(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, key)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


Place = tuple[str, int]


def statement_key(record: Record) -> Place | None:
    """What an intent and its result share; None for records of other kinds."""
    if record.get("kind") in ("statement.intent", "statement.result"):
        return str(record.get("session")), int(record.get("stmt", 0))
    return None


@dataclass(slots=True)
class _Page:
    """The parsed records of one block."""

    records: list[tuple[int, Record]]
    payloads: list[bytes]  # of the records, as they are stored
    intents: dict[Place, tuple[int, Record]]
    results: dict[Place, tuple[int, Record]]


def parse_records(data: bytes, start: int = 0) -> Iterator[tuple[int, Record]]:
    """(sequence, record) of every record entry in `data`; what is not JSON is shown as text."""
    for entry in read_entries(data, start=start):
        if entry.kind != EntryKind.RECORD:
            continue
        try:
            record = orjson.loads(entry.payload)
        except orjson.JSONDecodeError:
            record = None
        if not isinstance(record, dict):
            text = entry.payload.decode("utf-8", "replace")
            record = {"kind": "malformed", "time": 0, "text": text}
        yield entry.sequence, record


def _needles(query: Query) -> list[bytes]:
    """Names without wildcards that a matching record must contain, in a form JSON never escapes."""
    return [
        pattern.encode()
        for pattern in query.filters.values()
        if pattern.isascii() and pattern.isprintable() and not set(pattern) & set('*?[]"\\')
    ]


class AuditSearch:
    """Searches over one data directory, online or on a copy."""

    def __init__(self, data_dir: Path) -> None:
        self._segments = segment_directory(data_dir)
        self._pages: OrderedDict[tuple[int, int], _Page] = OrderedDict()
        try:
            self._index: IndexReader | None = IndexReader(index_path(data_dir))
            self._index.indexed_to()
        except apsw.Error:
            self._index = None

    def find(self, query: Query) -> Iterator[Event]:
        """Matching events, newest first by the sequence of record or intent, up to the limit."""
        found = 0
        needles = _needles(query)
        waiting: dict[int, Event] = {}  # reached through a result, their place is further back
        for block in self._candidates(query):
            page = self._page(block)
            for (sequence, record), payload in zip(page.records, page.payloads, strict=True):
                # One half of what matches has at least one of the names in it.
                if needles and not any(needle in payload for needle in needles):
                    continue
                event = self._event(sequence, record, block, page)
                if event.matches(query):
                    waiting[event.sequence] = event
            for sequence in sorted(waiting, reverse=True):
                if sequence < block.sequence:
                    break
                yield waiting.pop(sequence)
                found += 1
                if found >= query.limit:
                    return
        for sequence in sorted(waiting, reverse=True)[: query.limit - found]:
            yield waiting[sequence]

    def _candidates(self, query: Query) -> list[Block]:
        """Blocks to read: those of the filter that occurs in the fewest, and all not indexed."""
        blocks = self._unindexed()
        if self._index is None:
            return blocks
        # A result may lie behind the last sequence or time asked for, so these bound nothing
        # here but the page's start: a block that begins later has only later intents.
        bounds = (query.since_us, TIME_MAX, TIME_MAX)
        best: list[Block] | None = None
        for name, pattern in query.filters.items():
            patterns = [(key, form.format(pattern)) for key, form in FILTERS[name]]
            some = self._index.find_blocks(patterns, *bounds)
            if best is None or len(some) < len(best):
                best = some
        if best is None:
            bounds = (query.since_us, query.until_us, query.before)
            best = [b for b in self._index.find_blocks([], *bounds) if b.time_min <= query.until_us]
        return blocks + best

    def _unindexed(self) -> list[Block]:
        segment, finish = self._index.indexed_to() if self._index else (0, 0)
        blocks = []
        for path in list_segments(self._segments):
            first = segment_number(path)
            if first < segment:
                continue
            start = finish if first == segment else FILE_HEADER_SIZE
            try:
                size = segment_size(path)
                head = read_segment(path, start, start + 8)
            except (OSError, ValueError):  # purged meanwhile, or damaged: verify says so
                continue
            if size > start:
                sequence = int.from_bytes(head, "little")
                blocks.append(Block(first, start, size, sequence, 0, TIME_MAX))
        return blocks[::-1]

    def _page(self, block: Block) -> _Page:
        key = (block.segment, block.start)
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
            return page
        page = _Page([], [], {}, {})
        data = self._read(block)
        for sequence, record in parse_records(data):
            page.records.append((sequence, record))
            place = statement_key(record)
            if place is not None:
                is_intent = record["kind"] == "statement.intent"
                (page.intents if is_intent else page.results)[place] = (sequence, record)
        page.payloads = [e.payload for e in read_entries(data) if e.kind == EntryKind.RECORD]
        self._pages[key] = page
        if len(self._pages) > _CACHED_BLOCKS_MAX:
            self._pages.popitem(last=False)
        return page

    def _read(self, block: Block) -> bytes:
        try:
            path = segment_path(self._segments, block.segment)
            return read_segment(path, block.start, block.finish)
        except (FileNotFoundError, ValueError):  # purged or damaged: verify says so
            return b""

    def _event(self, sequence: int, record: Record, block: Block, page: _Page) -> Event:
        place = statement_key(record)
        if place is None:
            return Event(sequence, record)
        if record["kind"] == "statement.intent":
            result = page.results.get(place) or self._far(place, block, want_intent=False)
            return Event(sequence, record, result[1] if result else None)
        intent = page.intents.get(place) or self._far(place, block, want_intent=True)
        return Event(intent[0], intent[1], record) if intent else Event(sequence, record)

    def _far(self, place: Place, block: Block, *, want_intent: bool) -> tuple[int, Record] | None:
        """The other half of a statement, in the session's other blocks."""
        blocks = self._unindexed()
        if self._index is not None:
            blocks += self._index.find_blocks([("session", place[0])], 0, TIME_MAX, TIME_MAX)
        here = (block.segment, block.start)
        if want_intent:
            near = [b for b in blocks if (b.segment, b.start) < here]
        else:
            near = [b for b in blocks if (b.segment, b.start) > here][::-1]
        mark = b'"stmt":%d' % place[1]
        for other in near[:_PARTNER_BLOCKS_MAX]:
            # Looking through bytes is a hundred times cheaper than parsing them.
            if (other.segment, other.start) not in self._pages and mark not in self._read(other):
                continue
            page = self._page(other)
            half = (page.intents if want_intent else page.results).get(place)
            if half is not None:
                return half
        return None


class AuditFollower:
    """Yields what is appended from now on: statements once they ended, or after a second."""

    PENDING_MAX: Final = 10_000

    def __init__(self, data_dir: Path, after: int | None = None) -> None:
        """Begin behind the newest entry, or behind sequence `after`."""
        self._segments = segment_directory(data_dir)
        self._pending: OrderedDict[Place, tuple[float, Event]] = OrderedDict()
        paths = list_segments(self._segments)
        self._first = segment_number(paths[-1]) if paths else 0
        self._offset = FILE_HEADER_SIZE
        self._after, self._read_to = after or 0, after or 0
        if after is not None:
            numbers = [segment_number(path) for path in paths]
            begun = [number for number in numbers if number <= after + 1]
            self._first = max(begun) if begun else min(numbers, default=0)
        elif paths:
            # By entries and not by size: the last one may be only half written at this moment.
            for entry in read_entries(read_segment(paths[-1]), start=FILE_HEADER_SIZE):
                self._offset = entry.end

    @property
    def cursor(self) -> int:
        """Beginning behind this sequence again misses nothing; some may come twice."""
        waiting = [event.sequence - 1 for _, event in self._pending.values()]
        return min([self._read_to, *waiting])

    def poll(self, now_s: float) -> list[Event]:
        """Events since the last poll; `now_s` is any monotonic reading."""
        events: list[Event] = []
        for path in list_segments(self._segments):
            first = segment_number(path)
            if first < self._first:
                continue
            if first > self._first:
                self._first, self._offset = first, FILE_HEADER_SIZE
            data = read_segment(path, self._offset)
            for entry in read_entries(data, base=self._offset):
                self._offset, self._read_to = entry.end, entry.sequence
            for sequence, record in parse_records(data):
                if sequence > self._after:
                    self._take(sequence, record, now_s, events)
            if len(events) >= self.PENDING_MAX:
                return events  # a long way behind: the rest with the next calls
        while self._pending:
            place, (since, event) = next(iter(self._pending.items()))
            if now_s - since < 1.0 and len(self._pending) < self.PENDING_MAX:
                break
            del self._pending[place]
            events.append(event)
        return events

    def _take(self, sequence: int, record: Record, now_s: float, events: list[Event]) -> None:
        place = statement_key(record)
        if place is None:
            events.append(Event(sequence, record))
        elif record["kind"] == "statement.intent":
            self._pending[place] = (now_s, Event(sequence, record))
        elif place in self._pending:
            _, intent = self._pending.pop(place)
            events.append(Event(intent.sequence, intent.record, record))
        else:
            events.append(Event(sequence, record))
