"""What a reviewer is told beside the request itself: what it would do, and what was asked before.

A preview is advice and never part of what is signed, with one exception: where the guard bounds the
run by what the reviewer saw, the number of rows is kept with the decision.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from gateway.approvals import schema
from gateway.approvals.bounds import EXCERPT_CHARS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import apsw

    from gateway.approvals.model import Approval, Listed

EARLIER_MAX: Final = 5
PREVIEW_BYTES_MAX: Final = 256 << 10

SCHEMA = """
CREATE TABLE IF NOT EXISTS approval_previews (
    approval TEXT PRIMARY KEY REFERENCES approvals (id),
    preview TEXT NOT NULL,
    rows_told INTEGER
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the database said a statement would do; see `gateway.process.preview`."""

    rows: int | None = None
    counted: bool = False  # counted by a run that was rolled back, not estimated
    problem: str = ""
    plan: tuple[Mapping[str, Any], ...] = ()
    triggers: tuple[str, ...] = ()
    cascades: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the shape the API shows."""
        return {
            "rows": self.rows,
            "counted": self.counted,
            "problem": self.problem,
            "plan": list(self.plan),
            "triggers": list(self.triggers),
            "cascades": list(self.cascades),
            "masks": list(self.masks),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Preview:
        """Rebuild what an analyzer sent or `to_json` gave."""
        rows = wire.get("rows")
        return cls(
            rows=rows if isinstance(rows, int) else None,
            counted=wire.get("counted") is True,
            problem=str(wire.get("problem", "")),
            plan=tuple(wire.get("plan", ())),
            triggers=tuple(map(str, wire.get("triggers", ()))),
            cascades=tuple(map(str, wire.get("cascades", ()))),
            masks=tuple(map(str, wire.get("masks", ()))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """Everything about one request that is not the request."""

    preview: Preview | None = None  # None: not here yet
    earlier: tuple[Listed, ...] = field(default=())


def save_preview(db: apsw.Connection, approval_id: str, preview: Preview) -> None:
    """Keep `preview`; one that is too large keeps its numbers only."""
    text = orjson.dumps(preview.to_json())
    if len(text) > PREVIEW_BYTES_MAX:
        short = Preview(rows=preview.rows, counted=preview.counted, problem="the plan is too long")
        text = orjson.dumps(short.to_json())
    db.execute(
        "INSERT OR REPLACE INTO approval_previews (approval, preview, rows_told) VALUES (?, ?, ?)",
        (approval_id, text.decode(), preview.rows),
    )


def read_background(db: apsw.Connection, approval: Approval) -> Background:
    """Return the preview of `approval`, and what its requester asked before that is like it."""
    row = db.execute(
        "SELECT preview FROM approval_previews WHERE approval = ?", (approval.id,)
    ).fetchone()
    values = schema.encode(approval.request)
    earlier = db.execute(
        f"{schema.LIST} WHERE a.principal_key = ? AND a.target = ? AND a.objects = ?"
        " AND a.effects = ? AND a.created_us <= ? AND a.id <> ?"
        " ORDER BY a.created_us DESC, a.id DESC LIMIT ?",
        (
            EXCERPT_CHARS, values["principal_key"], values["target"], values["objects"],
            values["effects"], approval.created_us, approval.id, EARLIER_MAX,
        ),
    ).fetchall()  # fmt: skip
    return Background(
        preview=None if row is None else Preview.from_wire(orjson.loads(str(row[0]))),
        earlier=tuple(schema.decode_listed(line) for line in earlier),
    )
