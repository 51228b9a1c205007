"""When a decision may be given: hours, fresh logins, comments, known row counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.approvals.background import Preview
from gateway.approvals.terms import Terms, Window
from gateway.policy.bundle import Bundle
from gateway.policy.model import Approval, Policy
from tests.unit.control.plane import Plane, run

OFFICE = Window(days=("mon", "fri"), since="09:00", until="17:00", timezone="Europe/Berlin")
NIGHT = Window(days=("fri",), since="22:00", until="06:00", timezone="UTC")


@pytest.mark.parametrize(
    ("window", "moment", "holds"),
    [
        (OFFICE, "2026-01-05T08:00+00:00", True),  # Monday, 09:00 in Berlin
        (OFFICE, "2026-01-05T07:59+00:00", False),
        (OFFICE, "2026-01-05T16:00+00:00", False),
        (OFFICE, "2026-07-06T07:00+00:00", True),  # summer time
        (OFFICE, "2026-01-06T10:00+00:00", False),  # Tuesday
        (NIGHT, "2026-01-09T23:00+00:00", True),
        (NIGHT, "2026-01-10T05:59+00:00", True),  # Saturday morning belongs to Friday
        (NIGHT, "2026-01-10T06:00+00:00", False),
        (NIGHT, "2026-01-09T05:00+00:00", False),
    ],
)
def test_windows(window: Window, moment: str, holds: bool) -> None:
    assert window.holds(datetime.fromisoformat(moment).astimezone(UTC).timestamp()) is holds
    assert Window.from_wire(window.to_wire()) == window


def _terms(plane: Plane, **changes: Any) -> Terms:
    return replace(plane.asking().terms, **changes)


async def _decide(plane: Plane, terms: Terms, comment: str = "") -> tuple[int, str]:
    asking = plane.asking(terms=terms, ticket=f"{terms}")
    ticket = await plane.worker().request(asking)
    async with plane.http("ann") as http:
        path = f"/v1/approvals/{ticket.id}"
        shown = (await http.get(path)).json()
        answer = await http.post(f"{path}/approve", json={"comment": comment})
    if answer.status_code == 200:
        assert shown["may_decide"]
    return answer.status_code, answer.json().get("detail", "")


def test_closed_hours_refuse(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        never = Window(days=(), since="00:00", until="23:59", timezone="UTC")
        status, text = await _decide(plane, _terms(plane, windows=(never,)))
        assert (status, "only" in text) == (403, True)

    run(tmp_path, body)


def test_an_old_login_refuses(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        plane.clock.advance(120)
        status, text = await _decide(plane, _terms(plane, login_within_s=60.0))
        assert (status, "sign in again" in text) == (403, True)
        assert (await _decide(plane, _terms(plane, login_within_s=1e7)))[0] == 200

    run(tmp_path, body)


def test_a_comment_may_be_required(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        terms = _terms(plane, comment_required=True)
        status, text = await _decide(plane, terms)
        assert (status, "comment" in text) == (422, True)
        assert (await _decide(plane, terms, "checked"))[0] == 200

    run(tmp_path, body)


def test_rows_that_nobody_saw_bound_nothing(tmp_path: Path) -> None:
    """Goal: fail closed. Method: approve before, with a failed, and with a known count."""

    async def body(plane: Plane) -> None:
        terms = _terms(plane, max_rows_seen=2.0)
        assert (await _decide(plane, terms))[0] == 409
        asking = plane.asking(terms=terms, ticket=f"{terms}")
        ticket = await plane.worker().request(asking)
        await plane.desk.note_preview(ticket.id, Preview(problem="too slow"))
        status, text = await _decide(plane, terms)
        assert (status, "too slow" in text) == (409, True)
        await plane.desk.note_preview(ticket.id, Preview(rows=3))
        assert (await _decide(plane, terms))[0] == 200

    run(tmp_path, body)


GUARD = {
    "id": "g", "to": ["*"], "effects": ["rows.delete"], "then": "approve",
    "approval": {
        "from": ["dba"], "comment": "required", "login_within": "15m", "max_rows_seen": 1.5,
        "window": {"days": ["mon"], "from": "08:00", "to": "18:00", "timezone": "Asia/Tokyo"},
        "preview": {"dry_run_count": True},
    },
}  # fmt: skip


def test_a_policy_file_keeps_what_it_says() -> None:
    """Goal: a stored bundle means what the file meant. Method: there and back."""
    wire = {"version": 1, "groups": {"dba": {"from": ["i:dba"], "kind": "human"}}}
    bundle = Bundle.build(Policy.model_validate(wire | {"guards": [GUARD]}))
    again = Bundle.from_json(bundle.to_json()).policy.guards[0].approval
    assert again == bundle.policy.guards[0].approval
    assert (again.comment, again.login_within, again.max_rows_seen) == ("required", 900.0, 1.5)


@pytest.mark.parametrize(
    "window",
    [
        {"from": "8:00", "to": "18:00"},
        {"from": "08:00", "to": "24:30"},
        {"from": "08:00", "to": "18:00", "timezone": "Mars/Base"},
        {"from": "08:00", "to": "18:00", "days": ["monday"]},
    ],
)
def test_a_window_that_means_nothing_is_refused(window: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="window"):
        Approval.model_validate({"from": ["dba"], "window": window})
