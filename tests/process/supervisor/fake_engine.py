"""An analyzer whose engine does to itself what the text says: die, spin, eat memory."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from typing import Any, Literal

from gateway.errors import NotUnderstood
from gateway.ipc import paths
from gateway.ipc.channel import serve_channel
from gateway.policy.decision import DecideRequest, Decision
from gateway.policy.principal import Principal
from gateway.policy.profile import Profile
from gateway.process.analysis import Analyzer, EngineLike
from gateway.process.child import ChildContext
from gateway.process.confine import limit_memory
from gateway.process.loop import run_loop
from gateway.sql.catalog import Catalog


class FakeEngine:
    def __init__(self, digest: str) -> None:
        self.digest = digest

    def profile(self, principal: Principal, target: str, requested: str) -> Profile | None:
        if target == "nothing":
            return None
        level: Literal["read", "write"] = "write" if requested == "write" else "read"
        return Profile(key=self.digest, target=target, level=level)

    def decide(self, request: DecideRequest) -> Decision:
        text = request.sql.decode(errors="replace")
        if "segv" in text:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "spin" in text:
            while True:
                sum(range(1000))
        if "slow" in text:
            until = time.process_time() + 0.005
            while time.process_time() < until:
                pass
        if "memory" in text:
            bytearray(1 << 33)
        if "nested" in text:
            raise RecursionError
        if "refused" in text:
            raise NotUnderstood("not this", position=3, facts={"node": "X"})
        return Decision(action="allow", objects=(text[:20],), policy_digest=self.digest)


class FakeKeeper:
    changes = 0

    @property
    def catalogs(self) -> Mapping[str, Catalog]:
        return {}

    async def ensure(self, name: str) -> None:
        return None

    async def on_miss(self, name: str) -> bool:
        return False

    def status(self) -> dict[str, str]:
        return {}


def make_engine(active: bytes, catalogs: Mapping[str, Any], _: EngineLike | None) -> EngineLike:
    return FakeEngine(active.decode())


def fake_analyzer(context: ChildContext) -> None:
    async def body(stop: asyncio.Event) -> None:
        analyzer = Analyzer(context, FakeKeeper(), make_engine=make_engine)
        socket = paths.analyzer_socket(context.data_dir, context.number)
        server = await serve_channel(socket, analyzer.handle)
        await stop.wait()
        await server.stop()

    limit_memory()
    run_loop(context, body, fast=False)
