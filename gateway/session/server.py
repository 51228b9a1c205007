"""Serve clients in one worker until it is told to stop, then drain."""

from __future__ import annotations

import asyncio
import contextlib

from gateway.errors import NotReady
from gateway.session.bounding import watch_time
from gateway.session.connection import ClientConnection
from gateway.session.context import WorkerContext
from gateway.session.counting import read_gauges
from gateway.session.worker import Worker

_GAUGES_S = 1.0


async def run_worker(context: WorkerContext) -> None:
    """Accept on the shared sockets until `context.stop`; return when drained.

    Draining: no new clients, idle sessions end at once, those in a transaction get
    `context.drain_s`, then every session that is left is ended.
    """
    loop = asyncio.get_running_loop()
    worker = Worker(context)
    await worker.cancels.start()
    if worker.links is not None:
        worker.links.start()
    worker.spawn(worker.sync_sessions(), "sync-sessions")
    worker.spawn(worker.lifetime.watch(), "lifetime")
    worker.spawn(watch_time(worker), "watch-time")
    servers = [
        await loop.create_server(lambda: ClientConnection(worker), sock=sock)
        for sock in context.sockets
    ]
    try:
        while not context.stop.is_set():
            read_gauges(worker)
            for pool in worker.pools:
                pool.retire()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(context.stop.wait(), _GAUGES_S)
    finally:
        for server in servers:
            server.close()
        await _drain(worker, context.drain_s)
        await worker.close()


async def _drain(worker: Worker, drain_s: float) -> None:
    for session in tuple(worker.sessions.values()):
        session.drain()
    if worker.sessions:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(worker.is_empty.wait(), drain_s)
    for session in tuple(worker.sessions.values()):
        session.fail(NotReady("the gateway is shutting down"), "drain_deadline")
    # One pass of the loop, so that the last words leave.
    await asyncio.sleep(0)
