"""A worker: the data plane's process. Its work is in `gateway.session`."""

from __future__ import annotations

import asyncio

from gateway.errors import InvariantError
from gateway.process.child import ChildContext
from gateway.process.loop import run_loop
from gateway.process.tls import build_server_context
from gateway.session.context import WorkerContext


def worker_main(context: ChildContext) -> None:
    """Serve clients until SIGTERM, then drain."""

    async def body(stop: asyncio.Event) -> None:
        # Loaded by the supervisor before the fork; named here so that this module can be
        # imported where the data plane is not wanted.
        from gateway.session.server import run_worker  # noqa: PLC0415

        await run_worker(
            WorkerContext(
                config=context.config,
                worker_id=context.number,
                generation=context.generation,
                sockets=context.sockets,
                epochs=context.epochs,
                data_dir=context.data_dir,
                journal_path=context.journal_path,
                stop=stop,
                ssl_context=build_server_context(context.config.listen),
                drain_s=context.drain_s,
            )
        )
        if not stop.is_set():
            raise InvariantError("the worker returned without being told to stop")

    run_loop(context, body, fast=True)
