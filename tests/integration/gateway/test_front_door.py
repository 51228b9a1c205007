"""How a client arrives: TLS at once, and behind a load balancer that says who it is."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.certs import Certificates, make_certificates
from tests.support.gateway import GatewayProcess, free_port, wait_until
from tests.support.stands import EMBEDDED, Stands, own_directory
from tests.support.wireclient import SSL_REQUEST, WireClient, errors, query, rows, startup

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def header(address: str = "", port: int = 4711, *, extra: bytes = b"") -> bytes:
    """A version 2 header of a TCP client at `address`, of the balancer itself without one."""
    if not address:
        return SIGNATURE + b"\x20\x00" + len(extra).to_bytes(2, "big") + extra
    source = ipaddress.ip_address(address)
    body = source.packed + source.packed + port.to_bytes(2, "big") + b"\x19\x21" + extra
    family = b"\x11" if source.version == 4 else b"\x21"
    return SIGNATURE + b"\x21" + family + len(body).to_bytes(2, "big") + body


@pytest.fixture(scope="module")
def door(stands: Stands) -> Iterator[tuple[GatewayProcess, Certificates]]:
    """One that offers TLS, on a port of its own address and, for balancers, on 127.0.0.2."""
    with own_directory() as directory:
        certificates = make_certificates(Path(directory) / "tls")
        port = free_port()
        with GatewayProcess(
            stands.cluster(EMBEDDED),
            Path(directory),
            workers=1,
            port=port,
            listen=f"0.0.0.0:{port}",
            extra=f'tls_cert = "{certificates.certificate}"\ntls_key = "{certificates.key}"\n'
            'proxy_protocol = ["127.0.0.2"]',
        ) as gateway:
            yield gateway, certificates


def balancer(gateway: GatewayProcess) -> WireClient:
    """A connection that comes from the address of the balancer."""
    client = WireClient(gateway.port)
    client.socket.close()
    client.socket = socket.create_connection(
        ("127.0.0.1", gateway.port), 10, source_address=("127.0.0.2", 0)
    )
    return client


def trusting(certificates: Certificates, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.authority))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


Door = tuple[GatewayProcess, Certificates]


def test_tls_at_once(door: Door) -> None:
    """As libpq does with sslnegotiation=direct."""
    gateway, certificates = door
    with WireClient(gateway.port) as client:
        context = trusting(certificates, "postgresql")
        client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
        client.login(gateway.mint("direct", ["agents"]))
        assert rows(client.ask(query("select 7"))) == [[b"7"]]


def test_tls_at_once_in_pieces(door: Door) -> None:
    gateway, certificates = door
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(certificates, "postgresql").wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    raw.send(bytes([byte]))
                incoming.write(raw.recv(65536))
        assert tls.selected_alpn_protocol() == "postgresql"
        raw.sendall(outgoing.read())
        tls.write(startup({"user": "agent", "database": "orders"}))
        raw.sendall(outgoing.read())
        while True:
            try:
                assert tls.read(1) == b"R"
                break
            except ssl.SSLWantReadError:
                incoming.write(raw.recv(65536))


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)], ids=["none", "another"])
def test_tls_at_once_needs_alpn(door: Door, protocols: tuple[str, ...]) -> None:
    """A browser led here by somebody (ALPACA) gets nowhere."""
    gateway, certificates = door
    with WireClient(gateway.port) as client:
        context = trusting(certificates, *protocols)
        client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
        try:
            client.send(startup({"user": "agent", "database": "orders"}))
            answer = client.until_end()
        except OSError:
            answer = []
        assert answer == []


def test_tls_twice(door: Door) -> None:
    """Inside TLS there is no second TLS, asked for or begun."""
    gateway, certificates = door
    for again in (SSL_REQUEST, b"\x16\x03\x01\x00\x05hello"):
        with WireClient(gateway.port) as client:
            client.start_tls(trusting(certificates))
            client.send(again)
            assert [error["C"] for error in errors(client.until_end())] in ([], ["08P01"])


@pytest.mark.parametrize("address", ["203.0.113.9", "2001:db8::9"])
def test_client_of_a_balancer(door: Door, address: str) -> None:
    """What counts is the client: its address is recorded, and TLS is asked of it."""
    gateway, certificates = door
    for pieces in (1, 400):
        with balancer(gateway) as client:
            told = header(address, extra=b"\x04\x00\x03abc")
            for at in range(0, len(told), pieces):
                client.send(told[at : at + pieces])
            client.start_tls(trusting(certificates))
            client.login(gateway.mint("balanced", ["agents"]))
            assert rows(client.ask(query("select 1"))) == [[b"1"]]
    seen = {record["client"] for record in gateway.audit("kind:session.opened")}
    assert f"{address}:4711" in seen


def test_balancer_on_loopback_does_not_lend_its_trust(door: Door) -> None:
    """Plain text is for clients of this machine; one from outside is not, whoever relays it."""
    gateway, _ = door
    with balancer(gateway) as client:
        client.send(header("203.0.113.9"), startup({"user": "agent", "database": "orders"}))
        assert [error["C"] for error in errors(client.until_end())] == ["28000"]
    with balancer(gateway) as client:
        client.send(header())
        client.login(gateway.mint("local", ["agents"]))


@pytest.mark.parametrize(
    "first",
    [
        startup({"user": "agent", "database": "orders"}),
        b"PROXY TCP4 203.0.113.9 203.0.113.9 4711 6433\r\n",
        SIGNATURE + b"\x11\x11\x00\x0c" + b"\0" * 12,
        SIGNATURE + b"\x22\x11\x00\x0c" + b"\0" * 12,
        SIGNATURE + b"\x21\x11\x00\x0b" + b"\0" * 11,
        SIGNATURE + b"\x21\x31\x00\xd8" + b"\0" * 216,
        SIGNATURE + b"\x21\x11\xff\xff" + b"\0" * 70_000,
        header("203.0.113.9") + header("203.0.113.10"),
    ],
    ids=["none", "version 1", "bad version", "command", "short", "unix", "long", "twice"],
)
def test_bad_header(door: Door, first: bytes) -> None:
    gateway, _ = door
    with balancer(gateway) as client:
        try:
            client.send(first)
            answer = client.until_end()
        except OSError:
            return
        assert [error["C"] for error in errors(answer)] == ["08P01"]


def test_header_of_a_stranger(door: Door) -> None:
    """Only who was named is believed."""
    gateway, _ = door
    with WireClient(gateway.port) as client:
        client.send(header("203.0.113.77"), startup({"user": "agent", "database": "orders"}))
        assert [error["C"] for error in errors(client.until_end())] == ["08P01"]
    seen = {record["client"] for record in gateway.audit("kind:session.refused")}
    assert not any(client.startswith("203.0.113.77") for client in seen)


def test_keep_alive_of_clients(door: Door) -> None:
    """A client that lost its power is noticed: its socket has the kernel's timer."""
    gateway, _ = door
    with WireClient(gateway.port) as client:
        client.login(gateway.mint("timer", ["agents"]))
        ours = f":{client.socket.getsockname()[1]:04X}"

        def timer() -> str:
            # The kernel's table: `timer` is 02 for keep-alive, 00 for none.
            lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            (found,) = [line[5] for line in lines if line[2].endswith(ours) and line[3] == "01"]
            return found[:2]

        # Until the greeting is acknowledged the one timer of a socket is for sending it again.
        wait_until(lambda: timer() == "02", 5, "the keep-alive timer runs")


def test_libpq_direct(door: Door) -> None:
    """Libpq itself, which insists on ALPN (17 and later)."""
    gateway, certificates = door
    with psycopg.connect(
        host="localhost", port=gateway.port, dbname="orders", user="agent",
        password=gateway.mint("direct", ["agents"]), sslmode="verify-full",
        sslnegotiation="direct", sslrootcert=str(certificates.authority), gssencmode="disable",
    ) as connection:  # fmt: skip
        assert connection.execute("select 42").fetchone() == (42,)
