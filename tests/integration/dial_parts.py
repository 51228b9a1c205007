"""A PostgreSQL 15 with one login role per authentication method, and who talks to it."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import shutil
import socket
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
from gateway.protocol.messages import build_query
from gateway.upstream.dial import DialedConnection, dial
from gateway.upstream.startup import build_server_startup

PG_BIN = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "s3cret pässwörd Ⅸ"

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


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A cluster of PostgreSQL 15 with one login role per authentication method."""
    root = Path(tempfile.mkdtemp(prefix="postern-dial-"))
    data, port = root / "data", free_port()
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
