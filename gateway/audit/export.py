"""Write the trail, oldest first, as NDJSON, CEF or OCSF 6005 (Datastore Activity).

Streaming: memory is one segment and the statements that still run. NDJSON is the record itself;
the other two are mappings, and what they have no place for goes along unmapped or stays behind.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from gateway.audit.search import Event, Place, Query, parse_records, statement_key
from gateway.audit.segments import (
    FILE_HEADER_SIZE,
    list_segments,
    read_segment,
    segment_directory,
)
from gateway.audit.view import who

_RUNNING_MAX: Final = 100_000
_CLIENTS_MAX: Final = 100_000
_OCSF_VERSION: Final = "1.3.0"
_ACTIVITY: Final = {
    "rows.read": 1,
    "rows.update": 2,
    "rows.insert": 5,
    "rows.merge": 5,
    "rows.delete": 7,
    "table.truncate": 7,
    "copy.in": 5,
    "copy.out": 1,
}
_ACTIVITY_NAME: Final = {
    0: "Unknown", 1: "Read", 2: "Update", 3: "Connect", 4: "Query", 5: "Write", 6: "Create",
    7: "Delete", 99: "Other",
}  # fmt: skip


def read_events(data_dir: Path, query: Query) -> Iterator[Event]:
    """Matching events in order of their end: a statement with its result, or without at last."""
    running: OrderedDict[Place, Event] = OrderedDict()
    for path in list_segments(segment_directory(data_dir)):
        for sequence, record in parse_records(read_segment(path), FILE_HEADER_SIZE):
            event = Event(sequence, record)
            place = statement_key(record)
            if place is not None and record["kind"] == "statement.intent":
                running[place] = event
                if len(running) <= _RUNNING_MAX:
                    continue
                event = running.popitem(last=False)[1]
            elif place is not None and place in running:
                intent = running.pop(place)
                event = Event(intent.sequence, intent.record, record)
            if event.matches(query):
                yield event
    yield from (event for event in running.values() if event.matches(query))


def to_ndjson(event: Event) -> str:
    """The record, with its result's fields where it has one."""
    return orjson.dumps(event.merged(), default=str).decode()


def _escape_cef(text: object, *, is_header: bool = False) -> str:
    escaped = str(text).replace("\\", "\\\\").replace("\r", " ")
    if is_header:
        return escaped.replace("|", "\\|").replace("\n", " ")
    return escaped.replace("=", "\\=").replace("\n", "\\n")


def _severity(record: dict[str, Any]) -> int:
    """1 informational, 2 low, 3 medium, 4 high: as OCSF counts."""
    kind = str(record.get("kind", ""))
    if kind.startswith("security."):
        return 4
    if kind in ("statement.refused", "session.refused", "limit.reached"):
        return 3
    return 2 if kind.startswith(("approval.", "policy.", "admin.")) else 1


def to_cef(event: Event) -> str:
    """One line of ArcSight Common Event Format, version 0."""
    merged = event.merged()
    error = merged.get("error")
    fields = {
        "rt": int(merged.get("time", 0)) // 1000,
        "externalId": event.sequence,
        "suser": who(merged),
        "src": str(merged.get("client", "")).rpartition(":")[0],
        "act": merged.get("decision"),
        "outcome": merged.get("outcome"),
        "reason": error["id"] if isinstance(error, dict) else error,
        "cnt": merged.get("rows"),
        "out": merged.get("bytes"),
        "msg": merged.get("sql") or merged.get("message") or merged.get("text"),
        "cs1": merged.get("session"),
        "cs2": merged.get("target"),
        "cs3": ",".join(map(str, merged.get("objects") or [])),
        "cs4": ",".join(map(str, merged.get("rules") or [])),
    }
    labels = {"cs1": "session", "cs2": "target", "cs3": "objects", "cs4": "rules"}
    parts = []
    for name, value in fields.items():
        if value not in (None, ""):
            parts.append(f"{name}={_escape_cef(value)}")
            if name in labels:
                parts.append(f"{name}Label={labels[name]}")
    kind = _escape_cef(merged.get("kind", "?"), is_header=True)
    severity = {1: 1, 2: 3, 3: 6, 4: 9}[_severity(event.record)]
    return f"CEF:0|Postern|Postern|1|{kind}|{kind}|{severity}|{' '.join(parts)}"


class OcsfMapper:
    """Maps statements and logins to class 6005; other kinds have no place there."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, str] = OrderedDict()  # session -> address

    def __call__(self, event: Event) -> str:
        """One JSON object, or "" for a kind that is no datastore activity."""
        record, merged = event.record, event.merged()
        kind, session = str(record.get("kind", "")), str(record.get("session", ""))
        if record.get("client"):
            self._clients[session] = str(record["client"])
            if len(self._clients) > _CLIENTS_MAX:
                self._clients.popitem(last=False)
        if not kind.startswith("statement.") and kind not in ("session.opened", "session.refused"):
            return ""
        activity = _activity(record)
        is_failure = kind.endswith(".refused") or merged.get("outcome") not in ("ok", None)
        mapped: dict[str, Any] = {
            "activity_id": activity,
            "activity_name": _ACTIVITY_NAME[activity],
            "category_uid": 6,
            "category_name": "Application Activity",
            "class_uid": 6005,
            "class_name": "Datastore Activity",
            "type_uid": 600500 + activity,
            "severity_id": _severity(record),
            "time": int(record.get("time", 0)) // 1000,
            "status_id": 2 if is_failure else 1,
            "metadata": {
                "version": _OCSF_VERSION,
                "product": {"name": "Postern", "vendor_name": "Postern"},
                "sequence": event.sequence,
            },
            "actor": {
                "user": {
                    "name": who(record) or "unknown",
                    "groups": [{"name": str(group)} for group in record.get("groups") or []],
                },
                "session": {"uid": session or "none"},
            },
            "src_endpoint": _endpoint(self._clients.get(session, "")),
            "database": {"name": str(record.get("target") or "unknown"), "type_id": 1},
            "type_id": 1,
            "unmapped": {
                key: merged[key]
                for key in ("kind", "decision", "rules", "effects", "objects", "masks",
                            "policy_digest", "error", "sqlstate", "outcome", "tag", "approval")
                if merged.get(key)
            },
        }  # fmt: skip
        if record.get("sql") is not None:
            mapped["query_info"] = {"query_string": record["sql"]}
            if isinstance(merged.get("bytes"), int):
                mapped["query_info"]["bytes"] = merged["bytes"]
        if isinstance(merged.get("duration_us"), int):
            mapped["duration"] = merged["duration_us"] // 1000
        return orjson.dumps(mapped, default=str).decode()


def _activity(record: dict[str, Any]) -> int:
    if str(record.get("kind", "")).startswith("session."):
        return 3
    effects = [str(effect) for effect in record.get("effects") or []]
    # What changes says more than what is read along the way.
    known = [_ACTIVITY[effect] for effect in effects if effect in _ACTIVITY]
    changing = [activity for activity in known if activity != 1]
    if changing or known:
        return (changing or known)[0]
    if any(effect.startswith("schema.create") for effect in effects):
        return 6
    return 4 if record.get("sql") is not None else 0


def _endpoint(client: str) -> dict[str, Any]:
    address, _, port = client.rpartition(":")
    if not address:
        return {"name": client or "unknown"}
    return {"ip": address.strip("[]"), "port": int(port) if port.isdigit() else 0}


def formatter(name: str) -> Callable[[Event], str]:
    """What turns an event into a line, "" to leave it out: ndjson, cef or ocsf."""
    return {"ndjson": to_ndjson, "cef": to_cef}.get(name) or OcsfMapper()
