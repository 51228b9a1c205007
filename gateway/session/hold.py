"""Hold a statement on the wire until a person has decided.

The wait belongs to this client alone: its later bytes wait, everybody else runs on. No server
connection and no lock is held meanwhile, which is why a statement inside an open transaction is
refused instead.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.approvals.client import Ticket, answer_error
from gateway.approvals.model import ApprovalRequest, Parameter
from gateway.approvals.states import ApprovalState
from gateway.approvals.terms import Terms
from gateway.errors import ApprovalPending, Cancelled, MaskedColumnUse
from gateway.limits import APPROVAL_HOLD_S_MAX, APPROVAL_NOTICE_S
from gateway.protocol.messages import build_notice
from gateway.session.bounding import limits_for_run

if TYPE_CHECKING:
    from gateway.session.session import Session

_OUTCOMES = {b"ok": "executed", b"error": "failed", b"skipped": "failed"}


async def hold_statement(session: Session) -> None:
    """Ask for an approval of the statement the relay stopped at, and wait for it.

    Returns when the statement may run once; raises the ClientError that refuses it otherwise.
    """
    relay = session.relay
    decision = relay.verdict.decision
    if decision.approval is None:
        raise MaskedColumnUse("the statement is held by a rule without approvers")
    if relay.would_run_in_transaction:
        raise ApprovalPending(
            "this statement needs an approval and is inside a transaction, which will not wait",
            hint="Send it by itself, outside BEGIN and COMMIT; it is held until decided.",
            facts={"rule": decision.approval["rule"]},
        )
    request = _request(session)
    relay.end_pipeline()
    session.flush()
    ticket = await session.worker.approvals.request(request)
    try:
        state, comment = await _await_decision(session, ticket)
    except asyncio.CancelledError:
        if not session.ended:
            # The client asked for it; a client that is merely gone may come back for it.
            await session.worker.approvals.cancel(ticket.id)
            raise Cancelled(
                "the statement was cancelled while it waited for an approval",
                facts={"approval": ticket.id},
            ) from None
        raise
    if state is not ApprovalState.APPROVED:
        raise answer_error(state, ticket.id, comment)
    if relay.is_stale:
        return  # decided anew first; the approval is found again if it still fits
    rows_max = await _consume(session, ticket)
    if rows_max is None:
        raise answer_error(ApprovalState.EXECUTING, ticket.id)
    if session.ended or relay.is_stale:
        await session.worker.approvals.finish(ticket.id, "failed")
        return
    if rows_max >= 0:
        # Nothing else is sent until the run is settled, so the bound is for it alone.
        rule = str(decision.approval["rule"])
        relay.use_limits(limits_for_run(session.login.rights.profile.bounds, rows_max, rule))
    relay.allow_once(ticket.id.encode(), ticket.id)


async def _consume(session: Session, ticket: Ticket) -> int | None:
    """Take the approval. A cancel meanwhile must not leave it taken and unused."""
    approvals = session.worker.approvals
    taking = session.worker.spawn(approvals.take(ticket), f"consume-{ticket.id}")

    async def give_up() -> None:
        if await taking is not None:
            await approvals.finish(ticket.id, "failed")

    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        session.worker.spawn(give_up(), f"give-up-{ticket.id}")
        raise


def report_finished(session: Session) -> None:
    """Tell the desk how approved statements ended."""
    finished, session.relay.finished = session.relay.finished, []
    session.relay.use_limits(session.login.rights.limits)
    for approval_id, outcome, _rows in finished:
        session.worker.spawn(
            session.worker.approvals.finish(approval_id, _OUTCOMES.get(outcome, "unknown")),
            f"finish-{approval_id}",
        )


async def _await_decision(session: Session, ticket: Ticket) -> tuple[ApprovalState, str]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(ticket.hold_s, APPROVAL_HOLD_S_MAX)
    state, comment = ticket.state, ticket.comment
    while state is ApprovalState.PENDING:
        left_s = deadline - loop.time()
        if left_s <= 0:
            break
        session.notice(
            build_notice(
                f"PN401 approval {ticket.id} is pending, holding for {left_s:.0f} s more",
                hint="It goes on by itself once a reviewer approves.",
            )
        )
        answer = await session.worker.approvals.wait(ticket.id, min(left_s, APPROVAL_NOTICE_S))
        state, comment = answer.state, answer.comment
    return state, comment


def _request(session: Session) -> ApprovalRequest:
    relay, login = session.relay, session.login
    decision = relay.verdict.decision
    return ApprovalRequest(
        principal=login.principal,
        target=login.target.name,
        role=login.rights.profile.level,
        sql=relay.asked_sql,
        terms=Terms.from_wire(decision.approval),
        policy_digest=decision.policy_digest,
        params=parameters_of(relay.asked_types, relay.asked_binds),
        objects=decision.objects,
        effects=decision.effects,
        transaction="autocommit",  # a statement inside a transaction is never held
        catalog_version=decision.catalog_version,
        reason=session.asked.get("reason", ""),
        ticket=session.asked.get("ticket", ""),
        session=login.session_id,
    )


def parameters_of(types: bytes, binds: bytes) -> tuple[Parameter, ...]:
    """Return the values of a Bind: format codes, then values, whose layout the relay checked."""
    if not binds:
        return ()
    format_count = int.from_bytes(binds[:2], "big")
    formats = [int.from_bytes(binds[2 + 2 * i : 4 + 2 * i], "big") for i in range(format_count)]
    pos = 2 + 2 * format_count
    count = int.from_bytes(binds[pos : pos + 2], "big")
    pos += 2
    parameters = []
    for index in range(count):
        size = int.from_bytes(binds[pos : pos + 4], "big", signed=True)
        pos += 4
        value = None if size < 0 else binds[pos : pos + size]
        pos += max(size, 0)
        oid = types[2 + 4 * index : 6 + 4 * index]
        code = formats[0] if format_count == 1 else formats[index] if index < format_count else 0
        parameters.append(Parameter(int.from_bytes(oid, "big"), code, value))
    return tuple(parameters)
