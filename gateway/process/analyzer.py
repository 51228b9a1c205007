"""An analyzer: the process that parses and judges statements for the workers."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping

from gateway.ipc import paths
from gateway.ipc.channel import serve_channel
from gateway.logs import get_logger
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Engine
from gateway.process.analysis import Analyzer, EngineLike
from gateway.process.catalogs import CatalogKeeper
from gateway.process.child import ChildContext
from gateway.process.confine import limit_memory
from gateway.process.loop import run_loop
from gateway.sql.catalog import Catalog

log = get_logger("analyzer")


def analyzer_main(context: ChildContext) -> None:
    """Answer workers until SIGTERM."""

    async def body(stop: asyncio.Event) -> None:
        keeper = CatalogKeeper(context.config.targets, context.epochs)
        analyzer = Analyzer(context, keeper, make_engine=_make_engine)
        socket = paths.analyzer_socket(context.data_dir, context.number)
        server = await serve_channel(socket, analyzer.handle)
        async with asyncio.TaskGroup() as tasks:
            refreshing = tasks.create_task(keeper.run(stop), name="catalog-refresh")
            await stop.wait()
            await server.stop()
            await refreshing
        await keeper.close()

    limit_memory()
    # See run_apart: its forks are safe beside the threads that Python warns of.
    warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
    # Not uvloop: this process forks copies of itself while the loop runs.
    run_loop(context, body, fast=False)


def _make_engine(
    active: bytes, catalogs: Mapping[str, Catalog], previous: EngineLike | None
) -> EngineLike:
    before = previous if isinstance(previous, Engine) else None
    engine = Engine(Bundle.from_json(active), catalogs, previous=before)
    for problem in engine.problems:
        log.error("active policy: %s", problem)
    return engine
