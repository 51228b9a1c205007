"""The pool on a real server: nobody waits beside an idle connection, and nobody starves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.errors import NotReady, TooManySessions
from gateway.upstream.opener import open_direct
from gateway.upstream.pool import Pool, ServerConnection
from tests.integration.dial_parts import PG_BIN, RunAsync, Server, free_port

pytestmark = pytest.mark.skipif(not PG_BIN.exists(), reason="needs Debian's postgresql-15")

MakePool = Callable[..., Pool]


@pytest.fixture
def make_pool(server: Server) -> MakePool:
    def make(*, size: int = 1, wait_s: float = 5.0, **changes: object) -> Pool:
        target = server.target(**changes)
        return Pool(target, "read", size=size, wait_s=wait_s, opener=open_direct)

    return make


def test_given_back_between_look_and_wait(make_pool: MakePool, run: RunAsync) -> None:
    """A session looks, finds none, and begins to wait one pass of the loop later."""

    async def script() -> None:
        pool = make_pool()
        connection = await pool.acquire("a")
        assert pool.take("b") is None
        waiter = asyncio.ensure_future(pool.acquire("b"))  # not begun yet
        pool.release(connection)
        assert await asyncio.wait_for(waiter, 1) is connection
        pool.close()

    run(script())


def test_lost_place_is_dialed_again(make_pool: MakePool, run: RunAsync) -> None:
    """Connections that break while others wait for them are replaced, however they overlap."""

    async def script() -> None:
        pool = make_pool(size=2)
        for _ in range(20):
            held = [await pool.acquire(1), await pool.acquire(2)]
            waiters = [asyncio.ensure_future(pool.acquire(name)) for name in range(2)]
            await asyncio.sleep(0)
            for connection in held:
                connection.transport.abort()
            for connection in await asyncio.wait_for(asyncio.gather(*waiters), 5):
                pool.release(connection)
        pool.close()

    run(script())


def test_served_in_turn_by_principal(make_pool: MakePool, run: RunAsync) -> None:
    """A hundred statements of one agent do not stand before the one of another."""

    async def script() -> None:
        pool = make_pool()
        order: list[str] = []

        async def work(principal: str) -> None:
            connection = await pool.acquire(principal)
            order.append(principal)
            await asyncio.sleep(0)
            pool.release(connection)

        held = await pool.acquire("first")
        flood = [asyncio.ensure_future(work("flood")) for _ in range(100)]
        await asyncio.sleep(0)
        single = [asyncio.ensure_future(work(name)) for name in ("one", "two")]
        await asyncio.sleep(0)
        pool.release(held)
        await asyncio.gather(*flood, *single)
        assert order[:4] == ["flood", "one", "two", "flood"]
        assert pool.counts == (1, 0)
        pool.close()

    run(script())


def test_those_who_gave_up_take_nothing(make_pool: MakePool, run: RunAsync) -> None:
    """Cancelled in the very pass of the loop that serves them, they give the connection back."""

    async def script() -> None:
        pool = make_pool()
        for cancel_first in (True, False):
            held = await pool.acquire("a")
            waiter = asyncio.ensure_future(pool.acquire("b"))
            await asyncio.sleep(0)
            steps = [waiter.cancel, lambda held=held: pool.release(held)]
            for step in steps if cancel_first else reversed(steps):
                step()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            assert pool.counts == (1, 0)
        pool.close()

    run(script())


def test_wait_ends(make_pool: MakePool, run: RunAsync) -> None:
    """All in use, or no server at all: an error that says which, after `pool.wait`."""

    async def script() -> None:
        busy = make_pool(wait_s=0.2)
        held: ServerConnection = await busy.acquire("a")
        with pytest.raises(TooManySessions):
            await busy.acquire("b")
        busy.release(held)
        busy.close()
        absent = make_pool(wait_s=0.2, port=free_port())
        for _ in range(3):
            with pytest.raises(NotReady):
                await absent.acquire("a")
        absent.close()

    run(script())
