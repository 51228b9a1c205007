"""What an auditor asks of a stretch of time, counted from the trail, each number with its records.

One pass, streaming: numbers are kept in memory, records go to the CSV file of their number as
they come. Nothing here judges; `evidence_pages.py` lays it out.
"""

from __future__ import annotations

import csv
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.audit.export import read_events
from gateway.audit.search import Event, Query
from gateway.audit.view import detail, show_time, state, what, who

_SESSIONS_MAX: Final = 200_000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
COLUMNS: Final = ("sequence", "time", "who", "session", "target", "outcome", "what", "detail")
# section -> kinds of records that belong to it
SECTIONS: Final = {
    "refusals": ("statement.refused", "session.refused"),
    "policy": ("policy.activated", "policy.rejected"),
    "retention": ("audit.purged", "audit.hold_set", "audit.hold_lifted"),
    "security": ("security.",),
}


def safe_cell(value: object) -> str:
    """A cell that a spreadsheet shows and never runs: statements are written by agents."""
    text = str(value)
    return "'" + text if text.startswith(_FORMULA) else text


class RecordFiles:
    """CSV files below one directory, one per number; few are open at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: set[str] = set()

    def add(self, name: str, columns: tuple[str, ...], row: list[object]) -> None:
        """Append a row to the file `name`. Raises OSError."""
        path = self._directory / name
        with path.open("a", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            if name not in self._known:
                self._known.add(name)
                out.writerow(columns)
            out.writerow([safe_cell(cell) for cell in row])


@dataclass
class Approval:
    """One request and what became of it."""

    id: str
    requested_us: int = 0
    who: str = ""
    rule: str = ""
    decided: list[str] = field(default_factory=list)
    decided_us: int = 0
    outcome: str = "pending"
    sequences: list[int] = field(default_factory=list)

    @property
    def waited_s(self) -> float | None:
        """From the request to the decision."""
        if not self.decided_us or not self.requested_us:
            return None
        return (self.decided_us - self.requested_us) / 1e6


@dataclass
class Revocation:
    """One revocation, and when the sessions it ended were closed."""

    object: str
    by: str
    time_us: int
    sequence: int
    closed: int = 0
    last_us: int = 0

    @property
    def effect_s(self) -> float | None:
        """From the call to the last session that it closed."""
        return (self.last_us - self.time_us) / 1e6 if self.closed else None


@dataclass
class Evidence:
    """The numbers. Names of files are relative to the pack."""

    # (group, target, outcome) -> statements
    access: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    sections: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)  # error id of refusals
    approvals: OrderedDict[str, Approval] = field(default_factory=OrderedDict)
    policies: list[dict[str, Any]] = field(default_factory=list)
    purged: list[dict[str, Any]] = field(default_factory=list)
    revocations: list[Revocation] = field(default_factory=list)
    files: dict[tuple[str, str, str], str] = field(default_factory=dict)


def collect(data_dir: Path, pack: Path, since_us: int, until_us: int) -> Evidence:
    """Count, and write the records of each number below `pack`. Raises OSError, ValueError."""
    return _Collector(RecordFiles(pack), since_us, until_us).run(
        read_events(data_dir, Query(until_us=until_us))
    )


class _Collector:
    def __init__(self, files: RecordFiles, since_us: int, until_us: int) -> None:
        self._files = files
        self._since, self._until = since_us, until_us
        self._found = Evidence()
        # Statements name their session; who is in which group, its opening says.
        self._groups: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def run(self, events: Iterator[Event]) -> Evidence:
        for event in events:
            record = event.record
            kind = str(record.get("kind", ""))
            if kind == "session.opened":
                self._remember(record)
            if self._since <= int(record.get("time", 0)) <= self._until:
                self._take(kind, event)
        return self._found

    def _remember(self, record: dict[str, Any]) -> None:
        groups = tuple(str(group) for group in record.get("groups") or ())
        self._groups[str(record.get("session"))] = groups
        if len(self._groups) > _SESSIONS_MAX:
            self._groups.popitem(last=False)

    def _take(self, kind: str, event: Event) -> None:
        if kind in ("statement.intent", "statement.refused", "statement.local"):
            self._access(event)
        for section, kinds in SECTIONS.items():
            if kind.startswith(kinds):
                self._found.sections[section] += 1
                self._files.add(f"{section}.csv", COLUMNS, _row(event))
        if kind in SECTIONS["refusals"]:
            self._found.reasons[str(event.record.get("error") or "-")] += 1
        elif kind.startswith("approval."):
            self._approval(kind, event)
        elif kind in SECTIONS["policy"]:
            self._found.policies.append({"sequence": event.sequence, **event.record})
        elif kind == "audit.purged":
            self._found.purged.append({"sequence": event.sequence, **event.record})
        elif kind == "admin.action" and event.record.get("action") == "revoke":
            self._revocation(event)
        elif kind == "session.closed" and "revoked" in str(event.record.get("reason")):
            self._closed(event)

    def _access(self, event: Event) -> None:
        record, found = event.record, self._found
        outcome = "refused" if record["kind"] == "statement.refused" else state(event).split()[0]
        groups = self._groups.get(str(record.get("session"))) or ("(unknown)",)
        for group in groups:
            key = (group, str(record.get("target", "")), outcome)
            found.access[key] += 1
            name = found.files.setdefault(key, f"access-{len(found.files) + 1}.csv")
            self._files.add(name, COLUMNS, _row(event))

    def _approval(self, kind: str, event: Event) -> None:
        record = event.record
        name = str(record.get("approval"))
        entry = self._found.approvals.setdefault(name, Approval(name))
        entry.sequences.append(event.sequence)
        entry.outcome = kind.removeprefix("approval.")
        time_us = int(record.get("time", 0))
        if kind == "approval.requested":
            entry.requested_us, entry.who = time_us, who(record)
            entry.rule, entry.outcome = str(record.get("rule", "")), "pending"
        elif kind == "approval.decided":
            entry.decided.append(f"{who(record)}: {record.get('state', '')}")
            entry.decided_us = time_us
            entry.outcome = str(record.get("state", entry.outcome))
        elif kind == "approval.finished":
            entry.outcome = str(record.get("outcome", entry.outcome))
        self._files.add("approvals.csv", COLUMNS, _row(event))

    def _revocation(self, event: Event) -> None:
        record = event.record
        self._found.revocations.append(
            Revocation(
                object=str(record.get("object", "")),
                by=who(record),
                time_us=int(record.get("time", 0)),
                sequence=event.sequence,
            )
        )
        self._files.add("revocations.csv", COLUMNS, _row(event))

    def _closed(self, event: Event) -> None:
        """A session that a revocation ended: of the latest one before it."""
        if self._found.revocations:
            latest = self._found.revocations[-1]
            latest.closed += 1
            latest.last_us = int(event.record.get("time", 0))
        self._files.add("revocations.csv", COLUMNS, _row(event))


def _row(event: Event) -> list[object]:
    record = event.record
    return [
        event.sequence,
        show_time(int(record.get("time", 0)), is_local=False),
        who(record),
        record.get("session", ""),
        record.get("target", ""),
        state(event),
        what(event),
        detail(event),
    ]
