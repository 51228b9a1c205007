"""What a statement would cost by the planner's estimate, asked before it runs.

Asked with EXPLAIN on connections of the gateway's own, under the role of the session's level: a
session's own transaction sees nothing of it. The price is that what the transaction has created is
unknown there, and that what it has locked makes the question fail. A question that is not answered
refuses the statement.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import orjson

from gateway import metrics
from gateway.errors import ConfigError, OverCost, UpstreamError, quote_name
from gateway.session.hold import parameters_of
from gateway.upstream.ask import Asker, ServerRefused
from gateway.upstream.dial import dial
from gateway.upstream.logins import resolve_login
from gateway.upstream.startup import Level, build_role_setup, build_server_startup

if TYPE_CHECKING:
    from gateway.config import Target
    from gateway.policy.bounds import Bound
    from gateway.session.session import Session

_AT_ONCE: Final = 4  # questions of one worker at a time, and connections it keeps for them
_DIAL_S: Final = 5.0
_ASK_S: Final = 10.0
_PLAN_MS: Final = 5_000
_LOCK_MS: Final = 500


class Planner:
    """Asks the databases of one worker for costs."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, Level], list[Asker]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def cost(
        self, target: Target, level: Level, sql: bytes, values: list[tuple[int, int, bytes | None]]
    ) -> float:
        """Return the planner's total cost. Raises UpstreamError, ConfigError or TimeoutError."""
        async with asyncio.timeout(_ASK_S), self._turns, self._asker(target, level) as asker:
            answer = await asker.ask(b"EXPLAIN (FORMAT JSON) " + sql, values)
        text = "".join(row[0] or "" for row in answer.rows)
        try:
            return float(orjson.loads(text)[0]["Plan"]["Total Cost"])
        except (ValueError, LookupError, TypeError) as error:
            raise UpstreamError("the plan could not be read") from error

    def close(self) -> None:
        """Close what is open."""
        for asker in [one for idle in self._idle.values() for one in idle]:
            asker.close()
        self._idle.clear()

    @asynccontextmanager
    async def _asker(self, target: Target, level: Level) -> AsyncIterator[Asker]:
        idle = self._idle.setdefault((target.name, level), [])
        asker = idle.pop() if idle else await _connect(target, level)
        is_usable = False
        try:
            yield asker
            is_usable = True
        except ServerRefused:
            is_usable = True  # it answered, and to the end
            raise
        finally:
            if is_usable and len(idle) < _AT_ONCE:
                idle.append(asker)
            else:
                asker.close()


async def _connect(target: Target, level: Level) -> Asker:
    target, secret = await asyncio.to_thread(resolve_login, target, os.environ)
    startup = build_server_startup(target, level) | {"application_name": "postern costs"}
    asker = Asker(await dial(target, secret, startup, timeout_s=_DIAL_S))
    await asker.run(
        "SET default_transaction_read_only = on",
        f"SET statement_timeout = {_PLAN_MS}",
        f"SET lock_timeout = {_LOCK_MS}",
    )
    if role := build_role_setup(target, level).decode():
        await asker.run(role)
    return asker


async def check_cost(session: Session) -> None:
    """Ask for the cost of the statement the relay stopped at; raises OverCost to refuse it."""
    relay, login = session.relay, session.login
    bound = login.rights.profile.bounds.estimated_cost
    if bound is not None:
        level = login.rights.profile.level
        values = [
            (one.type_oid, one.format, one.value)
            for one in parameters_of(relay.asked_types, relay.asked_binds)
        ]
        refusal = None
        try:
            cost = await session.worker.planner.cost(login.target, level, relay.asked_sql, values)
            if cost > bound.max:
                refusal = _too_much(bound, cost)
        except (UpstreamError, ConfigError, OSError, TimeoutError) as error:
            refusal = _unknown(bound, error, tells=not login.rights.profile.filter_errors)
        if refusal is not None:
            metrics.inc(metrics.LIMITS_EXCEEDED.slot("estimated_cost"))
            if login.rights.profile.bounds.enforced:
                raise refusal
    relay.cost_known()


def _too_much(bound: Bound, cost: float) -> OverCost:
    return OverCost(
        f"its estimated cost is {cost:.0f}, rule {quote_name(bound.rule)} allows {bound.max:g}",
        facts={
            "limit": "estimated_cost",
            "max": bound.max,
            "rule": bound.rule,
            "cost": round(cost),
        },
    )


def _unknown(bound: Bound, error: BaseException, *, tells: bool) -> OverCost:
    why = "the database was not asked"
    if isinstance(error, ServerRefused):
        # Its text can hold values of a masked column.
        why = f"{error.sqlstate}{f': {error.text}' if tells else ''}"
    return OverCost(
        f"its cost could not be estimated ({why}), which rule {quote_name(bound.rule)} asks for",
        hint="Correct the statement if the database does not take it; else try again later.",
        facts={"limit": "estimated_cost", "rule": bound.rule},
        reason=str(error),
    )
