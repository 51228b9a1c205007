"""Servers that lie: every malformed handshake is one UpstreamError, in time."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.upstream.dial import DialedConnection, dial
from gateway.upstream.startup import build_server_startup
from tests.integration.dial_parts import (
    OPEN,
    RunAsync,
    Server,
)


def msg(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!I", len(payload) + 4) + payload


OK = msg(b"R", struct.pack("!I", 0))
READY = msg(b"Z", b"I")
SASL = msg(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0")


class Liar(asyncio.Protocol):
    """A server that knows only what to say next."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        OPEN.append(transport)

    def data_received(self, data: bytes) -> None:
        if self.answers:
            self.transport.write(self.answers.pop(0))


async def serve_and_dial(answers: list[bytes], *, tls: str = "disable") -> DialedConnection:
    """Dial a server that sends each of `answers` after one read, then stays silent."""
    pending = list(answers)
    loop = asyncio.get_running_loop()
    fake = await loop.create_server(lambda: Liar(pending), "127.0.0.1", 0)
    port = fake.sockets[0].getsockname()[1]
    target = replace(Server(port, Path(), Path(), Path()).target(), tls=tls)
    try:
        startup = build_server_startup(target, "read")
        connection = await dial(target, b"topsecret", startup, timeout_s=0.7)
        OPEN.append(connection.transport)
        return connection
    finally:
        fake.close()


LIES = {
    "error without any field": msg(b"E", b"\0"),
    "error that is empty": msg(b"E", b""),
    "error without terminator": msg(b"E", b"SFATAL"),
    "error that echoes the password": msg(b"E", b"SFATAL\0Mtopsecret is wrong\0\0"),
    "length 0": b"R\0\0\0\0",
    "length 3": b"R\0\0\0\3",
    "length -1": b"R\xff\xff\xff\xff",
    "length 2^31-1": b"R\x7f\xff\xff\xff",
    "short authentication": msg(b"R", b"\0\0"),
    "unknown authentication": msg(b"R", struct.pack("!I", 7)),
    "md5 salt too short": msg(b"R", struct.pack("!I", 5) + b"ab"),
    "mechanisms without end": msg(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256"),
    "unknown mechanism": msg(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-1\0\0"),
    "ready before authentication": READY,
    "data before authentication": msg(b"D", b"\0\0"),
    "negotiation": msg(b"v", struct.pack("!II", 0, 0)),
    "nothing": b"",
    "not ready": OK + msg(b"Z", b"T"),
    "ready of wrong size": OK + msg(b"Z", b""),
    "statement reply after login": OK + msg(b"T", b"\0\0"),
    "more after ready": OK + READY + msg(b"D", b"\0\0"),
    "half a message after ready": OK + READY + b"N\0\0",
    "bad parameter status": OK + msg(b"S", b"a\0b"),
    "key without secret": OK + msg(b"K", b"\0\0\0\1"),
    "key of 300 bytes": OK + msg(b"K", bytes(304)),
    "pin not taken": OK + msg(b"S", b"standard_conforming_strings\0off\0") + READY,
    "encoding not taken": OK + msg(b"S", b"client_encoding\0LATIN1\0") + READY,
    "endless notices": OK + msg(b"N", b"\0") * 600,
    "flood": msg(b"N", bytes(60_000)) * 20,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_lying_server(run: RunAsync, lie: bytes) -> None:
    """Goal: every malformed handshake is an UpstreamError in time, without the password."""
    with pytest.raises(UpstreamError) as caught:
        run(serve_and_dial([lie]))
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize(
    "challenge",
    [
        b"r=other,s=QUJD,i=4096",
        b"r=,s=QUJD,i=4096",
        b"m=x,r=a,s=QUJD,i=4096",
        b"",
        b"\xff",
        b"r=" + b"x" * 60_000,
    ],
)
def test_lying_scram(run: RunAsync, challenge: bytes) -> None:
    """Goal: a challenge that is not made for our nonce is refused."""
    with pytest.raises(UpstreamError, match="SCRAM"):
        run(serve_and_dial([SASL, msg(b"R", struct.pack("!I", 11) + challenge)]))


def test_scram_cannot_be_skipped_after_it_began(run: RunAsync) -> None:
    """Goal: AuthenticationOk in place of the server's signature is not a login."""
    with pytest.raises(UpstreamError, match="broke off"):
        run(serve_and_dial([SASL, OK + READY]))


@pytest.mark.parametrize("answer", [b"N", b"E", b"X", b"SS", b"S" + OK + READY, b"E" + OK])
def test_bytes_at_the_tls_boundary(run: RunAsync, answer: bytes) -> None:
    """Goal: anything but a lone 'S' ends the attempt; nothing sent early is ever used."""
    with pytest.raises(UpstreamError):
        run(serve_and_dial([answer], tls="require"))


def test_async_messages_are_tolerated(run: RunAsync) -> None:
    """Goal: notices and settings may come anywhere; no cancel key is no failure."""
    notice, status = msg(b"N", b"SNOTICE\0\0"), msg(b"S", b"in_hot_standby\0off\0")
    late = msg(b"S", b"TimeZone\0UTC\0")
    connection = run(serve_and_dial([notice + status + OK + notice + READY + notice + late]))
    assert connection.parameters == {"in_hot_standby": "off", "TimeZone": "UTC"}
    assert connection.backend_pid == 0
    assert connection.cancel_secret == b""
    assert connection.server_version == 0
