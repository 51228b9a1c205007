"""Dial a real PostgreSQL by every way to log in, whole and byte by byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from typing import Any

import pytest

from gateway.config import Roles, Target
from gateway.errors import UpstreamError
from gateway.upstream.cancel import send_cancel
from gateway.upstream.dial import dial
from gateway.upstream.selfcheck import check_target
from gateway.upstream.startup import build_role_setup, build_server_startup, build_settings_query
from tests.integration.dial_parts import (
    OPEN,
    PASSWORD,
    PG_BIN,
    RunAsync,
    Server,
    ask,
    dial_and_ask,
    free_port,
)

pytestmark = pytest.mark.skipif(not PG_BIN.exists(), reason="needs Debian's postgresql-15")


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
    assert "refused" in refused(run, server.target(port=free_port()), "").lower()
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
    problems = run(check_target(server.target(port=free_port()), b""))
    assert len(problems) == 1


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
