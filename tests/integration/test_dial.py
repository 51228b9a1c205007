"""Dial a real PostgreSQL by every way to log in, and lying servers by none."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.config import Credential, Roles, Target
from gateway.errors import UpstreamError
from gateway.protocol.messages import build_query
from gateway.upstream.cancel import send_cancel
from gateway.upstream.dial import DialedConnection, dial
from gateway.upstream.selfcheck import check_target
from gateway.upstream.startup import build_role_setup, build_server_startup, build_settings_query

PG_BIN = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "s3cret pässwörd Ⅸ"

pytestmark = pytest.mark.skipif(not PG_BIN.exists(), reason="needs Debian's postgresql-15")

HBA = """
local all all trust
host all u_trust 127.0.0.1/32 trust
host all u_md5 127.0.0.1/32 md5
host all u_scram 127.0.0.1/32 scram-sha-256
host all u_clear 127.0.0.1/32 password
hostssl all u_tls 127.0.0.1/32 scram-sha-256
host all u_power 127.0.0.1/32 trust
host all all 127.0.0.1/32 reject
"""

ROLES = f"""
set password_encryption = 'md5';
create role u_md5 login password '{PASSWORD}';
set password_encryption = 'scram-sha-256';
create role u_trust login; create role u_power login createrole bypassrls;
create role u_scram login password '{PASSWORD}';
create role u_clear login password '{PASSWORD}';
create role u_tls login password '{PASSWORD}';
create role pn_read; create role "odd ""role"; grant pn_read, "odd ""role" to u_trust;
create role pn_files; grant pg_read_server_files to pn_files;
create role u_files login; grant pn_files to u_files;
"""


@dataclass(frozen=True)
class Server:
    """A private cluster."""

    port: int
    sockets: Path
    ca: Path
    other_ca: Path

    def target(self, **changes: Any) -> Target:
        base = Target(
            name="orders",
            host="127.0.0.1",
            port=self.port,
            database="postgres",
            tls="disable",
            tls_ca=None,
            user="u_trust",
            credential=Credential("none"),
            roles=Roles(read=None, write=None, admin=None),
            allow_superuser=False,
        )
        return replace(base, **changes)


def _as_postgres(*command: str | Path) -> list[str]:
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *words]
    return words


def _make_certs(directory: Path, name: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} authority")])

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
        )

    constraints = x509.BasicConstraints(ca=True, path_length=None)
    ca = build(ca_name, ca_key.public_key()).add_extension(constraints, critical=True)
    host = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = build(host, key.public_key()).add_extension(names, critical=False)
    pem = serialization.Encoding.PEM
    (directory / f"{name}-ca.pem").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (directory / f"{name}.pem").write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / f"{name}.key").write_bytes(private)
    (directory / f"{name}.key").chmod(0o600)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A cluster of PostgreSQL 15 with one login role per authentication method."""
    root = Path(tempfile.mkdtemp(prefix="postern-dial-"))
    data, port = root / "data", _free_port()
    for name in ("server", "other"):
        _make_certs(root, name)
    if os.geteuid() == 0:
        for path in (root, *root.iterdir()):
            shutil.chown(path, "postgres", "postgres")
    initdb: list[str | Path] = [
        PG_BIN / "initdb",
        "-D",
        data,
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-locale",
        "-N",
    ]
    subprocess.run(_as_postgres(*initdb, "-U", "postgres"), check=True, capture_output=True)
    (data / "pg_hba.conf").write_text(HBA)
    (data / "postgresql.conf").write_text(
        f"listen_addresses = '127.0.0.1'\nport = {port}\nfsync = off\n"
        f"unix_socket_directories = '{root}'\nssl = on\n"
        f"ssl_cert_file = '{root}/server.pem'\nssl_key_file = '{root}/server.key'\n"
    )
    control: list[str | Path] = [PG_BIN / "pg_ctl", "-D", data, "-w"]
    start = _as_postgres(*control, "-l", data / "log", "start")
    subprocess.run(start, check=True, capture_output=True)
    try:
        psql: list[str | Path] = [
            "psql",
            "-X",
            "-h",
            root,
            "-p",
            str(port),
            "-U",
            "postgres",
            "-v",
            "ON_ERROR_STOP=1",
        ]
        subprocess.run(
            _as_postgres(*psql, "-d", "postgres", "-qc", ROLES), check=True, capture_output=True
        )
        yield Server(port, root, root / "server-ca.pem", root / "other-ca.pem")
    finally:
        stop = _as_postgres(*control, "-m", "immediate", "stop")
        subprocess.run(stop, check=False, capture_output=True)
        shutil.rmtree(root, ignore_errors=True)


RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]


OPEN: list[asyncio.Transport] = []


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Iterator[RunAsync]:
    """Run coroutines on both event loops."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run
        while OPEN:
            OPEN.pop().abort()
        runner.run(asyncio.sleep(0))


class Collector(asyncio.Protocol):
    """What the caller of `dial` puts in: gathers bytes until ReadyForQuery."""

    def __init__(self) -> None:
        self.data = b""
        self.ready = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.data[-6:-1] == b"Z\0\0\0\5" and not self.ready.done():
            self.ready.set_result(None)


async def ask(connection: DialedConnection, sql: str | bytes) -> bytes:
    """Take the connection over as a session does, and run one query."""
    collector = Collector()
    connection.transport.set_protocol(collector)
    connection.transport.resume_reading()
    connection.transport.write(build_query(sql))
    await asyncio.wait_for(collector.ready, 5)
    return collector.data


async def dial_and_ask(target: Target, secret: str, sql: str = "select 'it' || 'works'") -> bytes:
    startup = build_server_startup(target, "write")
    connection = await dial(target, secret.encode(), startup, timeout_s=10)
    assert not connection.transport.is_reading()
    assert connection.backend_pid > 0
    assert len(connection.cancel_secret) == 4
    assert connection.server_version // 10_000 == 15
    assert connection.parameters["DateStyle"] == "ISO, MDY"
    try:
        return await ask(connection, sql)
    finally:
        connection.transport.abort()


@pytest.mark.parametrize(
    ("user", "secret"),
    [("u_trust", ""), ("u_md5", PASSWORD), ("u_scram", PASSWORD), ("u_clear", PASSWORD)],
)
def test_login_by_method(server: Server, run: RunAsync, user: str, secret: str) -> None:
    """Goal: each method logs in and the connection answers queries afterwards."""
    assert b"itworks" in run(dial_and_ask(server.target(user=user), secret))


def test_login_over_unix_socket(server: Server, run: RunAsync) -> None:
    """Goal: a socket directory as host works, TLS mode or not."""
    target = server.target(host=str(server.sockets), tls="verify-full")
    assert b"itworks" in run(dial_and_ask(target, ""))


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_login_inside_tls(server: Server, run: RunAsync, mode: str) -> None:
    """Goal: every TLS mode works when the certificate is good."""
    target = server.target(user="u_tls", tls=mode, tls_ca=server.ca)
    assert b"itworks" in run(dial_and_ask(target, PASSWORD))


def refused(run: RunAsync, target: Target, secret: str = PASSWORD, timeout_s: float = 5) -> str:
    startup = build_server_startup(target, "read")
    with pytest.raises(UpstreamError) as caught:
        run(dial(target, secret.encode(), startup, timeout_s=timeout_s))
    assert not secret or secret not in str(caught.value)
    assert "orders" in str(caught.value)
    return f"{caught.value.sqlstate} {caught.value}"


def test_tls_refusals(server: Server, run: RunAsync) -> None:
    """Goal: a certificate of another authority or for another host is not accepted."""
    base = server.target(user="u_tls", tls="verify-full", tls_ca=server.ca)
    assert "certificate" in refused(run, replace(base, tls_ca=server.other_ca))
    assert "certificate" in refused(run, replace(base, host="localhost"))
    assert "certificate" in refused(run, replace(base, tls_ca=None))
    assert "tls_ca" in refused(run, replace(base, tls="verify-ca", tls_ca=None))
    assert "28000" in refused(run, replace(base, tls="disable"))  # pg_hba wants TLS


@pytest.mark.parametrize("user", ["u_md5", "u_scram", "u_clear"])
def test_wrong_password(server: Server, run: RunAsync, user: str) -> None:
    """Goal: the server's refusal is told with its SQLSTATE, the password is not."""
    assert refused(run, server.target(user=user), "wrong secret 42").startswith("28P01")


def test_missing_credential_and_unreachable(server: Server, run: RunAsync) -> None:
    """Goal: what an operator got wrong is named."""
    assert "no credential" in refused(run, server.target(user="u_scram"), "")
    assert "3D000" in refused(run, server.target(database="nosuch"), "")
    assert "refused" in refused(run, server.target(port=_free_port()), "").lower()
    assert "orders" in refused(run, server.target(host="/nonexistent"), "")


def test_role_and_settings_are_quoted(server: Server, run: RunAsync) -> None:
    """Goal: a role or value with quotes in it is a name or a value, nothing else."""
    target = server.target(roles=Roles(read='odd "role', write=None, admin=None))

    async def go() -> tuple[bytes, bytes, bytes]:
        startup = build_server_startup(target, "read")
        connection = await dial(target, b"", startup, timeout_s=5)
        OPEN.append(connection.transport)
        await ask(connection, build_role_setup(target, "read"))
        await ask(connection, build_settings_query({"application_name": "it's; select 1"}))
        role = await ask(connection, "select current_user")
        name = await ask(connection, "show application_name")
        return role, name, await ask(connection, "create table t(i int)")

    role, name, write = run(go())
    assert b'odd "role' in role
    assert b"it's; select 1" in name
    assert b"25006" in write


@pytest.mark.parametrize("tls", ["disable", "verify-full"])
def test_cancel(server: Server, run: RunAsync, tls: str) -> None:
    """Goal: the running statement ends with 57014 and the cancel connection is closed."""
    target = server.target(tls=tls, tls_ca=server.ca)

    async def go() -> bytes:
        startup = build_server_startup(target, "read")
        connection = await dial(target, b"", startup, timeout_s=5)
        OPEN.append(connection.transport)
        running = asyncio.ensure_future(ask(connection, "select pg_sleep(30)"))
        pid, secret = connection.backend_pid, connection.cancel_secret
        while not running.done():  # one that comes before the statement cancels nothing
            await send_cancel(target, pid, secret, timeout_s=5)
            await asyncio.wait([running], timeout=0.05)
        return await running

    assert b"57014" in run(go())


def test_check_target(server: Server, run: RunAsync) -> None:
    """Goal: power, roles that cannot be set and dead servers are one line each."""
    good = server.target(roles=Roles(read="pn_read", write=None, admin=None))
    assert run(check_target(good, b"")) == []
    local = server.target(host=str(server.sockets))
    problems = run(check_target(replace(local, user="postgres"), b""))
    assert any("superuser" in line for line in problems)
    assert run(check_target(replace(local, user="postgres", allow_superuser=True), b"")) == []
    problems = run(check_target(server.target(user="u_power"), b""))
    assert any("CREATEROLE" in line and "BYPASSRLS" in line for line in problems)
    problems = run(check_target(replace(local, user="u_files"), b""))
    assert any("pg_read_server_files" in line for line in problems)
    roles = Roles(read="pn_files", write="nosuch", admin=None)
    problems = run(check_target(replace(local, roles=roles), b""))
    assert len(problems) == 2
    assert "nosuch" in "".join(problems)
    problems = run(check_target(server.target(port=_free_port()), b""))
    assert len(problems) == 1


# --- lying servers -----------------------------------------------------------------------


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


def test_handshake_byte_by_byte(server: Server, run: RunAsync) -> None:
    """Goal: where the reads split does not matter. Method: a proxy that sends single bytes."""

    async def go() -> bytes:
        loop = asyncio.get_running_loop()

        class Upstream(asyncio.Protocol):
            def __init__(self, client: asyncio.Transport) -> None:
                self.client = client

            def data_received(self, data: bytes) -> None:
                for byte in data:
                    loop.call_soon(self.client.write, bytes([byte]))

        class Proxy(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transport.get_extra_info("socket").setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
                )
                OPEN.append(transport)
                self.opening = loop.create_task(self.open(transport))

            async def open(self, client: asyncio.Transport) -> asyncio.Transport:
                upstream, _ = await loop.create_connection(
                    lambda: Upstream(client), "127.0.0.1", server.port
                )
                OPEN.append(upstream)
                return upstream

            def data_received(self, data: bytes) -> None:
                self.opening.add_done_callback(lambda task: task.result().write(data))

        proxy = await loop.create_server(Proxy, "127.0.0.1", 0)
        target = server.target(user="u_scram", port=proxy.sockets[0].getsockname()[1])
        try:
            return await dial_and_ask(target, PASSWORD)
        finally:
            proxy.close()

    assert b"itworks" in run(go())


def test_ssl_context_is_modern(server: Server) -> None:
    """Goal: nothing below TLS 1.2 is offered."""
    from gateway.upstream.tls import build_client_context

    context = build_client_context("t", "verify-full", server.ca)
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
