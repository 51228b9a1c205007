"""A connector between gateway and server: what works through it, and what it keeps."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import psycopg
import pytest

from gateway.connector.keys import Keys
from gateway.identity.authority import Authority, make_request
from tests.support.connector import ConnectorProcess, ConnectorStand
from tests.support.gateway import wait_until
from tests.support.sample import LOGIN_PASSWORD


def test_statements_masks_and_writes_go_through(
    stand: ConnectorStand, connector: ConnectorProcess
) -> None:
    """Goal: a client cannot tell. Method: read with a mask, write, COPY out, binary."""
    with stand.gateway.connect() as connection:
        row = connection.execute("select id, email from sales.customers where id = 1").fetchone()
        assert row is not None
        assert "secret1@" not in row[1]
        connection.execute("insert into sales.scratch values (900, 'w', 1)")
        connection.execute("delete from sales.scratch where id = 900")
        with connection.cursor().copy("copy sales.orders to stdout") as copy:
            assert sum(1 for _ in copy.rows()) == 200
        found = connection.execute("select id from sales.orders", binary=True).fetchall()
        assert len(found) == 200
    opened = [line for line in connector.trail if line["event"] == "opened"]
    assert {line["role"] for line in opened} >= {"pn_write"}


def test_the_password_stays_beside_the_database(
    stand: ConnectorStand, connector: ConnectorProcess
) -> None:
    """Goal: the gateway never has the credential. Method: look in its memory and files."""
    with stand.gateway.connect() as connection:
        connection.execute("select 1")
    assert stand.gateway.process is not None
    pids = [stand.gateway.process.pid, *stand.gateway.pids("pn-")]
    assert len(pids) >= 5
    for pid in pids:
        assert LOGIN_PASSWORD.encode() not in heap_of(pid), f"process {pid}"
    files = [path for path in stand.gateway.directory.rglob("*") if path.is_file()]
    assert [path for path in files if LOGIN_PASSWORD.encode() in path.read_bytes()] == []
    assert connector.process is not None
    assert LOGIN_PASSWORD.encode() in heap_of(connector.process.pid)  # the look can find it


def heap_of(pid: int) -> bytes:
    """What a process has in its writable private memory."""
    found = bytearray()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode, _, _, _, *name = line.split()
            if not mode.startswith("rw-p") or (name and name[0] == "[vvar]"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            memory.seek(start)
            found += memory.read(end - start)
    return bytes(found)


def test_a_cancel_reaches_the_server(stand: ConnectorStand, connector: ConnectorProcess) -> None:
    """Goal: the statement ends, the connection goes on. Method: cancel pg_sleep."""
    with stand.gateway.connect() as connection:
        timer = threading.Timer(0.5, connection.cancel)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select count(*) from generate_series(1, 1000000000)")
        timer.join()
        assert connection.execute("select 1").fetchone() == (1,)
    assert any(line["event"] == "cancelled" for line in connector.trail)


def test_big_results_arrive_whole(stand: ConnectorStand, connector: ConnectorProcess) -> None:
    """Goal: no byte is lost under back-pressure. Method: 60 MB, compared by sum."""
    with stand.gateway.connect() as connection:
        rows = connection.execute(
            "select i, repeat('x', 1000) from generate_series(1, 60000) i"
        ).fetchall()
    assert [row[0] for row in rows] == list(range(1, 60_001))
    assert all(len(row[1]) == 1000 for row in rows)


def test_a_key_is_renewed(stand: ConnectorStand, tmp_path: Path) -> None:
    """Goal: a new key before the old one ends. Method: give a connector one that is nearly over."""
    stand.directory = tmp_path
    with stand.connector() as process:
        stand.wait_ready()
    (member,) = [one["id"] for one in stand.members() if one["state"] == "away"]
    authority = Authority(stand.gateway.data_dir / "connectors")
    key, request = make_request("x")
    issued = authority.issue(request, member, 60)
    (directory,) = [path for path in process.state_dir.iterdir() if path.is_dir()]
    Keys(directory).save(key, issued.certificate.decode())
    with sqlite3.connect(stand.gateway.data_dir / "connectors.db") as register:
        register.execute("update member set serial = ? where id = ?", (issued.serial, member))
    process.token = ""
    with process:
        wait_until(lambda: stand.records("connector.renewed"), 10, "a new key")
        wait_until(lambda: not Keys(directory).should_renew(), 10, "it is kept")
        stand.wait_ready()
        with stand.gateway.connect() as connection:
            connection.execute("select 1")
    stand.revoke_all()


def test_two_connectors_and_one_dies_under_load(stand: ConnectorStand, tmp_path: Path) -> None:
    """Goal: clients get their rows or an error, never another's; work goes on at the other one.

    Method: eight clients ask for their own number; one connector is killed meanwhile.
    """
    stand.directory = tmp_path
    wrong: list[object] = []
    after: list[int] = []
    killed, stop = threading.Event(), threading.Event()

    def ask(number: int) -> None:
        while not stop.is_set():
            try:
                with stand.gateway.connect(subject=f"agent-{number}") as connection:
                    while not stop.is_set():
                        row = connection.execute("select %s::int", (number,)).fetchone()
                        if row != (number,):
                            wrong.append(row)
                        if killed.is_set():
                            after.append(number)
            except psycopg.OperationalError:
                continue  # its connection went with the connector

    with stand.connector("one") as one, stand.connector("two") as two:
        stand.wait_ready(2)
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: all(opened(process) for process in (one, two)), 15, "both carry")
        one.kill()
        killed.set()
        after.clear()
        wait_until(lambda: set(after) == set(range(8)), 15, "all clients go on")
        stop.set()
        for thread in threads:
            thread.join()
        assert wrong == []
        states = {member["state"] for member in stand.members()}
        assert states - {"revoked"} == {"ready", "away"}
    stand.revoke_all()
    assert_complete(stand)


def use(stand: ConnectorStand) -> None:
    """Log in and run a statement; either may be what waits for a server connection."""
    with stand.gateway.connect() as connection:
        connection.execute("select 1")


def opened(process: ConnectorProcess) -> bool:
    return any(line["event"] == "opened" and line["slot"] != 0xFFFF for line in process.trail)


def assert_complete(stand: ConnectorStand) -> None:
    """Every intent has its result, and the chain verifies."""

    def open_statements() -> set[str]:
        intents = {one["stmt"] for one in stand.records("statement.intent")}
        results = {one["stmt"] for one in stand.records("statement.result")}
        return intents - results

    wait_until(lambda: not open_statements(), 10, "every intent has a result")
    stand.gateway.cli("audit", "verify", "-c", str(stand.gateway.config))


def test_without_any_connector_clients_wait_and_then_are_told(
    stand: ConnectorStand, tmp_path: Path
) -> None:
    """Goal: PN107 after `pool.wait`, and who waits is served once one is back."""
    stand.directory = tmp_path
    with stand.connector() as process:
        stand.wait_ready()
        with stand.gateway.connect() as connection:
            connection.execute("select 1")
    wait_until(lambda: stand.members()[0]["state"] == "away", 10, "it is gone")
    with pytest.raises(psycopg.OperationalError, match="PN107"):
        use(stand)
    process.start()
    with stand.gateway.connect() as connection:
        assert connection.execute("select 2").fetchone() == (2,)
    process.stop()
    stand.revoke_all()
