"""An analyzer: the process that parses and judges statements for the workers."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping
from pathlib import Path

from gateway.ipc import paths
from gateway.ipc.channel import serve_channel
from gateway.logs import get_logger
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Engine
from gateway.policy.kept import Kept, read_kept, to_json
from gateway.process.analysis import Analyzer, EngineLike
from gateway.process.catalogs import CatalogKeeper
from gateway.process.child import ChildContext
from gateway.process.confine import limit_memory
from gateway.process.data_dir import write_atomic
from gateway.process.loop import run_loop
from gateway.process.preview import Previewer
from gateway.sql.catalog import Catalog

log = get_logger("analyzer")


def analyzer_main(context: ChildContext) -> None:
    """Answer workers until SIGTERM."""

    async def body(stop: asyncio.Event) -> None:
        bindings = paths.mask_bindings(context.data_dir)
        keeper = CatalogKeeper(context.config.targets, context.epochs)
        analyzer = Analyzer(
            context,
            keeper,
            make_engine=EngineMaker(bindings),
            previewer=Previewer(context.config.targets),
        )
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


class EngineMaker:
    """Makes each engine from the policy in force, and keeps what its masks were bound to."""

    def __init__(self, bindings: Path) -> None:
        self._bindings = bindings
        self._kept = read_kept(bindings)

    def __call__(
        self, active: bytes, catalogs: Mapping[str, Catalog], previous: EngineLike | None
    ) -> EngineLike:
        """Return the engine; columns bound before keep their masks whatever they are called."""
        known = previous.kept() if isinstance(previous, Engine) else {}
        engine = Engine(Bundle.from_json(active), catalogs, kept=self._kept | known)
        for problem in engine.problems:
            log.error("active policy: %s", problem)
        self._keep(engine.kept())
        return engine

    def _keep(self, bound: Mapping[str, Kept]) -> None:
        """Remember for the next life. Targets not loaded yet keep what they had."""
        kept = self._kept | {name: one for name, one in bound.items() if one.database}
        if kept == self._kept:
            return
        self._kept = kept
        try:
            write_atomic(self._bindings, to_json(kept))
        except OSError as error:
            # This process still knows; only a restart after a rename would block the table.
            log.error("mask bindings are not kept: %s", error.strerror)  # noqa: TRY400
