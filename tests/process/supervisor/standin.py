"""A gateway of stand-in processes under the real supervisor, started as a program.

argv: a JSON file with what `GatewayUnderTest` asks for. The stand-ins serve just enough for a
test to see who lives: each worker answers its id to whoever connects.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.config import load_config
from gateway.ipc import paths
from gateway.ipc.crash_memory import CrashMemory
from gateway.ipc.epochs import Epochs
from gateway.process.child import ChildContext
from gateway.process.data_dir import DataDirLock, prepare_data_dir
from gateway.process.exits import EXIT_FAILED, StartError
from gateway.process.listeners import bind_listeners, describe
from gateway.process.loop import run_loop
from gateway.process.supervisor import Gateway, Supervisor, Timing
from tests.process.supervisor.fake_engine import fake_analyzer


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def worker(context: ChildContext) -> None:
    async def body(stop: asyncio.Event) -> None:
        clients = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal clients
            clients += 1
            writer.write(f"{context.number} {context.generation}\n".encode())
            await reader.read()
            clients -= 1
            writer.close()

        servers = [await asyncio.start_server(serve, sock=sock) for sock in context.sockets]
        await stop.wait()
        for server in servers:
            server.close()
        deadline = asyncio.get_running_loop().time() + context.drain_s
        while clients and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        say(f"{context.name} drained with {clients} clients")

    run_loop(context, body, fast=True)


def idle(context: ChildContext) -> None:
    async def body(stop: asyncio.Event) -> None:
        await stop.wait()
        say(f"{context.name} stopped")

    run_loop(context, body, fast=False)


def deadly(context: ChildContext) -> None:
    context.crashes.mark(context.number, b"0123456789abcdef")
    os.kill(os.getpid(), signal.SIGSEGV)


def dying(context: ChildContext) -> None:
    os._exit(9)


def unbootable(context: ChildContext) -> None:
    raise StartError("no certificate")


def orphan_maker(context: ChildContext) -> None:
    async def body(stop: asyncio.Event) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        await asyncio.sleep(3600)

    run_loop(context, body, fast=False)


MAINS: dict[str, Callable[[ChildContext], None]] = {
    "worker": worker,
    "idle": idle,
    "deadly": deadly,
    "dying": dying,
    "unbootable": unbootable,
    "stubborn": orphan_maker,
    "analyzer": fake_analyzer,
}


def main(wanted: dict[str, Any]) -> int:
    data_dir = Path(wanted["data_dir"])
    config = load_config(None, {}, wanted["config"])
    records = (data_dir / "records.ndjson").open
    try:
        prepare_data_dir(data_dir)
        lock = DataDirLock(data_dir)
        lock.acquire()
        sockets = bind_listeners(config.listen.postgres)
    except StartError as error:
        say(f"error: {error}")
        return EXIT_FAILED
    for sock in sockets:
        say(f"listening on {describe(sock)}")

    def record(kind: str, **fields: Any) -> None:
        with records("a") as file:
            file.write(json.dumps({"kind": kind, **fields}) + "\n")

    gateway = Gateway(
        config=config,
        data_dir=data_dir,
        sockets=sockets,
        epochs=Epochs.create(paths.epochs_file(data_dir)),
        crashes=CrashMemory.create(paths.crash_file(data_dir)),
        mains={kind: MAINS[name] for kind, name in wanted["mains"].items()},
        reload=lambda: say("reloaded"),
    )
    timing = Timing(**wanted["timing"])
    return Supervisor(gateway, announce=say, record=record, timing=timing).run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
