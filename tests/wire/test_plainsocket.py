"""Plain sockets and their poller on a real loop: order, back-pressure, ends, rounds."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from _fastpath.plainsocket import PlainSocket, Poller
from _fastpath.pump import ServerPort

BIG = os.urandom(4 << 20)


class Taker(ServerPort):
    """Keeps what comes; nobody holds it, so every read is unasked."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # not written to
        self.got = bytearray()
        self.told: list[str] = []
        self.then: Callable[[], None] = lambda: None

    def unasked(self, data: bytes) -> None:
        self.got += data
        self.then()

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(f"lost {type(exc).__name__}")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


def on_loop(body: Callable[[Poller], Coroutine[Any, Any, None]], kind: str) -> None:
    async def run() -> None:
        poller = Poller(asyncio.get_running_loop())
        try:
            await asyncio.wait_for(body(poller), 10)
        finally:
            poller.close()

    factory = uvloop.new_event_loop if kind == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


def joined(poller: Poller) -> tuple[PlainSocket, Taker, socket.socket]:
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    taker = Taker()
    loop = asyncio.get_running_loop()
    return PlainSocket(loop, poller, ours.detach(), taker, {"peername": "x"}), taker, peer


async def until(check: Callable[[], bool]) -> None:
    while not check():  # noqa: ASYNC110  what is waited for is the loop itself
        await asyncio.sleep(0.001)


@pytest.fixture(params=["uvloop", "asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both loops a connection may live on."""
    return str(request.param)


def test_reads_arrive_and_an_end_is_told_once(kind: str) -> None:
    """Goal: bytes in order, then one connection_lost."""

    async def body(poller: Poller) -> None:
        sock, taker, peer = joined(poller)
        peer.sendall(b"early")
        await asyncio.sleep(0.01)
        assert taker.got == b""  # it starts paused
        sock.resume_reading()
        peer.sendall(b" late")
        await until(lambda: taker.got == b"early late")
        peer.close()
        await until(lambda: taker.told == ["lost NoneType"])
        sock.abort()
        await asyncio.sleep(0.01)
        assert taker.told == ["lost NoneType"]
        assert sock.fd == -1

    on_loop(body, kind)


def test_slow_peer_gets_every_byte_and_slows_us_down(kind: str) -> None:
    """Goal: what the kernel does not take waits, in order, and the receiver is told."""

    async def body(poller: Poller) -> None:
        sock, taker, peer = joined(poller)
        peer.setblocking(False)
        sock.write(BIG)
        sock.write(b"tail")
        assert taker.told == ["pause"]
        assert sock.get_write_buffer_size() > 0
        sock.close()  # flushes first
        got = bytearray()
        loop = asyncio.get_running_loop()
        while chunk := await loop.sock_recv(peer, 1 << 20):
            got += chunk
        assert got == BIG + b"tail"
        await until(lambda: taker.told == ["pause", "resume", "lost NoneType"])
        peer.close()

    on_loop(body, kind)


def test_socket_closed_within_the_round_is_not_read(kind: str) -> None:
    """Goal: two are readable at once, the first one's reader ends the second."""

    async def body(poller: Poller) -> None:
        pairs = [joined(poller), joined(poller)]
        for (sock, taker, peer), (other, _, _) in (pairs, pairs[::-1]):
            taker.then = other.abort
            peer.sendall(b"x")
            sock.resume_reading()
        await until(lambda: any(taker.got for _, taker, _ in pairs))
        await asyncio.sleep(0.01)
        assert sorted(bytes(taker.got) for _, taker, _ in pairs) == [b"", b"x"]
        for sock, _, peer in pairs:
            sock.abort()
            peer.close()

    on_loop(body, kind)


def test_failing_reader_loses_its_connection_only(kind: str) -> None:
    """Goal: our own bug ends the session it hits; the other one reads on."""

    async def body(poller: Poller) -> None:
        seen: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
        (bad, failing, peer), (good, taker, other) = joined(poller), joined(poller)

        def fail() -> None:
            raise ZeroDivisionError

        failing.then = fail
        for sock in (bad, good):
            sock.resume_reading()
        peer.sendall(b"x")
        other.sendall(b"y")
        await until(lambda: taker.got == b"y" and failing.told == ["lost ZeroDivisionError"])
        assert [type(error) for error in seen] == [ZeroDivisionError]
        good.abort()
        for one in (peer, other):
            one.close()

    on_loop(body, kind)
