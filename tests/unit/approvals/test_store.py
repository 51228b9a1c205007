"""The life cycle in the store: what may happen, once, and what may not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.approvals.binding import binding_digest
from gateway.approvals.listing import Query, Viewer
from gateway.approvals.model import ApprovalRequest, Parameter
from gateway.approvals.refusal import Refusal, RefusalCode
from gateway.approvals.states import MOVES, ApprovalState, may_move
from gateway.approvals.store import ApprovalStore, Move
from gateway.approvals.terms import Terms
from gateway.errors import AuditUnwritable
from gateway.policy.principal import Principal

NOW = 1_700_000_000_000_000
MINUTE = 60_000_000
ALL = Viewer(key="", sees_all=True)


def asking(**changes: object) -> ApprovalRequest:
    terms = Terms(
        rule="bulk", approvers=("dba",), quorum=1, hold_s=20, request_ttl_s=1800, grant_ttl_s=600
    )
    who = Principal("corp", "https://idp", "bot", ("corp:agents",), "t1", 2e9, 1e9)
    request = ApprovalRequest(
        principal=who,
        target="orders",
        role="w",
        sql=b"DELETE FROM t",
        terms=terms,
        policy_digest="p1",
        params=(Parameter(23, 0, b"1"), Parameter(25, 1, None)),
        objects=("s.t", "s.u"),
        effects=("rows.delete",),
        search_path=("s", "public"),
        transaction="rw",
        catalog_version="c1",
        reason="because",
        ticket="T-1",
        session="s1",
    )
    return replace(request, **changes)  # type: ignore[arg-type]


class Shelf:
    """A store, the moves it made, and a switch that makes recording fail."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.moves: list[Move] = []
        self.is_full = False
        self.store = ApprovalStore.open(path, self.note)

    def note(self, move: Move) -> None:
        if self.is_full:
            raise AuditUnwritable("full")
        self.moves.append(move)

    def approved(self, request: ApprovalRequest | None = None) -> str:
        approval, _ = self.store.submit(request or asking(), NOW)
        self.store.vote(approval.id, "ann", "approve", "ok", NOW)
        return approval.id


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path / "store.db")
    yield shelf
    shelf.store.close()


def test_the_table_has_no_way_out_of_an_end() -> None:
    ends = {state for state in ApprovalState if state.is_final}
    assert {"DENIED", "EXPIRED", "CANCELLED", "REVOKED", "EXECUTED", "FAILED", "UNKNOWN"} == ends
    assert not may_move(ApprovalState.PENDING, ApprovalState.EXECUTING)
    assert all(not state.is_final for state in MOVES if MOVES[state])


CHANGES: dict[str, object] = {
    "target": "orders2",
    "role": "r",
    "sql": b"DELETE FROM t ",
    "policy_digest": "p2",
    "params": (Parameter(23, 0, b"2"), Parameter(25, 1, None)),
    "objects": ("s.t",),
    "effects": ("rows.delete", "rows.update"),
    "search_path": ("public", "s"),
    "transaction": "ro",
    "catalog_version": "c2",
    "reason": "other",
    "ticket": "T-2",
}


@pytest.mark.parametrize("field", CHANGES)
def test_any_difference_is_another_request(field: str) -> None:
    """Goal: an approval covers nothing but what was signed. Method: change one field at a time."""
    assert binding_digest(asking()) != binding_digest(asking(**{field: CHANGES[field]}))


@pytest.mark.parametrize(
    "params",
    [
        (),
        (Parameter(25, 0, b"1"), Parameter(25, 1, None)),
        (Parameter(23, 1, b"1"), Parameter(25, 1, None)),
        (Parameter(23, 0, b"1"), Parameter(25, 1, b"")),
        (Parameter(25, 1, None), Parameter(23, 0, b"1")),
    ],
)
def test_type_format_null_and_order_of_parameters_count(params: tuple[Parameter, ...]) -> None:
    assert binding_digest(asking()) != binding_digest(asking(params=params))


def test_who_asks_is_bound_but_not_the_token() -> None:
    who = asking().principal
    same = replace(who, token_id="t2", expires_at=3e9, groups=tuple(reversed(who.groups)))
    assert binding_digest(asking(principal=same)) == binding_digest(asking())
    for other in (
        replace(who, subject="bot2"),
        replace(who, issuer="https://other"),
        replace(who, groups=("corp:agents", "corp:more")),
        replace(who, agent="helper"),
    ):
        assert binding_digest(asking(principal=other)) != binding_digest(asking())


def test_a_resend_joins_the_open_request(shelf: Shelf) -> None:
    first, created = shelf.store.submit(asking(), NOW)
    again, created_again = shelf.store.submit(asking(session="s2"), NOW + 1)
    assert (created, created_again, again.id) == (True, False, first.id)
    shelf.store.vote(first.id, "ann", "approve", "", NOW + 2)
    assert shelf.store.submit(asking(), NOW + 3)[0].state is ApprovalState.APPROVED
    assert [move.event for move in shelf.moves] == ["requested", "approved"]


def test_a_denial_answers_resends_until_the_request_would_have_ended(shelf: Shelf) -> None:
    first, _ = shelf.store.submit(asking(), NOW)
    shelf.store.vote(first.id, "ann", "deny", "no", NOW)
    again, created = shelf.store.submit(asking(), NOW + 29 * MINUTE)
    assert (again.id, again.state, created) == (first.id, ApprovalState.DENIED, False)
    later, created = shelf.store.submit(asking(), NOW + 31 * MINUTE)
    assert created
    assert later.id != first.id


def test_an_approval_is_used_once(shelf: Shelf) -> None:
    approval_id = shelf.approved()
    digest = binding_digest(asking())
    assert shelf.store.consume(approval_id, digest, "w0:1:a", NOW)
    assert not shelf.store.consume(approval_id, digest, "w0:1:b", NOW)
    assert shelf.store.consume(approval_id, digest, "w0:1:a", NOW)  # the lost answer, repeated
    shelf.store.finish(approval_id, "executed", NOW)
    assert not shelf.store.consume(approval_id, digest, "w0:1:a", NOW)
    assert shelf.store.submit(asking(), NOW)[1]  # a further execution asks anew


def test_another_digest_does_not_consume(shelf: Shelf) -> None:
    approval_id = shelf.approved()
    other = binding_digest(asking(sql=b"DELETE FROM u"))
    assert not shelf.store.consume(approval_id, other, "h", NOW)
    assert shelf.store.get(approval_id).state is ApprovalState.APPROVED


def test_a_grant_runs_out(shelf: Shelf) -> None:
    approval_id = shelf.approved()
    assert not shelf.store.consume(approval_id, binding_digest(asking()), "h", NOW + 11 * MINUTE)
    assert shelf.store.get(approval_id).state is ApprovalState.EXPIRED


def test_nothing_is_decided_after_the_time(shelf: Shelf) -> None:
    approval, _ = shelf.store.submit(asking(), NOW)
    with pytest.raises(Refusal, match="expired"):
        shelf.store.vote(approval.id, "ann", "approve", "", NOW + 30 * MINUTE)
    assert shelf.store.expire_due(NOW + 30 * MINUTE) == [approval.id]
    with pytest.raises(Refusal, match="expired already"):
        shelf.store.vote(approval.id, "ann", "approve", "", NOW)


def test_a_quorum_counts_distinct_people(shelf: Shelf) -> None:
    terms = replace(asking().terms, quorum=2)
    approval, _ = shelf.store.submit(asking(terms=terms), NOW)
    assert shelf.store.vote(approval.id, "ann", "approve", "", NOW).state is ApprovalState.PENDING
    with pytest.raises(Refusal, match="already decided"):
        shelf.store.vote(approval.id, "ann", "approve", "", NOW)
    assert shelf.store.vote(approval.id, "bob", "approve", "", NOW).state is ApprovalState.APPROVED


def test_one_deny_denies_whatever_was_said_before(shelf: Shelf) -> None:
    terms = replace(asking().terms, quorum=3)
    approval, _ = shelf.store.submit(asking(terms=terms), NOW)
    shelf.store.vote(approval.id, "ann", "approve", "", NOW)
    assert shelf.store.vote(approval.id, "bob", "deny", "", NOW).state is ApprovalState.DENIED


def test_no_record_no_step(shelf: Shelf) -> None:
    """Goal: a step without its audit record does not exist. Method: a trail that is full."""
    approval, _ = shelf.store.submit(asking(), NOW)
    shelf.is_full = True
    with pytest.raises(AuditUnwritable):
        shelf.store.vote(approval.id, "ann", "approve", "", NOW)
    with pytest.raises(AuditUnwritable):
        shelf.store.submit(asking(sql=b"DELETE FROM u"), NOW)
    shelf.is_full = False
    assert shelf.store.get(approval.id) == approval
    assert len(shelf.store.find(ALL, Query())[0]) == 1
    assert shelf.store.vote(approval.id, "ann", "approve", "", NOW).state is ApprovalState.APPROVED


def test_a_restart_keeps_all_and_gives_up_what_ran(shelf: Shelf) -> None:
    pending, _ = shelf.store.submit(asking(sql=b"a"), NOW)
    approved = shelf.approved(asking(sql=b"b"))
    running = shelf.approved(asking(sql=b"c"))
    assert shelf.store.consume(running, binding_digest(asking(sql=b"c")), "0:1:x", NOW)
    shelf.store.close()
    shelf.store = ApprovalStore.open(shelf.path, shelf.note)
    assert shelf.store.give_up("", "restart", NOW) == [running]
    states = [shelf.store.get(i).state for i in (pending.id, approved, running)]
    assert states == ["PENDING", "APPROVED", "UNKNOWN"]
    assert not shelf.store.consume(running, binding_digest(asking(sql=b"c")), "0:1:x", NOW)
    late = shelf.store.finish(running, "executed", NOW)
    assert (late.state, late.outcome) == (ApprovalState.UNKNOWN, "executed")


def test_only_the_dead_workers_executions_are_given_up(shelf: Shelf) -> None:
    ids = []
    for number, sql in enumerate((b"a", b"b")):
        ids.append(shelf.approved(asking(sql=sql)))
        shelf.store.consume(ids[-1], binding_digest(asking(sql=sql)), f"{number}:1:x", NOW)
    assert shelf.store.give_up("1:1:", "the worker died", NOW) == [ids[1]]
    assert shelf.store.get(ids[0]).state is ApprovalState.EXECUTING


def test_one_principal_cannot_bury_the_others(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.approvals.store.APPROVALS_PENDING_PER_PRINCIPAL_MAX", 2)
    for sql in (b"a", b"b"):
        shelf.store.submit(asking(sql=sql), NOW)
    with pytest.raises(Refusal) as caught:
        shelf.store.submit(asking(sql=b"c"), NOW)
    assert caught.value.code is RefusalCode.TOO_MANY
    other = replace(asking().principal, subject="other")
    shelf.store.submit(asking(sql=b"c", principal=other), NOW)


def test_pages_reach_everything_once_and_show_only_what_may_be_seen(shelf: Shelf) -> None:
    for number in range(7):
        terms = replace(asking().terms, approvers=("dba",) if number % 2 else ("sec",))
        shelf.store.submit(asking(sql=b"%d" % number, terms=terms), NOW + number // 2)
    seen: list[str] = []
    cursor = ""
    while True:
        items, cursor = shelf.store.find(ALL, Query(limit=2, cursor=cursor))
        seen += [item.excerpt for item in items]
        if not cursor:
            break
    assert sorted(seen) == [str(number) for number in range(7)]
    decides = Viewer(key="x", groups=("dba",))
    assert len(shelf.store.find(decides, Query())[0]) == 3
    assert len(shelf.store.find(Viewer(key="x"), Query())[0]) == 0
    assert len(shelf.store.find(Viewer(key=asking().principal.key), Query())[0]) == 7


@pytest.mark.parametrize(
    "cursor", ["x", "é", "====", "MTow" * 100, "LTE6YQ", "OTk5OTk5OTk5OTk5OTk5OTk5OTk6YQ"]
)
def test_a_forged_cursor_is_refused(shelf: Shelf, cursor: str) -> None:
    with pytest.raises(Refusal, match="cursor"):
        shelf.store.find(ALL, Query(cursor=cursor))


def test_the_file_is_for_the_gateway_only(shelf: Shelf) -> None:
    assert shelf.path.stat().st_mode & 0o077 == 0


def test_what_a_worker_sends_survives_the_trip() -> None:
    assert ApprovalRequest.from_wire(asking().to_wire()) == asking()


@pytest.mark.parametrize(
    "change",
    [
        {"sql": ""},
        {"sql": 1},
        {"principal": {}},
        {"principal": None},
        {"params": [[23, 2, "MQ=="]]},
        {"params": [[23, 0, "%"]]},
        {"params": [[-1, 0, None]]},
        {"params": "x"},
        {"objects": [1]},
        {"approval": None},
        {"approval": {**asking().terms.to_wire(), "quorum": 0}},
        {"approval": {**asking().terms.to_wire(), "quorum": True}},
        {"approval": {**asking().terms.to_wire(), "from": []}},
        {"approval": {**asking().terms.to_wire(), "grant_ttl_s": float("nan")}},
        {"approval": {**asking().terms.to_wire(), "request_ttl_s": 1e12}},
        {"sql": "x" * 300_000},
        {"reason": "x" * 5_000},
    ],
)
def test_what_is_malformed_or_too_long_to_read_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Refusal):
        ApprovalRequest.from_wire({**asking().to_wire(), **change})
