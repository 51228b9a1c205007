"""TLS towards the client and towards the server, and Unix sockets on both sides."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from gateway.demo.postgres import Cluster
from tests.support.certs import Certificates, make_certificates
from tests.support.gateway import GatewayProcess, free_port, wait_until
from tests.support.postgres import sample_cluster
from tests.support.stands import SYSTEM, Stand, bin_dir, own_directory
from tests.support.wireclient import (
    SSL_REQUEST,
    WireClient,
    errors,
    kinds,
    message,
    query,
    rows,
    startup,
)

GSS_REQUEST = (8).to_bytes(4, "big") + (80877104).to_bytes(4, "big")


def _secured_cluster(stack: ExitStack) -> tuple[Cluster, Certificates]:
    """A cluster that takes logins of the network inside TLS only.

    The system's server: the one that pip delivers is built without TLS.
    """
    cluster = stack.enter_context(sample_cluster(bin_dir(SYSTEM), log_statement="all"))
    certificates = make_certificates(cluster.directory / "tls")
    for path in (certificates.key.parent, *certificates.key.parent.iterdir()):
        cluster._give_away(path)
    access = cluster.data / "pg_hba.conf"
    access.write_text("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
    cluster.stop()
    cluster.settings |= {
        "ssl": "on",
        "ssl_cert_file": str(certificates.certificate),
        "ssl_key_file": str(certificates.key),
    }
    cluster.start()
    return cluster, certificates


@pytest.fixture(scope="module")
def secured() -> Iterator[tuple[Stand, Certificates]]:
    """TLS on both sides, `verify-full` towards the server, a Unix socket beside the port."""
    with ExitStack() as stack:
        cluster, certificates = _secured_cluster(stack)
        directory = Path(stack.enter_context(own_directory()))
        port = free_port()
        gateway = GatewayProcess(
            cluster,
            directory,
            port=port,
            listen=f"0.0.0.0:{port}",
            also_listen=str(directory / f".s.PGSQL.{port}"),
            extra=f'tls_cert = "{certificates.certificate}"\ntls_key = "{certificates.key}"',
            target=f'host = "localhost"\nport = {cluster.port}\ntls = "verify-full"\n'
            f'tls_ca = "{certificates.authority}"',
        )
        yield Stand(cluster, stack.enter_context(gateway)), certificates


def _trusting(certificates: Certificates, **versions: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.authority))
    for name, value in versions.items():
        setattr(context, name, value)
    return context


def test_server_side_is_encrypted(secured: tuple[Stand, Certificates]) -> None:
    stand, _ = secured
    with stand.gateway.connect() as connection:
        connection.execute("select 1")
        with stand.server() as server:
            used = server.execute(
                "select ssl, version from pg_stat_ssl join pg_stat_activity using (pid)"
                " where usename = 'pn_login'"
            ).fetchall()
    assert used
    assert {row[0] for row in used} == {True}


def test_psql_verify_full(secured: tuple[Stand, Certificates]) -> None:
    stand, certificates = secured
    done = stand.gateway.run(
        "psql", "-X", "-A", "-t", "-c", r"\conninfo", "-c", "table sales.customer_names",
        PGSSLMODE="verify-full", PGSSLROOTCERT=str(certificates.authority), PGHOST="localhost",
    )  # fmt: skip
    assert "TLSv1.3" in done.stdout
    assert "Customer 50" in done.stdout


def test_wrong_name_and_authority_are_noticed(
    secured: tuple[Stand, Certificates], tmp_path: Path
) -> None:
    """The certificate is really the configured one, so libpq's checks mean something."""
    stand, certificates = secured
    other = make_certificates(tmp_path)
    for host, authority in (("127.0.0.2", certificates.authority), ("localhost", other.authority)):
        with pytest.raises(psycopg.OperationalError, match="certificate"):
            stand.gateway.connect(host=host, sslmode="verify-full", sslrootcert=str(authority))


@pytest.mark.parametrize("mode", ["require", "prefer", "disable"])
def test_psycopg(secured: tuple[Stand, Certificates], mode: str) -> None:
    """Loopback may go without; where TLS is offered, `prefer` takes it."""
    stand, _ = secured
    with stand.gateway.connect(sslmode=mode) as connection:
        assert connection.pgconn.ssl_in_use == (mode != "disable")
        row = connection.execute("select email from sales.customers where id = %s", (3,)).fetchone()
        assert row == ("***@***.***",)


def _own_addresses() -> set[str]:
    found = {
        str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    }
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found.add(str(probe.getsockname()[0]))
        except OSError:
            pass
    return {address for address in found if not address.startswith("127.")}


def test_elsewhere_tls_is_required(secured: tuple[Stand, Certificates]) -> None:
    """A token never travels in the clear over a network: refused before it is asked for."""
    stand, _ = secured
    for address in _own_addresses():
        with WireClient(stand.gateway.port, host=address) as client:
            client.send(startup({"user": "agent", "database": "orders"}))
            answer = client.until_end()
            assert kinds(answer) == "E"
            (fields,) = errors(answer)
            assert (fields["S"], fields["C"], fields["M"][:5]) == ("FATAL", "28000", "PN105")
        with stand.gateway.connect(host=address, sslmode="require") as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_asyncpg(secured: tuple[Stand, Certificates]) -> None:
    stand, certificates = secured

    async def run() -> None:
        connection = await asyncpg.connect(
            host="localhost",
            port=stand.gateway.port,
            user="agent",
            database="orders",
            password=stand.gateway.mint("agent-1", ["agents"]),
            ssl=_trusting(certificates),
        )
        rows_seen = await connection.fetch(
            "select repeat('x', 20000), i from generate_series(1, 200) i"
        )
        assert [len(row[0]) for row in rows_seen] == [20_000] * 200
        await connection.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_psycopg_async_with_big_rows(secured: tuple[Stand, Certificates]) -> None:
    """Records above 8 kB made libpq's asynchronous reads hang behind another gateway."""
    stand, _ = secured

    async def run() -> None:
        connection = await psycopg.AsyncConnection.connect(
            stand.gateway.dsn(),
            password=stand.gateway.mint("agent-1", ["agents"]),
            sslmode="require",
        )
        async with connection, connection.cursor() as cursor:
            await cursor.execute("select repeat('x', 50000), i from generate_series(1, 300) i")
            assert len(await cursor.fetchall()) == 300
            await cursor.execute("select length(%s)", ("y" * 3_000_000,))
            assert await cursor.fetchone() == (3_000_000,)

    asyncio.run(asyncio.wait_for(run(), 30))


def test_both_directions_full(secured: tuple[Stand, Certificates]) -> None:
    """Much is sent before anything is read: back-pressure, not a dead lock."""
    stand, certificates = secured
    with WireClient(stand.gateway.port, host="localhost", timeout_s=30) as client:
        client.start_tls(_trusting(certificates))
        client.login(stand.gateway.mint("agent-1", ["agents"]))
        count = 60
        sent = query(f"select repeat('z', 200000) /* {'c' * 20000} */")
        sender = threading.Thread(target=client.send, args=[sent] * count)
        sender.start()
        for _ in range(count):
            assert [len(row[0] or b"") for row in rows(client.until_ready())] == [200_000]
        sender.join()


def test_cancel_inside_tls(secured: tuple[Stand, Certificates]) -> None:
    stand, _ = secured
    with stand.gateway.connect(sslmode="require") as connection, stand.server() as server:
        with server.transaction():
            server.execute("select 1 from sales.refunds where id = 3 for update")
            for cancel in (connection.cancel_safe, connection.cancel):
                timer = threading.Timer(0.3, cancel)
                timer.start()
                with pytest.raises(psycopg.errors.QueryCanceled):
                    connection.execute("update sales.refunds set note = note where id = 3")
                timer.join()
        assert connection.execute("select 1").fetchone() == (1,)


def test_bytes_before_tls(secured: tuple[Stand, Certificates]) -> None:
    """What was sent in the clear behind SSLRequest never counts as sent inside TLS."""
    stand, _ = secured
    for extra in (startup({"user": "agent", "database": "orders"}), b"x", b"\x16\x03\x01"):
        with WireClient(stand.gateway.port, host="localhost", timeout_s=5) as client:
            client.send(SSL_REQUEST + extra)
            data = b""
            while True:
                try:
                    chunk = client.socket.recv(4096)
                except ConnectionResetError:
                    break
                if not chunk:
                    break
                data += chunk
        assert not data.startswith(b"S")
        assert data == b"" or b"C08P01\0" in data
    wait_until(
        lambda: "bytes_before_tls" in str(stand.gateway.audit("--kind", "session.refused")),
        5, "the refusal is recorded",
    )  # fmt: skip


def test_requests_in_any_order_once_each(secured: tuple[Stand, Certificates]) -> None:
    stand, certificates = secured
    token = stand.gateway.mint("agent-1", ["agents"])
    with WireClient(stand.gateway.port, host="localhost") as client:
        client.send(GSS_REQUEST)
        assert client.socket.recv(1) == b"N"
        client.start_tls(_trusting(certificates))
        client.login(token)
        assert rows(client.ask(query("select 1"))) == [[b"1"]]
    for twice in (GSS_REQUEST, SSL_REQUEST):
        with WireClient(stand.gateway.port, host="localhost") as client:
            if twice == SSL_REQUEST:
                client.start_tls(_trusting(certificates))
            else:
                client.send(twice)
                assert client.socket.recv(1) == b"N"
            client.send(twice)
            answer = client.until_end()
            assert [fields["C"] for fields in errors(answer)] in ([], ["08P01"])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(secured: tuple[Stand, Certificates], version: ssl.TLSVersion) -> None:
    stand, certificates = secured
    context = _trusting(certificates, minimum_version=version, maximum_version=version)
    with WireClient(stand.gateway.port, host="localhost") as client:
        client.start_tls(context)
        client.login(stand.gateway.mint("agent-1", ["agents"]))
        assert rows(client.ask(query("select 1"))) == [[b"1"]]


def test_noise_instead_of_a_handshake(secured: tuple[Stand, Certificates]) -> None:
    stand, _ = secured
    with stand.gateway.connect() as neighbour:
        for noise in (b"x" * 500, b"\x16\x03\x01\xff\xff" + b"a" * 100, b"", b"\x16"):
            with WireClient(stand.gateway.port, host="localhost", timeout_s=5) as client:
                client.send(SSL_REQUEST)
                assert client.socket.recv(1) == b"S"
                client.send(noise)
                client.socket.shutdown(socket.SHUT_WR)
                while True:
                    try:
                        if not client.socket.recv(4096):
                            break
                    except ConnectionResetError:
                        break
        assert neighbour.execute("select 1").fetchone() == (1,)


def test_the_audit_says_how_they_came(secured: tuple[Stand, Certificates]) -> None:
    stand, _ = secured
    with stand.gateway.connect(sslmode="require", subject="by-tls") as connection:
        connection.execute("select 1")

    def seen() -> set[str]:
        found = stand.gateway.audit("--kind", "session.opened", "--limit", "1000")
        return {str(r.get("tls")) for r in found if "by-tls" in str(r)}

    wait_until(lambda: seen() == {"TLSv1.3"}, 5, "the session is recorded with its TLS version")


@pytest.mark.parametrize("mode", ["disable", "prefer"])
def test_unix_socket(secured: tuple[Stand, Certificates], mode: str) -> None:
    stand, _ = secured
    directory = str(stand.gateway.directory)
    with stand.gateway.connect(host=directory, sslmode=mode) as connection:
        row = connection.execute("select email from sales.customers where id = 3").fetchone()
        assert row == ("***@***.***",)
    with pytest.raises(psycopg.OperationalError, match="PN101"):
        stand.gateway.connect(host=directory, password="nothing")


def test_unix_socket_to_the_server() -> None:
    """The shortest way to a server on the same host."""
    with sample_cluster(bin_dir(SYSTEM)) as cluster, own_directory() as directory:
        target = f'host = "{cluster.sockets}"\nport = {cluster.port}\ntls = "disable"'
        with GatewayProcess(cluster, Path(directory), target=target) as gateway:
            with gateway.connect() as connection:
                assert connection.execute("select 1, current_user").fetchone() == (1, "pn_write")
            stand = Stand(cluster, gateway)
            with stand.server() as server:
                addresses = server.execute(
                    "select distinct client_addr from pg_stat_activity where usename = 'pn_login'"
                ).fetchall()
            assert addresses == [(None,)]


def test_server_without_tls_gets_no_password(stand: Stand) -> None:
    """`require` towards a server that says N ends there; the credential is not sent."""
    with socket.create_server(("127.0.0.1", 0)) as fake, own_directory() as directory:
        port = fake.getsockname()[1]
        received = bytearray()

        def serve() -> None:
            fake.settimeout(15)
            try:
                peer, _ = fake.accept()
                with peer:
                    peer.settimeout(3)
                    received.extend(peer.recv(100))
                    peer.sendall(b"N")
                    received.extend(peer.recv(1000))
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        gateway = GatewayProcess(
            stand.cluster,
            Path(directory),
            target=f'host = "localhost"\nport = {port}\ntls = "require"',
        )
        gateway.write_config()
        said = gateway.cli("check", "-c", str(gateway.config), check=False)
        thread.join()
        assert bytes(received) == SSL_REQUEST
        assert "TLS" in said


def test_message_helpers_frame() -> None:
    """The suite's own bytes are right: a wrong helper would make every refusal above worthless."""
    assert message("Q", b"a\0") == b"Q\0\0\0\6a\0"
    assert query("a") == b"Q\0\0\0\6a\0"
