"""Sessions that keep a server connection and do nothing with it are ended; others are not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.stands import EMBEDDED, Stands, own_directory
from tests.support.wireclient import (
    FLUSH,
    WireClient,
    bind,
    error_fields,
    errors,
    execute,
    kinds,
    message,
    parse,
    query,
    rows,
    startup,
)

LIMIT_S = 2


@pytest.fixture(scope="module")
def strict(stands: Stands) -> Iterator[GatewayProcess]:
    limits = f'idle_in_transaction = "{LIMIT_S}s"\nslow_reader = "{LIMIT_S}s"\nper_identity = 8'
    with (
        own_directory() as directory,
        GatewayProcess(
            stands.cluster(EMBEDDED), Path(directory), workers=1,
            sections=f"[pool]\nsize = 3\ntotal = 2\n[sessions]\n{limits}",
        ) as gateway,
    ):  # fmt: skip
        yield gateway


def _logged_in(gateway: GatewayProcess) -> WireClient:
    client = WireClient(gateway.port, timeout_s=LIMIT_S + 5)
    client.login(gateway.mint("agent-1", ["agents"]))
    return client


HELD = {
    "transaction": [query("begin"), query("select 1")],
    "failed transaction": [query("begin"), query("select 1 / 0")],
    "open batch": [parse("select 1"), bind(), execute(), FLUSH],
    "copy in": [query("copy sales.scratch (id) from stdin")],
}


@pytest.mark.parametrize("how", HELD)
def test_idle_with_a_server_connection(strict: GatewayProcess, how: str) -> None:
    with _logged_in(strict) as client:
        client.send(*HELD[how])
        started = time.monotonic()
        said = [error["M"] for error in errors(client.until_end())]
        assert time.monotonic() - started > LIMIT_S - 1
        assert said[-1].startswith("PN203")
        assert "idle in a transaction" in said[-1]
    with _logged_in(strict) as other:
        assert rows(other.ask(query("select 1"))) == [[b"1"]]


def test_who_is_not_idle_stays(strict: GatewayProcess) -> None:
    """A COPY that moves, and a session without a transaction."""
    with _logged_in(strict) as copying, _logged_in(strict) as resting:
        resting.ask(query("begin"))
        resting.ask(query("commit"))
        copying.ask(query("begin"))
        copying.send(query("copy sales.scratch (id) from stdin"))
        copying.expect("G")
        for number in range(2 * LIMIT_S + 2):
            threading.Event().wait(0.5)
            copying.send(message("d", b"%d\n" % (7_000_000 + number)))
        copying.send(message("c"))
        assert kinds(copying.until_ready()) == "CZ"
        copying.ask(query("rollback"))
        assert rows(resting.ask(query("select 1"))) == [[b"1"]]


def test_a_long_statement_is_not_idle(stands: Stands, strict: GatewayProcess) -> None:
    cluster = stands.cluster(EMBEDDED)
    with (
        _logged_in(strict) as client,
        psycopg.connect(
            host=str(cluster.sockets), port=cluster.port, dbname="orders", user="postgres"
        ) as server,
    ):
        client.ask(query("begin"))
        server.execute("lock table sales.scratch")
        client.send(query("select count(*) from sales.scratch"))
        threading.Event().wait(LIMIT_S + 2)
        server.rollback()
        assert kinds(client.until_ready()) == "TDCZ"


def test_who_reads_nothing(strict: GatewayProcess) -> None:
    """The rows of a client that does not read stay in no buffer for ever."""
    with _logged_in(strict) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(query("select repeat('x', 1000) from generate_series(1, 200000)"))
        wait_until(lambda: _ended(strict, "slow_reader"), LIMIT_S + 5, "it is ended")
    with _logged_in(strict) as other:
        assert rows(other.ask(query("select 1"))) == [[b"1"]]


def _ended(gateway: GatewayProcess, reason: str) -> bool:
    closed = gateway.audit("--kind", "session.closed")
    return any(record["reason"] == reason for record in closed)


def test_total_of_server_connections(strict: GatewayProcess) -> None:
    """`pool.total` over one worker: a third transaction finds no connection."""
    with _logged_in(strict) as one, _logged_in(strict) as two, _logged_in(strict) as three:
        one.ask(query("begin"))
        two.ask(query("begin"))
        three.send(query("select 3"))
        one.ask(query("commit"))
        assert rows(three.until_ready()) == [[b"3"]]
        one.send(query("select 1"))
        three.ask(query("begin"))
        two.ask(query("commit"))
        assert rows(one.until_ready()) == [[b"1"]]


def test_one_identity_does_not_take_every_place(strict: GatewayProcess) -> None:
    def login(subject: str) -> str:
        """The SQLSTATE of a refusal, "" for a login that stays."""
        client = WireClient(strict.port, timeout_s=5)
        clients.append(client)
        client.send(startup({"user": "agent", "database": "orders"}))
        client.expect("R")
        client.send(message("p", strict.mint(subject, ["agents"]).encode() + b"\0"))
        got = client.read()
        assert got is not None
        return error_fields(got[1])["C"] if got[0] == "E" else ""

    clients: list[WireClient] = []
    try:
        assert [login("greedy") for _ in range(10)] == [""] * 8 + ["53300"] * 2
        assert login("modest") == ""
        clients[0].socket.close()
        wait_until(lambda: login("greedy") == "", 5, "a place that was left is had again")
    finally:
        for client in clients:
            client.socket.close()
