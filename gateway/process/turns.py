"""Whose statement is analysed next: principals by turns, so that a flood waits for itself."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.ipc.channel import ChannelBusy

_WAITING_MAX = 4096


class Turns:
    """At most `holders_max` hold a turn; who waits is served round robin over the keys."""

    def __init__(self, holders_max: int = 1, *, waiting_max: int = _WAITING_MAX) -> None:
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._waiting_max = waiting_max
        self._count = 0
        self._free = holders_max

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Hold the turn inside the block; raises ChannelBusy when too many wait."""
        await self._acquire(key)
        try:
            yield
        finally:
            self._pass_on()

    async def _acquire(self, key: str) -> None:
        if self._free:
            self._free -= 1
            return
        if self._count >= self._waiting_max:
            raise ChannelBusy(f"{self._count} statements wait to be analysed")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(future)
        self._count += 1
        try:
            await future
        except asyncio.CancelledError:
            # Given and cancelled in one loop pass: the turn must not be lost with the waiter.
            if future.done() and not future.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            key, queue = next(iter(self._waiting.items()))
            future = queue.popleft()
            self._count -= 1
            if queue:
                self._waiting.move_to_end(key)
            else:
                del self._waiting[key]
            if not future.done():
                future.set_result(None)
                return
        self._free += 1
