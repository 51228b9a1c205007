"""Server connections of one worker for one target and level, handed out per transaction.

A connection prefers the principal it served last: changing principals costs a DISCARD ALL that
the relay sends in the same write as the first statement. Waiters are served in turn by
principal. The pool is the only place that gives a connection to anybody.

Invariant: while somebody waits no connection is idle, and as many dials are under way as there
is room and need for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable

from _fastpath.pump import PoolGate, ServerPort
from gateway import metrics
from gateway.config import Target
from gateway.errors import ConfigError, NotReady, TooManySessions, UpstreamError
from gateway.limits import (
    CANCEL_TIMEOUT_S,
    POOL_WAITERS_MAX,
    SERVER_AGE_S,
    SERVER_IDLE_S,
)
from gateway.policy.profile import Level
from gateway.upstream.cancel import send_cancel
from gateway.upstream.dial import DialedConnection
from gateway.upstream.fairqueue import FairQueue
from gateway.upstream.logins import forget_login
from gateway.upstream.opener import Opener
from gateway.upstream.takeover import take_over

_DIAL_RETRY_S = 0.25
_PREPARED_MAX = 500  # more statements on one connection: it is emptied before its next use
_DIAL_OK = metrics.SERVER_DIALS.slot("ok")
_DIAL_FAILED = metrics.SERVER_DIALS.slot("failed")

log = logging.getLogger(__name__)


class ServerConnection(ServerPort):
    """One connection to a server: a socket and the relay's view of it."""

    __slots__ = ("dialed", "idle_since", "opened_at", "pool")

    def __init__(self, pool: Pool, dialed: DialedConnection) -> None:
        super().__init__(dialed.transport)
        self.pool = pool
        self.dialed = dialed
        self.opened_at = self.idle_since = time.monotonic()

    def unasked(self, data: bytes) -> None:
        """Take a read that nobody asked for: notices pass by, all else ends the connection."""
        if not self._is_harmless(data):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever holds it."""
        was_parked = self.is_parked
        self.pool.forget(self)
        holder, self.holder = self.holder, None
        if holder is not None:
            holder.server_lost(was_parked=was_parked)

    def eof_received(self) -> bool:
        """Close: a server that sends no more takes no more."""
        return False

    def pause_writing(self) -> None:
        """Stop reading from the client until the server took what it was sent."""
        if self.holder is not None:
            self.holder.server_paused(paused=True)

    def resume_writing(self) -> None:
        """Undo `pause_writing`."""
        if self.holder is not None:
            self.holder.server_paused(paused=False)

    def _is_harmless(self, data: bytes) -> bool:
        """Whether an idle server sent whole notices or notifications and nothing else."""
        pos = 0
        while len(data) - pos >= 5:
            size = int.from_bytes(data[pos + 1 : pos + 5], "big")
            if data[pos : pos + 1] not in {b"N", b"A"} or not 4 <= size < len(data) - pos:
                return False
            pos += 1 + size
        return pos == len(data)

    def reserve(self) -> None:
        """Keep the connection from everybody else until the `cancel` that follows is through.

        At once, not when the cancel's task begins: in between the statement may end, and the
        cancel would hit whoever gets the connection next.
        """
        self.cancelling += 1

    async def cancel(self) -> None:
        """Cancel what runs here, after `reserve`; return when the server has done so."""
        try:
            await send_cancel(
                self.pool.target,
                self.dialed.backend_pid,
                self.dialed.cancel_secret,
                timeout_s=CANCEL_TIMEOUT_S,
            )
        except UpstreamError as error:
            # The cancel may still arrive, so nobody else may get this connection.
            log.warning("cancel: %s", error)
            self.transport.abort()
        finally:
            self.cancelling -= 1

    async def stop(self) -> None:
        """Cancel what runs here, after `reserve`, then close: its session is gone."""
        await self.cancel()
        self.transport.abort()


class Pool(PoolGate):
    """The connections of one (target, level). All methods run on the worker's loop."""

    def __init__(
        self,
        target: Target,
        level: Level,
        *,
        size: int,
        wait_s: float,
        opener: Opener,
    ) -> None:
        self.target = target
        self.level = level
        self.parameters: dict[str, str] | None = None  # as the last server reported them
        self._size = size
        self._wait_s = wait_s
        self._opener = opener
        self._idle: list[ServerConnection] = []
        self._all: set[ServerConnection] = set()
        self._waiters: FairQueue[ServerConnection] = FairQueue()
        self._dials: set[asyncio.Task[None]] = set()
        self._dialing = 0  # falls when a dial has its result, before its task has ended
        self._failure: str = ""

    def take(self, principal: object) -> ServerConnection | None:
        """Return an idle connection at once, or None."""
        idle = self._idle
        if self._waiters:
            return None
        if not idle:
            return self._take_parked(principal)
        for index in range(len(idle) - 1, -1, -1):
            if idle[index].link.principal == principal:
                return idle.pop(index)
        if self._room > 0 and idle[0].link.principal is not None:
            # Room for one more: rather dial than wipe another principal's connection.
            self._dial_more(1)
        return idle.pop(0)

    def _take_parked(self, principal: object) -> ServerConnection | None:
        """Take a connection away from a session that is between two transactions."""
        if self._room > 0:
            return None  # dialing one more disturbs nobody
        parked = [one for one in self._all if one.holder is not None and one.is_parked]
        if not parked:
            return None
        own = [one for one in parked if one.link.principal == principal]
        chosen = (own or parked)[0]
        chosen.holder.release()
        self._idle.remove(chosen)
        return chosen

    async def acquire(self, principal: Hashable) -> ServerConnection:
        """Wait for a connection, `pool.wait` at most; one that is idle is had at once.

        Raises TooManySessions when all are in use, NotReady when the server cannot be reached.
        """
        # Since the caller looked one may have come back: nobody would hand that over.
        ready = self.take(principal)
        if ready is not None:
            return ready
        if len(self._waiters) >= POOL_WAITERS_MAX:
            raise TooManySessions("too many statements wait for a server connection")
        future: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()
        self._waiters.push(principal, future)
        self.waiting = len(self._waiters)
        self._dial_more(len(self._waiters) - self._dialing)
        try:
            async with asyncio.timeout(self._wait_s):
                return await future
        except TimeoutError:
            if _was_handed(future):
                return future.result()
            raise self._no_connection() from None
        except asyncio.CancelledError:
            if _was_handed(future):
                self.release(future.result())
            raise
        finally:
            self._waiters.discard(principal, future)
            self.waiting = len(self._waiters)

    async def warm(self) -> dict[str, str]:
        """Return the server's ParameterStatus values, dialing once if none is known yet."""
        if self.parameters is None:
            self.release(await self.acquire(None))
        assert self.parameters is not None
        return self.parameters

    def release(self, connection: ServerConnection) -> None:
        """Take back a connection that is idle by `ServerLink.is_idle`; anything else is closed."""
        connection.holder = None
        if connection.transport.is_closing():
            return
        if connection.cancelling or not connection.link.is_idle():
            connection.transport.abort()
            return
        if connection.link.prepared_count > _PREPARED_MAX:
            connection.link.dirty = True
        future = self._waiters.pop()
        self.waiting = len(self._waiters)
        if future is not None:
            future.set_result(connection)
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def retire(self) -> None:
        """Close connections that nobody needed for long, and those that are old."""
        now = time.monotonic()
        for connection in tuple(self._idle):
            unused_s, age_s = now - connection.idle_since, now - connection.opened_at
            if unused_s > SERVER_IDLE_S or age_s > SERVER_AGE_S:
                self._say_goodbye(connection)

    def forget(self, connection: ServerConnection) -> None:
        """Drop a closed connection; somebody may wait for its place."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiters:
            self._dial_more(1)

    def close(self) -> None:
        """Close every idle connection and stop dialing. Idempotent."""
        for task in self._dials:
            task.cancel()
        for connection in tuple(self._idle):
            self._say_goodbye(connection)

    @property
    def counts(self) -> tuple[int, int]:
        """(idle, in use)."""
        return len(self._idle), len(self._all) - len(self._idle)

    def _say_goodbye(self, connection: ServerConnection) -> None:
        self._idle.remove(connection)
        connection.transport.write(b"X\0\0\0\4")
        connection.transport.close()

    def _no_connection(self) -> NotReady | TooManySessions:
        if not self._all and self._failure:
            return NotReady("the database is not reachable", reason=self._failure)
        return TooManySessions(
            f"no server connection became free within {self._wait_s:g} s",
            facts={"pool_size": self._size},
        )

    @property
    def _room(self) -> int:
        return self._size - len(self._all) - self._dialing

    def _dial_more(self, count: int) -> None:
        for _ in range(min(count, self._room)):
            self._dialing += 1
            task = asyncio.get_running_loop().create_task(
                self._dial(), name=f"dial-{self.target.name}-{self.level}"
            )
            self._dials.add(task)
            task.add_done_callback(self._dials.discard)

    async def _dial(self) -> None:
        dialed = None
        try:
            while dialed is None:
                dialed = await self._dial_once()
                if dialed is None and self._waiters:
                    await asyncio.sleep(_DIAL_RETRY_S)
                if dialed is None and not self._waiters:
                    return
        finally:
            self._dialing -= 1
        connection = ServerConnection(self, dialed)
        connection.transport = take_over(dialed.transport, connection)
        self._all.add(connection)
        connection.transport.resume_reading()
        self.release(connection)

    async def _dial_once(self) -> DialedConnection | None:
        try:
            dialed = await self._opener(self.target, self.level)
        except (UpstreamError, ConfigError) as error:
            forget_login(self.target.credential)
            metrics.inc(_DIAL_FAILED)
            if str(error) != self._failure:
                log.warning("%s", error)
            self._failure = str(error)
            return None
        metrics.inc(_DIAL_OK)
        self._failure = ""
        self.parameters = dialed.parameters
        return dialed


def _was_handed(future: asyncio.Future[ServerConnection]) -> bool:
    """Whether a connection came in the same pass of the loop as the end of the wait."""
    return future.done() and not future.cancelled()
