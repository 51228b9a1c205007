"""Cancel requests: whoever waits, for a server, a person or a result, over both workers.

Statements here wait for a row lock held by a direct connection: they run for as long as the test
likes and cost no CPU.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.stands import EMBEDDED, Stand, Stands, own_directory
from tests.support.wireclient import WireClient, errors, kinds, query, rows

BLOCKED = "update sales.refunds set note = note where id = 3"


@contextmanager
def _row_locked(stand: Stand) -> Iterator[psycopg.Connection[Any]]:
    with stand.server() as server, server.transaction():
        server.execute("select 1 from sales.refunds where id = 3 for update")
        yield server


def _waiting(stand: Stand) -> int:
    with stand.server() as server:
        row = server.execute(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def _login(gateway: GatewayProcess, subject: str = "agent-1", group: str = "agents") -> WireClient:
    client = WireClient(gateway.port)
    client.login(gateway.mint(subject, [group]))
    return client


def _cancel(port: int, pid: int, secret: bytes) -> None:
    """Send a CancelRequest and wait for the end of the connection, which says nothing."""
    body = (80877102).to_bytes(4, "big") + pid.to_bytes(4, "big") + secret
    with socket.create_connection(("127.0.0.1", port), 5) as asker:
        asker.sendall((len(body) + 4).to_bytes(4, "big") + body)
        assert asker.recv(100) == b""


def _logged_in_on_every_worker(gateway: GatewayProcess) -> list[WireClient]:
    """Four clients of each worker: the kernel alone may give all of them to one."""
    clients: list[WireClient] = []
    for resting in gateway.pids("worker"):
        os.kill(resting, signal.SIGSTOP)
        try:
            clients += [_login(gateway) for _ in range(4)]
        finally:
            os.kill(resting, signal.SIGCONT)
    return clients


def test_running_on_every_worker(each_stand: Stand) -> None:
    """Goal: the key finds its worker. Method: more clients than workers, each cancelled alone."""
    gateway = each_stand.gateway
    clients = _logged_in_on_every_worker(gateway)
    assert len({client.key[0] >> 23 for client in clients}) == 2
    with _row_locked(each_stand):
        for client in clients:
            client.send(query(BLOCKED))
        wait_until(lambda: _waiting(each_stand) == len(clients), 5, "all run")
        for count, client in enumerate(clients, 1):
            # From a few connections each, so that some arrive at the other worker.
            _cancel(gateway.port, *client.key)
            answer = client.until_ready()
            assert [error["C"] for error in errors(answer)] == ["57014"]
            assert _waiting(each_stand) == len(clients) - count
    for client in clients:
        assert rows(client.ask(query("select 1"))) == [[b"1"]]
        client.socket.close()


def test_wrong_keys_do_nothing(stand: Stand) -> None:
    gateway = stand.gateway
    with _row_locked(stand), _login(gateway) as client:
        pid, secret = client.key
        client.send(query(BLOCKED))
        wait_until(lambda: _waiting(stand) == 1, 5, "it runs")
        flipped = bytes([secret[0] ^ 1]) + secret[1:]
        for wrong in (
            (pid, flipped),
            (pid, secret[:-1]),
            (pid, secret + b"\0"),
            (pid + 1, secret),
            (pid ^ (1 << 23), secret),
            (pid ^ (1 << 28), secret),
            (0, b"\0\0\0\0"),
            (pid, b"\0\0\0\0"),
            (0xFFFFFFFF, secret),
        ):
            try:
                _cancel(gateway.port, *wrong)
            except AssertionError:
                # A key of no legal size may be answered with an error; it cancels nothing.
                assert len(wrong[1]) != 4
        assert client.is_quiet(0.3)
        assert _waiting(stand) == 1
        _cancel(gateway.port, pid, secret)
        assert [error["C"] for error in errors(client.until_ready())] == ["57014"]


def test_idle_cancel_is_harmless(stand: Stand) -> None:
    with _login(stand.gateway) as client:
        for number in range(20):
            _cancel(stand.gateway.port, *client.key)
            assert rows(client.ask(query(f"select {number}"))) == [[str(number).encode()]]


def test_inside_a_transaction(each_stand: Stand) -> None:
    with each_stand.gateway.connect(autocommit=False) as connection:
        connection.execute("insert into sales.scratch values (801, 'x', 1)")
        with _row_locked(each_stand):
            timer = threading.Timer(0.3, connection.cancel_safe)
            timer.start()
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute(BLOCKED)
            timer.join()
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("select 1")
        connection.rollback()
        count = connection.execute("select count(*) from sales.scratch where id = 801").fetchone()
        assert count == (0,)


@pytest.mark.parametrize("way", ["cancel", "cancel_safe"])
def test_of_the_driver(stand: Stand, way: str) -> None:
    """PQcancel of old and the PQcancelStart of libpq 17."""
    with stand.gateway.connect() as connection, _row_locked(stand):
        timer = threading.Timer(0.3, getattr(connection, way))
        timer.start()
        started = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(BLOCKED)
        timer.join()
        assert time.monotonic() - started < 3
        assert connection.execute("select 1").fetchone() == (1,)


def test_held_for_an_approval(stand: Stand) -> None:
    """The statement leaves the queue of the reviewers, and the server never saw it."""
    gateway = stand.gateway
    with _login(gateway, subject="impatient") as client:
        client.send(query("delete from sales.scratch /* held and cancelled */"))
        client.expect("N")
        _cancel(gateway.port, *client.key)
        answer = client.until_ready()
        assert [error["C"] for error in errors(answer)] == ["57014"]
        assert rows(client.ask(query("select 1"))) == [[b"1"]]
    assert not stand.server_saw("held and cancelled")


@pytest.fixture(scope="module")
def narrow(stands: Stands) -> Iterator[Stand]:
    """One worker with one server connection."""
    cluster = stands.cluster(EMBEDDED)
    with (
        own_directory() as directory,
        GatewayProcess(
            cluster, Path(directory), workers=1, sections='[pool]\nsize = 1\nwait = "3s"'
        ) as gateway,
    ):
        yield Stand(cluster, gateway)


def test_waiting_for_a_server(narrow: Stand) -> None:
    gateway = narrow.gateway
    with _login(gateway) as holder, _login(gateway, "agent-2") as waiter:
        holder.ask(query("begin"), query("select 1"))
        holder.until_ready()
        waiter.send(query("select 'waited' /* never ran */"))
        assert waiter.is_quiet(0.3)
        _cancel(gateway.port, *waiter.key)
        answer = waiter.until_ready()
        assert [error["C"] for error in errors(answer)] == ["57014"]
        # The one who holds the connection did not notice.
        assert rows(holder.ask(query("select 2"))) == [[b"2"]]
        assert kinds(holder.ask(query("commit"))) == "CZ"
        assert rows(waiter.ask(query("select 3"))) == [[b"3"]]
    assert not narrow.server_saw("never ran")


def test_waiting_too_long_for_a_server(narrow: Stand) -> None:
    gateway = narrow.gateway
    with _login(gateway) as holder:
        holder.ask(query("begin"), query("select 1"))
        holder.until_ready()
        with _login(gateway, "agent-2") as waiter:
            started = time.monotonic()
            waiter.send(query("select 1"))
            answer = waiter.until_end()
        assert 2 < time.monotonic() - started < 6
        assert [(error["C"], error["M"][:5]) for error in errors(answer)] == [("53300", "PN106")]
        holder.ask(query("commit"))
    with _login(gateway) as client:
        assert rows(client.ask(query("select 1"))) == [[b"1"]]


def test_a_late_cancel_never_hits_the_next_client(narrow: Stand) -> None:
    """The race of PgBouncer #717: the query ended while its cancel was under way.

    Two clients share one server connection. One cancels after every answer; the other one's
    statements, which take a while, must all succeed.
    """
    gateway = narrow.gateway
    stop = threading.Event()
    problems: list[object] = []

    def victim() -> None:
        with _login(gateway, "victim") as client:
            while not stop.is_set():
                answer = client.ask(query("select count(*) from generate_series(1, 20000)"))
                if errors(answer):
                    problems.append(answer)

    thread = threading.Thread(target=victim)
    thread.start()
    try:
        with _login(gateway, "canceller") as client:
            for number in range(150):
                client.send(query(f"select count(*) from generate_series(1, {number * 20})"))
                canceller = threading.Thread(target=_cancel, args=(gateway.port, *client.key))
                canceller.start()
                client.until_ready()
                canceller.join()
    finally:
        stop.set()
        thread.join()
    assert problems == []
    cancelled = re.findall(r"STATEMENT:  (?:SET ROLE|DISCARD ALL).*", narrow.server_log())
    assert cancelled == [], "a cancel hit the gateway's own statements"


def test_client_gone_while_waiting(narrow: Stand) -> None:
    """A connection that waits in the queue and dies leaves it."""
    gateway = narrow.gateway
    with _login(gateway) as holder:
        holder.ask(query("begin"), query("select 1"))
        holder.until_ready()
        for _ in range(5):
            waiter = _login(gateway, "agent-2")
            waiter.send(query("select 'x' /* gone while waiting */"))
            waiter.socket.close()
        holder.ask(query("commit"))
        assert rows(holder.ask(query("select 2"))) == [[b"2"]]
    with _login(gateway) as client:
        assert rows(client.ask(query("select 1"))) == [[b"1"]]
