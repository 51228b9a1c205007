"""The search language: `who:agent-7 when:yesterday object:sales.* decision:deny refund`.

Each `name:value` narrows, words without a name are looked for in the statement. Nothing here
is more than the options of `postern audit search`, only shorter to type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.audit.search import FILTERS, TIME_MAX, Query
from gateway.audit.view import parse_time

_NAMES: Final[Mapping[str, str]] = {
    "who": "subject", "what": "text", "when": "when", **{name: name for name in FILTERS},
}  # fmt: skip
_AGO: Final = re.compile(r"(?:last\s+)?(\d+\s*[smhdw])(?:\s+ago)?")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNITS: Final = ("day", "week", "month")


def parse_when(text: str, now: datetime) -> tuple[int, int]:
    """(from, to) in microseconds of `2h`, `yesterday`, `this week`, `2026-01-31` or `A..B`.

    Days are local, as the person at the terminal means them. Raises ValueError.
    """
    text = text.strip().lower()
    if ".." in text:
        since, _, until = text.partition("..")
        low = parse_when(since, now)[0] if since else 0
        return low, parse_when(until, now)[1] if until else TIME_MAX
    if match := _AGO.fullmatch(text):
        return parse_time(match[1], now), TIME_MAX
    today = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    starts = {"day": today, "week": today - timedelta(days=today.weekday())}
    starts["month"] = today.replace(day=1)
    for unit in _UNITS:
        start = starts[unit]
        if text in (f"this {unit}", "today" if unit == "day" else ""):
            return _us(start), TIME_MAX
        if text in (f"last {unit}", "yesterday" if unit == "day" else ""):
            before = start - timedelta(days=1 if unit != "week" else 7)
            return _us(before.replace(day=1) if unit == "month" else before), _us(start) - 1
    if _DAY.fullmatch(text):
        start = datetime.fromisoformat(text).astimezone()
        return _us(start), _us(start + timedelta(days=1)) - 1
    moment = parse_time(text, now)
    return moment, TIME_MAX


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)


def parse_words(words: Iterable[str], now: datetime | None = None) -> Query:
    """The query that `words` are. Raises ValueError with what would be understood."""
    now = now or datetime.now(UTC)
    filters: dict[str, str] = {}
    texts: list[str] = []
    since, until = 0, TIME_MAX
    for word in words:
        name, colon, value = word.partition(":")
        if not colon or not name.isalpha():
            texts.append(word)
        elif name not in _NAMES:
            raise ValueError(f"{name!r} is not one of {', '.join(_NAMES)}")
        elif _NAMES[name] == "text":
            texts.append(value)
        elif _NAMES[name] == "when":
            since, until = parse_when(value, now)
        elif _NAMES[name] in filters:
            raise ValueError(f"{name} is given twice; all conditions hold at once")
        else:
            filters[_NAMES[name]] = value
    return Query(filters=filters, text=" ".join(texts), since_us=since, until_us=until)
