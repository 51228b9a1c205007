"""The limits of a policy at work in a session: what is sent, recorded and cancelled.

Rows, bytes and changed rows are counted in compiled code, which is given the errors here. Time
is watched here, for all sessions of a worker at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

import orjson

from _fastpath.bounds import Budget, StatementLimits
from gateway import metrics
from gateway.errors import (
    ClientError,
    NotReady,
    OverBudget,
    OverRows,
    OverTime,
    TooManySessions,
    quote_name,
)
from gateway.ipc.tallies import SessionPlace
from gateway.limits import LIMIT_POLL_S
from gateway.policy.bounds import Bound, Bounds
from gateway.protocol.messages import build_error
from gateway.session.codes import Event
from gateway.units import format_duration, format_size

if TYPE_CHECKING:
    from gateway.session.login import Login
    from gateway.session.session import Session
    from gateway.session.worker import Worker
    from gateway.upstream.pool import ServerConnection

# In the order of `OverLimit` in `_fastpath/bounds.pxd`.
_KINDS: Final = ("", "rows", "bytes", "affected_rows", "affected_rows", "time")
_UNCOUNTED: Final = 4
_SWEEP_SIZE: Final = 500


def statement_limits(bounds: Bounds) -> StatementLimits | None:
    """Return what the relay holds each statement against, None where nothing is limited."""
    of_one = (bounds.rows, bounds.bytes, bounds.affected_rows, bounds.time, bounds.estimated_cost)
    if not any(of_one):
        return None
    errors, members = [b""], [b""]
    for which, kind in enumerate(_KINDS[1:], 1):
        bound: Bound | None = getattr(bounds, kind)
        if bound is None:
            errors.append(b"")
            members.append(b"")
            continue
        error = _error(kind, bound, is_counted=which != _UNCOUNTED)
        errors.append(build_error(error))
        members.append(_members(kind, bound, error, is_enforced=bounds.enforced))
    return StatementLimits(
        _most(bounds.rows),
        _most(bounds.bytes),
        _most(bounds.affected_rows),
        int(bounds.time.max * 1e9) if bounds.time else -1,
        bounds.estimated_cost.max if bounds.estimated_cost else -1.0,
        enforced=bounds.enforced,
        errors=tuple(errors),
        members=tuple(members),
    )


def limits_for_run(bounds: Bounds, rows_max: int, rule: str) -> StatementLimits | None:
    """Return `bounds` with at most `rows_max` changed rows, for one approved statement."""
    own = bounds.affected_rows
    if own is None or rows_max < own.max:
        bounds = replace(bounds, affected_rows=Bound(rows_max, rule), enforced=True)
    return statement_limits(bounds)


def budget_of(worker: Worker, login: Login, bounds: Bounds) -> Budget | None:
    """Return the principal's windows on this target, None without any that is enforced.

    Raises NotReady when the shared table has no place left for one.
    """
    if not bounds.statements or not bounds.enforced:
        return None
    windows = []
    for window in bounds.statements:
        period_us = int(window.per_s * 1e6)
        place = worker.tallies.window(tally_name(login), period_us)
        if place is None:
            raise NotReady("too many principals are counted at once", reason="tallies are full")
        windows.append((*place, period_us, window.max))
    return Budget(worker.tallies.words, tuple(windows))


def tally_name(login: Login) -> str:
    """Under which name sessions and statements count: principal and target."""
    return f"{login.target.name}\0{login.principal.key}"


def over_budget(session: Session) -> ClientError:
    """The refusal of a statement whose principal has used up a window."""
    budget = session.relay.budget
    windows = session.login.rights.profile.bounds.statements
    if budget is None or budget.over >= len(windows):
        return OverBudget("the budget of this identity is spent")
    window = windows[budget.over]
    _, resets_us = budget.used(budget.over)
    resets = datetime.fromtimestamp(resets_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metrics.inc(metrics.LIMITS_EXCEEDED.slot("statements"))
    per = format_duration(window.per_s)
    return OverBudget(
        f"{window.max} statements per {per} are used up, rule {quote_name(window.rule)}; "
        f"the next window begins at {resets}",
        facts={"limit": "statements", "max": window.max, "rule": window.rule, "resets_at": resets},
    )


def enter(login: Login) -> SessionPlace | None:
    """Count the session of `login`; raises TooManySessions when there are enough."""
    bounds = login.rights.profile.bounds
    if bounds.sessions is None:
        return None
    worker, most = login.worker, int(bounds.sessions.max)
    place = worker.tallies.enter(tally_name(login), worker.context.worker_id, most)
    if place is None:
        metrics.inc(metrics.LIMITS_EXCEEDED.slot("sessions"))
        if bounds.enforced:
            rule = bounds.sessions.rule
            raise TooManySessions(
                f"this identity has {most} sessions open, all that rule {quote_name(rule)} allows",
                facts={"limit": "sessions", "max": most, "rule": rule},
            )
    return place


def _most(bound: Bound | None) -> int:
    return int(bound.max) if bound is not None else -1


def _error(kind: str, bound: Bound, *, is_counted: bool) -> ClientError:
    rule = quote_name(bound.rule)
    facts = {"limit": kind, "max": bound.max, "rule": bound.rule}
    if kind == "time":
        took = format_duration(bound.max)
        return OverTime(f"cancelled: it ran longer than {took}, rule {rule}", facts=facts)
    if kind == "rows":
        return OverRows(f"the result has more than {bound.max:g} rows, rule {rule}", facts=facts)
    if kind == "bytes":
        size = format_size(int(bound.max))
        return OverRows(f"the result has more than {size}, rule {rule}", facts=facts)
    hint = "Narrow the condition; everything the statement did is undone."
    if not is_counted:
        text = f"how many rows changed is not known before all of RETURNING is read, rule {rule}"
        return OverRows(text, hint="Execute it without a row limit.", facts=facts)
    text = f"the statement changes more than {bound.max:g} rows, rule {rule}; nothing was changed"
    return OverRows(text, hint=hint, facts=facts)


def _members(kind: str, bound: Bound, error: ClientError, *, is_enforced: bool) -> bytes:
    """What the result record says of an exceeded limit, as JSON members."""
    said = {"limit": kind, "rule": bound.rule}
    if is_enforced:
        said |= {"error": error.id, "sqlstate": error.sqlstate}
    else:
        said["shadow"] = error.id
    return b"," + orjson.dumps(said)[1:-1]


def on_over(session: Session) -> None:
    """Count a limit that a statement exceeded, and stop what the server still does for it."""
    relay = session.relay
    kind = _KINDS[relay.over]
    metrics.inc(metrics.LIMITS_EXCEEDED.slot(kind))
    if relay.limits is None or not relay.limits.enforced:
        return
    metrics.inc(metrics.REFUSALS.slot("PN502" if kind == "time" else "PN501"))
    if kind != "time" and session.server is not None and session.server.link.owed > 0:
        stop_statement(session)


def stop_statement(session: Session) -> None:
    """Cancel what runs. The client's next messages wait: the cancel must not hit them."""
    server: ServerConnection = session.server  # type: ignore[assignment]
    if server.link.held or server.link.is_setting_up():
        return
    server.link.held = True
    server.reserve()
    session.worker.spawn(_stop(session, server), f"stop-{session.login.session_id}")


async def _stop(session: Session, server: ServerConnection) -> None:
    try:
        await server.cancel()
    finally:
        server.link.held = False
    if session.server is not server:
        return
    relay = session.relay
    relay.forget_time()
    if session.task is None and not session.ended:
        cast("asyncio.ReadTransport", session.transport).resume_reading()
        session.pump()
    # What became idle meanwhile was reserved for the cancel.
    relay.events |= Event.IDLE
    session.on_events()


async def watch_time(worker: Worker) -> None:
    """Cancel statements that run longer than their limit, until cancelled itself."""
    while True:
        await asyncio.sleep(LIMIT_POLL_S)
        for index, session in enumerate(tuple(worker.sessions.values())):
            if index % _SWEEP_SIZE == _SWEEP_SIZE - 1:
                await asyncio.sleep(0)
            if session.server is not None and session.relay.out_of_time():
                stop_statement(session)
