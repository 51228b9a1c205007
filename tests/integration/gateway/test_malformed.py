"""Bytes that are not the protocol: that connection ends, the one beside it does not notice.

One worker serves all connections here, so the bystander is always on the worker that was hit.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess
from tests.support.stands import EMBEDDED, Stands, own_directory
from tests.support.wireclient import (
    SSL_REQUEST,
    SYNC,
    Message,
    WireClient,
    bind,
    errors,
    execute,
    kinds,
    message,
    parse,
    query,
    rows,
    startup,
)

LENGTHS = [-1, 0, 3, 4, 2**31 - 1, 2**32 - 1, -(2**31), 5, 1 << 30]
LOGIN = {"user": "agent", "database": "orders"}


@pytest.fixture(scope="module")
def single(stands: Stands) -> Iterator[GatewayProcess]:
    with (
        own_directory() as directory,
        GatewayProcess(stands.cluster(EMBEDDED), Path(directory), workers=1) as gateway,
    ):
        yield gateway


@pytest.fixture(scope="module")
def bystander(single: GatewayProcess) -> Iterator[WireClient]:
    """Logged in once for all tests: it must live through every one of them."""
    with WireClient(single.port) as client:
        client.login(single.mint("bystander", ["agents"]))
        client.ask(query("begin"))
        client.ask(query("declare c cursor for select id from sales.orders order by id"))
        yield client


@pytest.fixture(autouse=True)
def nobody_notices(single: GatewayProcess, bystander: WireClient) -> Iterator[None]:
    pids = single.pids("worker")
    yield
    answer = bystander.ask(query("select 1"), parse("select 2"), bind(), execute(), SYNC)
    assert kinds(answer) == "TDCZ"
    assert kinds(bystander.until_ready()) == "12DCZ"
    assert single.pids("worker") == pids


def _word(length: int) -> bytes:
    return struct.pack(">I", length & 0xFFFFFFFF)


def _closed(answer: list[Message]) -> None:
    """A plain close, or one FATAL of the protocol and then the close."""
    codes = [error["C"] for error in errors(answer)]
    assert codes in ([], ["08P01"]), answer
    assert all(error["S"] == "FATAL" for error in errors(answer))
    assert set(kinds(answer)) <= {"E"}


def _logged_in(gateway: GatewayProcess) -> WireClient:
    client = WireClient(gateway.port, timeout_s=5)
    client.login(gateway.mint("agent-1", ["agents"]))
    return client


@pytest.mark.parametrize("length", [*LENGTHS, 8, 10_001, 300_000])
def test_startup_length(single: GatewayProcess, length: int) -> None:
    """A length that can still be right is waited for, so the peer closes its half."""
    with WireClient(single.port, timeout_s=5) as client:
        client.send(_word(length) + b"\0\3\0\0user\0a\0\0")
        client.socket.shutdown(socket.SHUT_WR)
        _closed(client.until_end())


@pytest.mark.parametrize("length", LENGTHS)
def test_password_length(single: GatewayProcess, length: int) -> None:
    with WireClient(single.port, timeout_s=5) as client:
        client.send(startup(LOGIN))
        client.expect("R")
        client.send(b"p" + _word(length) + b"x\0")
        client.socket.shutdown(socket.SHUT_WR)
        answer = client.until_end()
        codes = [error["C"] for error in errors(answer)]
        assert codes in ([], ["08P01"], ["28P01"])


@pytest.mark.parametrize("kind", "QPBDECSHXdcfFp")
@pytest.mark.parametrize("length", LENGTHS)
def test_message_length(single: GatewayProcess, kind: str, length: int) -> None:
    """After login, every message type with every bad length."""
    with _logged_in(single) as client:
        client.send(kind.encode() + _word(length) + b"\0")
        client.socket.shutdown(socket.SHUT_WR)
        answer = client.until_end()
        assert not rows(answer)
        codes = [error["C"] for error in errors(answer)]
        assert len([c for c in codes if c == "08P01"]) <= 1
        if length < 4 or length > 1 << 30:
            # Impossible in itself: said at once, before the end of the stream.
            assert codes == ["08P01"]


INT32_MAX, UINT32_MAX = b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    "broken",
    [
        message("Q", b"select 1"),
        message("Q", b""),
        message("Q", b"select 1\0select 2\0"),
        message("P", b"name"),
        message("P", b"name\0select 1"),
        message("P", b"\0select 1\0"),
        message("P", b"\0select 1\0\0"),
        message("P", b"\0select 1\0\0\1"),
        message("P", b"\0select 1\0\xff\xff"),
        message("P", b"\0select 1\0\x7f\xff\0\0\0\1"),
        message("P", b"\0select 1\0\0\0extra"),
        message("B", b""),
        message("B", b"\0"),
        message("B", b"\0\0"),
        message("B", b"\0\0\0\0"),
        message("B", b"\0\0\0\0\0\1"),
        message("B", b"\0\0\0\0\0\1" + INT32_MAX + b"x\0\0"),
        message("B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"),
        message("B", b"\0\0\0\0\0\1\x80\0\0\0\0\0"),
        message("B", b"\0\0\0\0\xff\xff"),
        message("B", b"\0\0\x7f\xff\0\0\0\0"),
        message("B", b"\0\0\0\0\0\0\0\5\0\1"),
        message("B", b"\0\0\0\0\0\0\0\0extra"),
        message("D", b""),
        message("D", b"S"),
        message("D", b"Sname"),
        message("D", b"X\0"),
        message("D", b"S\0extra"),
        message("E", b""),
        message("E", b"\0"),
        message("E", b"\0\0\0"),
        message("E", b"name\0\0\0\0\0\0"),
        message("C", b""),
        message("C", b"Q\0"),
        message("C", b"Sname"),
        message("S", b"x"),
        message("H", b"x"),
        message("Z", b"I"),
        message("R", b"\0\0\0\0"),
        message("T", b"\0\0"),
        message("D" * 1, b"\0"),
        b"\0\0\0\0\4",
        b"\xff" * 5,
        b"!" + _word(8) + b"abcd",
        message("p", b"token\0"),
        message("F", b"\0"),
        startup(LOGIN),
        SSL_REQUEST,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_broken_message(single: GatewayProcess, broken: bytes) -> None:
    """Of a message that does not parse nothing runs and the session cannot go on."""
    with _logged_in(single) as client:
        client.send(parse("select 1") if broken[:1] == b"B" else b"", broken, SYNC)
        client.socket.shutdown(socket.SHUT_WR)
        answer = client.until_end()
        assert not rows(answer)
        codes = [error["C"] for error in errors(answer)]
        assert codes in ([], ["08P01"]) or broken[:1] in b"DECF", (codes, kinds(answer))
        assert kinds(answer).count("E") <= 1


def test_a_second_startup_says_so(single: GatewayProcess) -> None:
    with _logged_in(single) as client:
        client.send(startup(LOGIN))
        answer = client.until_end()
    assert [error["C"] for error in errors(answer)] == ["08P01"]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: postern\r\n\r\n",
        b"POST /v1/approvals HTTP/1.1\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"r" * 507,
        query("select 1"),
        message("p", b"token\0"),
        b"\0\0\0\x08\0\0\0\0",
        b"\0\0\0\x09\0\3\0\0\0\0",
        _word(16) + b"\0\3\0\0user\0a\0x",
        _word(8) + _word(196608),
        _word(9) + _word(196608) + b"\0",
        _word(20) + _word(196608) + b"user\0agent\0x",
        startup({"user": "agent"}, protocol=131072),
        startup({"user": "agent"}, protocol=262144),
        startup({"user": "agent"}, protocol=0xFFFFFFFF),
        startup({"database": "orders"}),
        startup({"user": "", "database": "orders"}),
        _word(12) + _word(80877103) + b"junk",
        _word(12) + _word(80877104) + b"junk",
        _word(8) + _word(80877102),
        _word(12) + _word(80877102) + b"\0\0\0\1",
        startup(LOGIN) + query("select 1"),
        startup(LOGIN) + startup(LOGIN),
        SSL_REQUEST + SSL_REQUEST,
    ],
)
def test_broken_before_login(single: GatewayProcess, sent: bytes) -> None:
    with WireClient(single.port, timeout_s=5) as client:
        client.send(sent)
        client.socket.shutdown(socket.SHUT_WR)
        data = b""
        while True:
            try:
                chunk = client.socket.recv(65536)
            except ConnectionResetError:
                break
            if not chunk:
                break
            data += chunk
    assert b"D\0" not in data
    assert data.count(b"SFATAL\0") <= 1
    if b"SFATAL" in data:
        assert b"C08P01\0" in data or b"C0A000\0" in data or b"C28" in data


def test_tls_hello_without_sslrequest(single: GatewayProcess) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", single.port), 5)
    with raw, pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(raw, server_hostname="localhost")


def test_byte_by_byte_login_and_query(single: GatewayProcess) -> None:
    """The other side of it: slow is not broken."""
    token = single.mint("slow", ["agents"])
    with WireClient(single.port) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for sent in (startup(LOGIN), message("p", token.encode() + b"\0"), query("select 4")):
            for position in range(len(sent)):
                client.send(sent[position : position + 1])
            if sent[0:1] == b"\0":
                client.expect("R")
            else:
                answer = client.until_ready()
        assert rows(answer) == [[b"4"]]


def test_everything_in_one_packet_after_login(single: GatewayProcess) -> None:
    """A password and the first statement arrive together."""
    token = single.mint("fast", ["agents"])
    with WireClient(single.port) as client:
        client.send(startup(LOGIN))
        client.expect("R")
        client.send(message("p", token.encode() + b"\0"), query("select 5"), query("select 6"))
        client.until_ready()
        assert rows(client.until_ready()) == [[b"5"]]
        assert rows(client.until_ready()) == [[b"6"]]


def test_half_a_message_and_gone(single: GatewayProcess) -> None:
    """A Parse that is never complete reaches no server, however often."""
    for _ in range(20):
        client = _logged_in(single)
        client.send(b"Q" + _word(5000) + b"insert into sales.scratch values (999);")
        client.socket.close()
    with _logged_in(single) as client:
        answer = client.ask(query("select count(*) from sales.scratch where id = 999"))
        assert rows(answer) == [[b"0"]]


def test_gone_in_the_middle_of_copy(single: GatewayProcess) -> None:
    for _ in range(3):
        client = _logged_in(single)
        client.send(query("copy sales.scratch (id) from stdin"))
        client.expect("G")
        client.send(message("d", b"9" * 5 + b"\n"))
        client.socket.close()
    with _logged_in(single) as client:
        answer = client.ask(query("select count(*) from sales.scratch where id = 99999"))
        assert rows(answer) == [[b"0"]]


def test_gone_in_the_middle_of_rows(single: GatewayProcess) -> None:
    """Nobody else gets the rest of the rows."""
    for _ in range(5):
        client = _logged_in(single)
        client.send(query("select repeat('x', 1000), i from generate_series(1, 20000) i"))
        client.expect("T")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
    with _logged_in(single) as client:
        for number in range(30):
            assert rows(client.ask(query(f"select {number}"))) == [[str(number).encode()]]


def test_silent_peers_hold_nothing(single: GatewayProcess) -> None:
    """A hundred that say nothing do not keep anybody out."""
    idle = [socket.create_connection(("127.0.0.1", single.port), 5) for _ in range(100)]
    try:
        start = time.monotonic()
        with _logged_in(single) as client:
            assert rows(client.ask(query("select 1"))) == [[b"1"]]
        assert time.monotonic() - start < 3
    finally:
        for connection in idle:
            connection.close()


def test_random_bytes(single: GatewayProcess) -> None:
    """Seeded noise after login: a close or errors, never a row, never a stuck connection."""
    import random

    noise = random.Random(20)
    for _ in range(60):
        with _logged_in(single) as client:
            kind = noise.choice("QPBDECSHdcfXFp~\0")
            body = noise.randbytes(noise.randrange(0, 60))
            client.send(message(kind, body), noise.randbytes(noise.randrange(0, 20)))
            client.socket.shutdown(socket.SHUT_WR)
            assert not rows(client.until_end())
