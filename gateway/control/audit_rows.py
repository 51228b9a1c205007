"""Events of the trail as rows of a table, and the searches that find them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gateway.audit.search import TIME_MAX, Event, Query
from gateway.audit.view import detail, state, what, who
from gateway.audit.words import parse_words
from gateway.control.problems import HttpProblem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

QUERY_CHARS_MAX: Final = 500
PAGE_ROWS: Final = 100
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_BAD: Final = frozenset({"refused", "session.refused", "lost", "error"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line."""

    sequence: int
    time_us: int
    kind: str
    who: str
    target: str
    session: str
    state: str
    what: str
    detail: str
    is_bad: bool


def rows_of(events: Iterable[Event]) -> list[Row]:
    """Return events as a person reads them."""
    return [_row(event) for event in events]


def _row(event: Event) -> Row:
    record, became = event.record, state(event)
    kind = str(record.get("kind", ""))
    return Row(
        sequence=event.sequence,
        time_us=int(record.get("time", 0)),
        kind=kind,
        who=who(record),
        target=str(record.get("target", "")),
        session=str(record.get("session", "")),
        state=became,
        what=what(event),
        detail=detail(event),
        is_bad=became.split(" ")[0] in _BAD or kind.startswith("security."),
    )


def read_before(request: Request) -> int:
    """Return the sequence a page ends before; raises HttpProblem."""
    text = request.query_params.get("before", "")
    if not text:
        return TIME_MAX
    if not _NUMBER.fullmatch(text):
        raise HttpProblem(422, "before is a sequence number")
    return int(text)


def read_query(text: str, *, before: int = TIME_MAX, limit: int = PAGE_ROWS) -> Query:
    """Return the search that a person typed; raises HttpProblem with what would be understood."""
    if len(text) > QUERY_CHARS_MAX:
        raise HttpProblem(422, f"a search has at most {QUERY_CHARS_MAX} characters")
    try:
        said = parse_words(shlex.split(text), datetime.now(UTC))
    except ValueError as error:
        raise HttpProblem(422, str(error)) from error
    return Query(
        filters=said.filters, text=said.text, since_us=said.since_us, until_us=said.until_us,
        before=before, limit=limit,
    )  # fmt: skip
