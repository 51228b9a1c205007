"""Run one process's event loop: its heartbeat, its stop signal, its body."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import uvloop

from gateway import metrics
from gateway.limits import HEARTBEAT_S
from gateway.process.child import ChildContext

_LATE_S = 0.1

Body = Callable[[asyncio.Event], Awaitable[None]]


def run_loop(context: ChildContext, body: Body, *, fast: bool) -> None:
    """Run `body(stop)` to its end. SIGTERM sets `stop`; `fast` chooses uvloop.

    The heartbeat is a timer of this very loop: a loop that stalls stops beating.
    """
    factory = uvloop.new_event_loop if fast else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_run(context, body))


async def _run(context: ChildContext, body: Body) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    beating: asyncio.TimerHandle | None = None
    stalls = metrics.LOOP_STALLS.slot(context.kind)

    def beat() -> None:
        nonlocal beating
        if beating is not None and loop.time() - beating.when() > _LATE_S:
            metrics.inc(stalls)
        context.epochs.beat(context.slot)
        beating = loop.call_later(HEARTBEAT_S, beat)

    beat()
    try:
        await body(stop)
    finally:
        if beating is not None:
            beating.cancel()
