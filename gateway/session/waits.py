"""What a session waits for, each in its one task: a decision, a connection, the journal, rights.

A ClientError raised here refuses the statement that waits; holds are in `hold.py`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from gateway import metrics
from gateway.errors import (
    AuditUnwritable,
    ClientError,
    IdentityRevoked,
    NoGrantOnTarget,
    NotReady,
)
from gateway.policy.decision import DecideRequest, Decision
from gateway.session.lifetime import end_now
from gateway.session.verdicts import build_verdict

if TYPE_CHECKING:
    from gateway.session.session import Session

_JOURNAL_WAIT_S = 1.0
_JOURNAL_POLL_S = 0.005
_PENDING = metrics.ANALYSIS_PENDING.slot()


async def decide(session: Session) -> None:
    """Have an analyzer decide the statement the relay asked about, and remember the verdict."""
    relay, login = session.relay, session.login
    sql, types = relay.asked_sql, relay.asked_types
    request = DecideRequest(
        principal=login.principal,
        target=login.target.name,
        requested=login.requested,
        sql=sql,
        param_oids=_oids(types),
        in_transaction=relay.would_run_in_transaction,
    )
    started_ns = time.monotonic_ns()
    metrics.inc(_PENDING)
    try:
        decision = Decision.from_wire(await session.worker.analyzer.decide(request.to_wire()))
    finally:
        metrics.inc(_PENDING, -1)
        metrics.observe(metrics.ANALYSIS, (time.monotonic_ns() - started_ns) / 1e9)
    if decision.profile_key != login.rights.profile.key and decision.profile_key:
        # Policy or catalog moved on between our profile and this answer.
        session.worker.rights.forget()
        await renew_rights(session)
        return
    if decision.local is not None and "set" in decision.local:
        name, value = decision.local["set"]
        session.asked[name] = value
    verdict = build_verdict(decision)
    if decision.cache != "never":
        relay.cache.add(sql, types, verdict, by_fingerprint=decision.cache == "fingerprint")
    relay.answer(verdict)


async def attach_later(session: Session) -> None:
    """Wait for a server connection; without one in time the session ends."""
    started_ns = time.monotonic_ns()
    try:
        server = await session.pool.acquire(session.relay.principal)
    except ClientError as error:
        if error.severity != "FATAL":
            raise
        session.fail(error, "no_server_connection")
        return
    metrics.observe(metrics.POOL_WAIT, (time.monotonic_ns() - started_ns) / 1e9)
    if session.ended:
        session.pool.release(server)
        return
    session.attach(server)


async def await_journal(session: Session) -> None:
    """Give the writer a moment; then refuse rather than run unrecorded."""
    journal = session.worker.journal
    deadline = time.monotonic() + _JOURNAL_WAIT_S
    before = journal.free_bytes()
    while time.monotonic() < deadline:
        await asyncio.sleep(_JOURNAL_POLL_S)
        if journal.free_bytes() > before:
            return
    raise AuditUnwritable("the audit trail takes no record, so the statement was not run")


async def renew_rights(session: Session) -> None:
    """Fetch the rights anew after policy, catalog or revocations moved; end what lost them."""
    login, worker = session.login, session.worker
    level = login.rights.profile.level
    rights = await worker.rights.load(login.principal, login.target.name, login.requested)
    if rights is None or rights.profile.level != level:
        # Another level means other server roles: a new session has them from its start.
        session.fail(NoGrantOnTarget("the grants of this session have changed"), "rights_changed")
        return
    try:
        # Last and without a wait behind it, so that it holds for the list it was made from.
        worker.lifetime.check(login.principal, login.session_id)
    except (IdentityRevoked, NotReady) as error:
        end_now(session, error, "revoked")
        return
    session.use_rights(rights)


def _oids(types: bytes) -> tuple[int, ...]:
    """Parameter type OIDs of a Parse message, count first."""
    return tuple(int.from_bytes(types[at : at + 4], "big") for at in range(2, len(types) - 3, 4))
