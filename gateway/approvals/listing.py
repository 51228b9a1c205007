"""Pages of requests, newest first, cut down to what the viewer may know of.

What a viewer may not see is left out by the query itself, so no count, cursor or page size tells
that it exists.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.approvals import schema
from gateway.approvals.bounds import EXCERPT_CHARS
from gateway.approvals.model import Approval, Listed
from gateway.approvals.refusal import Refusal, RefusalCode
from gateway.limits import HTTP_PAGE_ITEMS_MAX

if TYPE_CHECKING:
    import apsw

    from gateway.approvals.states import ApprovalState

_CURSOR_CHARS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Whose eyes a page is for: everything, or own requests and those `groups` decide on."""

    key: str
    groups: tuple[str, ...] = ()
    sees_all: bool = False

    def sees(self, approval: Approval) -> bool:
        """Tell whether this viewer may know of `approval`; the same rule as `find_page`'s."""
        return (
            self.sees_all
            or approval.request.principal.key == self.key
            or not set(self.groups).isdisjoint(approval.request.terms.approvers)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to list; empty fields do not filter."""

    states: tuple[ApprovalState, ...] = ()
    target: str = ""
    cursor: str = ""
    limit: int = 50


def find_page(db: apsw.Connection, viewer: Viewer, query: Query) -> tuple[list[Listed], str]:
    """Return one page and the cursor of the next, "" at the end.

    Raises Refusal(INVALID) for a cursor that this function did not make.
    """
    where: list[str] = []
    values: list[Any] = []
    if not viewer.sees_all:
        groups = _marks(viewer.groups)
        decides = f"SELECT 1 FROM json_each(a.approvers) g WHERE g.value IN ({groups})"  # noqa: S608
        where.append(f"(a.principal_key = ? OR EXISTS ({decides}))")
        values += [viewer.key, *viewer.groups]
    if query.states:
        where.append(f"a.state IN ({_marks(query.states)})")
        values += [state.value for state in query.states]
    if query.target:
        where.append("a.target = ?")
        values.append(query.target)
    if query.cursor:
        where.append("(a.created_us, a.id) < (?, ?)")
        values += _read_cursor(query.cursor)
    limit = max(1, min(query.limit, HTTP_PAGE_ITEMS_MAX))
    clause = f"WHERE {' AND '.join(where)}" if where else ""
    rows = db.execute(
        f"{schema.LIST} {clause} ORDER BY a.created_us DESC, a.id DESC LIMIT ?",
        (EXCERPT_CHARS, *values, limit + 1),
    ).fetchall()
    items = [schema.decode_listed(row) for row in rows[:limit]]
    return items, _write_cursor(items[-1]) if len(rows) > limit else ""


def _marks(values: tuple[Any, ...]) -> str:
    return ", ".join("?" * len(values))


def _write_cursor(last: Listed) -> str:
    return base64.urlsafe_b64encode(f"{last.created_us}:{last.id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, str]:
    unknown = Refusal(RefusalCode.INVALID, "unknown cursor")
    if len(cursor) > _CURSOR_CHARS_MAX:
        raise unknown
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        created_us, _, approval_id = raw.partition(":")
        value = int(created_us)
    except (ValueError, binascii.Error) as exc:
        raise unknown from exc
    if not 0 <= value < 2**63:
        raise unknown
    return value, approval_id
