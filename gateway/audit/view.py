"""How an audit event reads for people: one line, who did what and what became of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.audit.search import Event

_AGO: Final = re.compile(r"(\d+)\s*([smhdw])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_STATE_WORDS: Final = {"statement.refused": "refused", "statement.local": "answered"}
_TEXT_KEYS: Final = (
    "sql",
    "message",
    "text",
    "reason",
    "file",
    "action",
    "process",
    "policy_digest",
)


def parse_time(text: str, now: datetime) -> int:
    """Microseconds since the epoch of `10m`, `2h`, `today`, `yesterday` or an ISO 8601 time.

    A time without an offset is local time, as the person at the terminal means it. Raises
    ValueError with what would be understood.
    """
    text = text.strip().lower().removesuffix(" ago")
    if match := _AGO.fullmatch(text):
        moment = now - timedelta(seconds=int(match[1]) * _UNIT_S[match[2]])
    elif text in ("now", "today", "yesterday"):
        moment = now
        if text != "now":
            moment = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        if text == "yesterday":
            moment -= timedelta(days=1)
    else:
        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError:
            raise ValueError(
                f"{text!r} is not a time: use 15m, 2h, 3d, today, yesterday, or 2026-01-31T08:00Z"
            ) from None
        if moment.tzinfo is None:
            moment = moment.astimezone()
    return int(moment.timestamp() * 1e6)


def show_time(time_us: int, *, is_local: bool) -> str:
    """The moment to the millisecond, with the zone always said."""
    if not time_us:
        return "-"
    moment = datetime.fromtimestamp(time_us / 1e6, UTC)
    if is_local:
        moment = moment.astimezone()
    zone = moment.strftime(" %z") if is_local else "Z"
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + zone


def who(record: dict[str, Any]) -> str:
    """The subject of a record, however its writer put it."""
    decided = record.get("kind") == "approval.decided" and record.get("by")
    subject = decided or record.get("subject") or record.get("principal") or record.get("by") or ""
    if isinstance(subject, dict):
        subject = subject.get("subject", "")
    return str(subject).rpartition("|")[2]


def state(event: Event) -> str:
    """What became of it: ok, refused, error 23505, running, or the kind of event."""
    record, result = event.record, event.result
    kind = str(record.get("kind", "?"))
    if kind == "statement.intent":
        if result is None:
            return "running"
        outcome = str(result.get("outcome", "?"))
        return f"{outcome} {result.get('sqlstate') or ''}".strip()
    return _STATE_WORDS.get(kind, kind)


def detail(event: Event) -> str:
    """Rule or error, rows and time, in a few words."""
    merged = event.merged()
    parts = []
    if error := merged.get("error"):
        parts.append(error["id"] if isinstance(error, dict) else str(error))
    rules = merged.get("rules") or []
    parts += [str(rules)] if isinstance(rules, str) else [", ".join(map(str, rules))]
    if event.result is not None:
        rows, duration = event.result.get("rows"), event.result.get("duration_us")
        # The tag says what a write changed; `rows` counts what was sent back.
        sent = f"{rows} rows" if isinstance(rows, int) and rows >= 0 else ""
        parts.append(str(event.result.get("tag") or sent))
        parts.append(f"{duration / 1000:.1f} ms" if isinstance(duration, int) else "")
    return " · ".join(part for part in parts if part)


def what(event: Event) -> str:
    """The statement, or what else the record is about, on one line."""
    record = event.record
    texts = [str(record[key]) for key in _TEXT_KEYS if record.get(key)]
    return " ".join(texts[0].split()) if texts else ""


COLUMNS: Final = ("sequence", "time", "who", "target", "outcome", "what", "detail")


def row(event: Event, *, is_local: bool) -> list[str]:
    """The cells of `COLUMNS`."""
    record = event.record
    return [
        str(event.sequence),
        show_time(int(record.get("time", 0)), is_local=is_local),
        who(record),
        str(record.get("target", "")),
        state(event),
        what(event),
        detail(event),
    ]
