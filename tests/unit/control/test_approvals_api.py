"""Approvals over the API and the worker's channel: who may, once, and in time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.approvals.client import Ticket, answer_error
from gateway.approvals.states import ApprovalState
from gateway.audit.records import find_unknown
from gateway.errors import ApprovalDenied, ApprovalPending, Cancelled, TooComplex
from tests.unit.control.plane import POLICY_TEXT, Plane, run


def test_from_hold_to_execution(tmp_path: Path) -> None:
    """Goal: the whole way. Method: hold, list, approve by HTTP, consume, finish."""

    async def body(plane: Plane) -> None:
        worker = plane.worker()
        ticket = await worker.request(plane.asking())
        waiting = asyncio.ensure_future(worker.wait(ticket.id, 20))
        await asyncio.sleep(0)
        async with plane.http("ann") as ann:
            listed = (await ann.get("/v1/approvals", params={"state": "pending"})).json()
            assert [item["id"] for item in listed["items"]] == [ticket.id]
            assert listed["next"] is None
            answer = await ann.post(f"/v1/approvals/{ticket.id}/approve", json={"comment": "ok"})
            assert (answer.status_code, answer.json()["state"]) == (200, "APPROVED")
        told = await asyncio.wait_for(waiting, 5)
        assert (told.state, told.comment) == (ApprovalState.APPROVED, "ok")
        assert await worker.consume(ticket)
        await worker.finish(ticket.id, "executed")
        assert (await plane.desk.get(ticket.id)).state is ApprovalState.EXECUTED
        kinds = [r["kind"] for r in plane.records if r["kind"].startswith("approval.")]
        assert kinds == [
            "approval.requested", "approval.decided", "approval.consumed", "approval.finished",
        ]  # fmt: skip
        assert [find_unknown(record) for record in plane.records] == [[]] * len(plane.records)

    run(tmp_path, body)


def test_fifty_consumes_are_one_execution(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        tickets = await asyncio.gather(
            *(plane.worker(n).request(plane.asking()) for n in range(50))
        )
        assert len({ticket.id for ticket in tickets}) == 1
        async with plane.http("ann") as ann:
            await ann.post(f"/v1/approvals/{tickets[0].id}/approve", json={})
        took = await asyncio.gather(*(plane.worker(n).consume(tickets[n]) for n in range(50)))
        assert took.count(True) == 1

    run(tmp_path, body)


def test_two_reviewers_at_once_are_one_decision(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking())
        async with plane.http("ann") as ann, plane.http("bob") as bob:
            answers = await asyncio.gather(
                ann.post(f"/v1/approvals/{ticket.id}/approve", json={}),
                bob.post(f"/v1/approvals/{ticket.id}/deny", json={}),
            )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        problem = next(answer for answer in answers if answer.status_code == 409)
        assert problem.headers["content-type"] == "application/problem+json"
        assert "already" in problem.json()["detail"]

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("asker", "decider", "status"),
    [
        ("owner", "owner", 403),  # the requester itself
        ("bot", "bot", 403),
        ("bot", "bot2", 404),  # another agent does not even see it
        ("owner-by-bot", "owner", 403),  # the person an agent acts for
        ("owner-by-bot", "bob", 403),  # the agent that acts, `act` of the token
        ("bot", "ann-by-bot", 404),  # a reviewer's token in an agent's hands
        ("bot", "mole", 404),  # a reviewer who is in an agents' group as well
        ("bot", "eve", 404),  # a reviewer of another guard
        ("bot", "nobody", 404),
        ("bot", "root", 403),  # an admin is not a reviewer
        ("bot", "sam", 403),  # nor is an auditor
        ("bot", "stranger", 401),
        ("bot", None, 401),
        ("bot", "ann", 200),
    ],
)
def test_who_may_approve(tmp_path: Path, asker: str, decider: str | None, status: int) -> None:
    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking(asker))
        async with plane.http(decider) as http:
            answer = await http.post(f"/v1/approvals/{ticket.id}/approve", json={})
        assert answer.status_code == status, answer.text
        state = (await plane.desk.get(ticket.id)).state
        assert state == ("APPROVED" if status == 200 else "PENDING")
        assert plane.records[-1]["kind"] == "admin.action"
        assert plane.records[-1]["status"] == status

    run(tmp_path, body)


def test_the_configured_reviewers_are_needed_as_well(tmp_path: Path) -> None:
    """A guard that names a group outside control.reviewers has no approver, not any approver."""

    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking(approvers=("platform",)))
        async with plane.http("root") as root:
            answer = await root.post(f"/v1/approvals/{ticket.id}/approve", json={})
        assert (answer.status_code, "control.reviewers" in answer.text) == (403, True)

    run(tmp_path, body)


def test_a_login_that_expired_decides_nothing(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        plane.clock.advance(49_990)
        ticket = await plane.worker().request(plane.asking())
        plane.clock.advance(20)
        async with plane.http("ann") as ann:
            answer = await ann.post(f"/v1/approvals/{ticket.id}/approve", json={})
        assert (answer.status_code, answer.json()["detail"]) == (403, "your login has expired")

    run(tmp_path, body)


def test_a_quorum_of_two(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        worker = plane.worker()
        ticket = await worker.request(plane.asking(quorum=2))
        path = f"/v1/approvals/{ticket.id}/approve"
        async with plane.http("ann") as ann, plane.http("bob") as bob:
            assert (await ann.post(path, json={})).json()["state"] == "PENDING"
            assert (await ann.post(path, json={})).status_code == 409
            assert not await worker.consume(ticket)
            assert (await bob.post(path, json={})).json()["state"] == "APPROVED"
        assert await worker.consume(ticket)

    run(tmp_path, body)


def test_a_deny_ends_the_hold_with_its_comment(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        worker = plane.worker()
        ticket = await worker.request(plane.asking())
        async with plane.http("bob") as bob:
            await bob.post(f"/v1/approvals/{ticket.id}/deny", json={"comment": "add a WHERE"})
        told = await worker.wait(ticket.id, 5)
        error = answer_error(told.state, ticket.id, told.comment)
        assert isinstance(error, ApprovalDenied)
        assert "add a WHERE" in error.text()
        again = await worker.request(plane.asking())
        assert (again.id, again.state, again.comment) == (ticket.id, "DENIED", "add a WHERE")

    run(tmp_path, body)


def test_after_cancel_expiry_and_policy_change_nothing_is_approved(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        worker = plane.worker()
        cancelled = await worker.request(plane.asking(sql=b"a"))
        await worker.cancel(cancelled.id)
        expired = await worker.request(plane.asking(sql=b"b"))
        plane.clock.advance(1801)
        await plane.desk.tick()
        stale = await worker.request(plane.asking(sql=b"c"))
        approved = await worker.request(plane.asking(sql=b"d"))
        async with plane.http("ann") as ann:
            await ann.post(f"/v1/approvals/{approved.id}/approve", json={})
            plane.activate({**POLICY_TEXT, "denies": [
                {"id": "x", "to": ["billing-agents"], "effects": ["egress.*"]}
            ]})  # fmt: skip
            for ticket, word in ((cancelled, "cancelled"), (expired, "expired"), (stale, "policy")):
                answer = await ann.post(f"/v1/approvals/{ticket.id}/approve", json={})
                assert answer.status_code == 409
                assert word in answer.json()["detail"]
        assert not await worker.consume(approved)
        await plane.desk.tick()
        states = [(await plane.desk.get(t.id)).state for t in (cancelled, expired, stale, approved)]
        assert states == ["CANCELLED", "EXPIRED", "CANCELLED", "REVOKED"]
        assert isinstance(answer_error(states[0], "x"), Cancelled)

    run(tmp_path, body)


def test_a_wait_ends_with_its_time_and_with_expiry(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        worker = plane.worker()
        ticket = await worker.request(plane.asking())
        assert (await worker.wait(ticket.id, 0.01)).state is ApprovalState.PENDING
        waiting = asyncio.ensure_future(worker.wait(ticket.id, 20))
        await asyncio.sleep(0.01)
        plane.clock.advance(1801)
        await plane.desk.tick()
        assert (await asyncio.wait_for(waiting, 5)).state is ApprovalState.EXPIRED
        assert plane.desk._waiters == {}

    run(tmp_path, body)


def test_a_restart_of_control_keeps_requests_and_gives_up_executions(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        worker = plane.worker()
        held = await worker.request(plane.asking(sql=b"a"))
        taken = await worker.request(plane.asking(sql=b"b"))
        async with plane.http("ann") as ann:
            await ann.post(f"/v1/approvals/{taken.id}/approve", json={})
        assert await worker.consume(taken)
        await plane.desk.stop()
        await plane.start()
        assert (await plane.desk.get(taken.id)).state is ApprovalState.UNKNOWN
        assert not await worker.consume(taken)
        assert (await worker.request(plane.asking(sql=b"a"))).id == held.id

    run(tmp_path, body)


def test_a_worker_that_died_leaves_its_execution_unknown(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        await plane.request({"op": "session.sync", "worker": 3, "generation": 1, "sessions": []}, 1)
        worker = plane.worker(3, 1)
        ticket = await worker.request(plane.asking())
        async with plane.http("ann") as ann:
            await ann.post(f"/v1/approvals/{ticket.id}/approve", json={})
        assert await worker.consume(ticket)
        await plane.request({"op": "session.sync", "worker": 3, "generation": 2, "sessions": []}, 1)
        assert (await plane.desk.get(ticket.id)).state is ApprovalState.UNKNOWN

    run(tmp_path, body)


def test_without_an_audit_trail_nothing_is_decided_or_told(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        worker = plane.worker()
        ticket = await worker.request(plane.asking())
        plane.is_full = True
        async with plane.http("ann") as ann:
            answer = await ann.post(f"/v1/approvals/{ticket.id}/approve", json={})
            listed = await ann.get("/v1/approvals")
        assert (answer.status_code, listed.status_code) == (503, 503)
        assert "DELETE" not in listed.text
        assert listed.headers["content-security-policy"]
        with pytest.raises(ApprovalPending):
            await worker.request(plane.asking(sql=b"other"))
        plane.is_full = False
        assert (await plane.desk.get(ticket.id)).state is ApprovalState.PENDING

    run(tmp_path, body)


def test_what_one_may_not_see_reads_like_what_does_not_exist(tmp_path: Path) -> None:
    """Goal: no oracle for ids. Method: the same call for a hidden and for a missing request."""

    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking())
        for who in ("bot2", "eve", "nobody", "mole"):
            async with plane.http(who) as http:
                assert (await http.get("/v1/approvals")).json()["items"] == []
                for verb in ("", "/approve", "/deny", "/cancel", "/revoke"):
                    method = "POST" if verb else "GET"
                    hidden = await http.request(method, f"/v1/approvals/{ticket.id}{verb}")
                    missing = await http.request(method, f"/v1/approvals/0000000000000000{verb}")
                    assert hidden.status_code == missing.status_code == 404
                    assert hidden.text == missing.text
        answer = await plane.request(
            {"op": "approval.show", "id": ticket.id, "principal_key": "someone|else"}, 1
        )
        assert answer["refused"] == "not_found"

    run(tmp_path, body)


def test_the_requester_sees_and_cancels_its_own(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking())
        async with plane.http("bot") as bot, plane.http("ann") as ann:
            shown = (await bot.get(f"/v1/approvals/{ticket.id}")).json()
            assert (shown["may_decide"], shown["sql"]) == (False, "DELETE FROM sales.orders")
            refused = await ann.post(f"/v1/approvals/{ticket.id}/cancel", json={})
            assert refused.status_code == 403
            answer = await bot.post(f"/v1/approvals/{ticket.id}/cancel", json={})
            assert answer.json()["state"] == "CANCELLED"

    run(tmp_path, body)


def test_an_approval_can_be_revoked_until_it_is_used(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        worker = plane.worker()
        ticket = await worker.request(plane.asking())
        async with plane.http("ann") as ann, plane.http("bot") as bot:
            await ann.post(f"/v1/approvals/{ticket.id}/approve", json={})
            assert (await bot.post(f"/v1/approvals/{ticket.id}/revoke", json={})).status_code == 403
            answer = await ann.post(f"/v1/approvals/{ticket.id}/revoke", json={})
            assert answer.json()["state"] == "REVOKED"
        assert not await worker.consume(ticket)

    run(tmp_path, body)


def test_an_etag_of_what_changed_since_is_a_conflict(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking(quorum=2))
        path = f"/v1/approvals/{ticket.id}"
        async with plane.http("ann") as ann, plane.http("bob") as bob:
            etag = (await bob.get(path)).headers["etag"]
            await ann.post(f"{path}/approve", json={})
            headers = {"if-match": etag}
            assert (await bob.post(f"{path}/approve", headers=headers)).status_code == 409
            fresh = {"if-match": (await bob.get(path)).headers["etag"]}
            assert (await bob.post(f"{path}/approve", headers=fresh)).status_code == 200

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/v1/approvals?state=nonsense", {}, 422),
        ("GET", "/v1/approvals?limit=0", {}, 422),
        ("GET", "/v1/approvals?limit=501", {}, 422),
        ("GET", "/v1/approvals?limit=%C2%B2", {}, 422),
        ("GET", "/v1/approvals?sate=PENDING", {}, 422),
        ("GET", "/v1/approvals?state=PENDING&state=DENIED", {}, 422),
        ("GET", "/v1/approvals?cursor=zzz", {}, 422),
        ("GET", "/v1/nothing", {}, 404),
        ("DELETE", "/v1/approvals", {}, 405),
        ("POST", "/v1/approvals/{id}/approve", {"content": b"{"}, 415),
        ("POST", "/v1/approvals/{id}/approve", {"data": {"comment": "x"}}, 415),
        ("POST", "/v1/approvals/{id}/approve", {"json": []}, 422),
        ("POST", "/v1/approvals/{id}/approve", {"json": {"comment": 1}}, 422),
        ("POST", "/v1/approvals/{id}/approve", {"json": {"coment": "x"}}, 422),
        ("POST", "/v1/approvals/{id}/approve", {"json": {"comment": "x" * 2001}}, 422),
        ("POST", "/v1/approvals/{id}/approve", {"json": {}, "headers": {"if-match": "W/x"}}, 422),
        ("POST", "/v1/approvals/{id}/approve", {"json": {"comment": "x" * (1 << 20)}}, 413),
    ],
)
def test_malformed_calls_are_problems(
    tmp_path: Path, method: str, path: str, options: dict[str, object], status: int
) -> None:
    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking())
        async with plane.http("ann") as ann:
            answer = await ann.request(method, path.replace("{id}", ticket.id), **options)  # type: ignore[arg-type]
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
        assert (await plane.desk.get(ticket.id)).state is ApprovalState.PENDING

    run(tmp_path, body)


def test_what_a_person_cannot_read_is_not_filed(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        with pytest.raises(TooComplex):
            await plane.worker().request(plane.asking(sql=b"x" * 300_000))
        forged = Ticket("0" * 16, ApprovalState.APPROVED, "0" * 64, 20.0)
        assert not await plane.worker().consume(forged)
        with pytest.raises(ApprovalPending):
            await plane.worker().wait("0" * 16, 1)

    run(tmp_path, body)


def test_guessing_tokens_is_slowed_down(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        async with plane.http("wrong") as http:
            statuses = [(await http.get("/v1/whoami")).status_code for _ in range(25)]
        assert statuses[:20] == [401] * 20
        assert statuses[20:] == [429] * 5
        plane.clock.advance(60)
        async with plane.http("ann") as ann:
            answer = (await ann.get("/v1/whoami")).json()
        assert (answer["roles"], answer["is_agent"]) == (["reviewer"], False)
        assert {
            r["reason"] for r in plane.records if r["kind"] == "admin.action" and r["status"] == 401
        } == {"no such person"}

    run(tmp_path, body)
