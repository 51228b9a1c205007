"""Logged-in server connections of one target, opened ahead of need.

Only for levels that were asked for before. A spare is read all the time: one that the server
closed or spoke on is thrown away, so that nobody is handed a dead one.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import ConfigError, UpstreamError
from gateway.limits import DIAL_TIMEOUT_S, SERVER_IDLE_S
from gateway.logs import get_logger
from gateway.upstream.dial import DialedConnection, dial
from gateway.upstream.logins import forget_login, resolve_login
from gateway.upstream.startup import build_server_startup

if TYPE_CHECKING:
    from gateway.config import Target
    from gateway.policy.profile import Level

log = get_logger("spares")


@dataclass(slots=True)
class _Spare(asyncio.Protocol):
    dialed: DialedConnection
    opened_at: float
    is_dead: bool = False

    def data_received(self, data: bytes) -> None:
        self.is_dead = True
        self.dialed.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_dead = True


class Spares:
    """Hands out connections of one target; `run` keeps some ready."""

    def __init__(self, target: Target, keep: int) -> None:
        self.target = target
        self.failure = ""  # why the last login failed
        self._keep = keep
        self._ready: dict[Level, list[_Spare]] = {}
        self._wanted = asyncio.Event()

    async def take(self, level: Level) -> DialedConnection:
        """Return a paused connection, ready or new; raises UpstreamError."""
        ready = self._ready.setdefault(level, [])
        self._wanted.set()
        while ready:
            spare = ready.pop()
            if not (spare.is_dead or spare.dialed.transport.is_closing()):
                spare.dialed.transport.pause_reading()
                return spare.dialed
        return await self._login(level)

    async def run(self) -> None:
        """Keep spares ready until cancelled."""
        while True:
            self._wanted.clear()
            self._discard()
            for level, ready in self._ready.items():
                while len(ready) < self._keep and not self._wanted.is_set():
                    try:
                        dialed = await self._login(level)
                    except UpstreamError:
                        break
                    spare = _Spare(dialed, time.monotonic())
                    dialed.transport.set_protocol(spare)
                    dialed.transport.resume_reading()
                    ready.append(spare)
            try:
                async with asyncio.timeout(5.0):
                    await self._wanted.wait()
                # Let a burst of requests have the server's attention first.
                await asyncio.sleep(0.05)
            except TimeoutError:
                continue

    def close(self) -> None:
        """Close what nobody took. Idempotent."""
        for ready in self._ready.values():
            for spare in ready:
                spare.dialed.transport.write(b"X\0\0\0\4")
                spare.dialed.transport.close()
            ready.clear()

    def _discard(self) -> None:
        for ready in self._ready.values():
            for spare in tuple(ready):
                if spare.is_dead or time.monotonic() - spare.opened_at > SERVER_IDLE_S:
                    ready.remove(spare)
                    spare.dialed.transport.close()

    async def _login(self, level: Level) -> DialedConnection:
        try:
            login, secret = await asyncio.to_thread(resolve_login, self.target, os.environ)
            startup = build_server_startup(login, level)
            dialed = await dial(login, secret, startup, timeout_s=DIAL_TIMEOUT_S - 2)
        except (UpstreamError, ConfigError) as error:
            forget_login(self.target.credential)
            if str(error) != self.failure:
                log.warning("%s", error)
            self.failure = str(error)
            raise UpstreamError(str(error)) from error
        self.failure = ""
        return dialed
