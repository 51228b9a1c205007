"""kill -9 of any process while fifty clients work: what is lost is what that process held."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.demo.postgres import Cluster
from tests.support.gateway import GatewayProcess, wait_until
from tests.support.load import Load
from tests.support.stands import EMBEDDED, Stands, own_directory

CLIENTS = 50
BACK_S = 2.0
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(stands: Stands) -> Cluster:
    return stands.cluster(EMBEDDED)


@pytest.fixture
def fresh(cluster: Cluster) -> Iterator[GatewayProcess]:
    with own_directory() as directory, GatewayProcess(cluster, Path(directory)) as gateway:
        yield gateway


def _kill_one(gateway: GatewayProcess, kind: str) -> int:
    """Kill a process of `kind`; returns its pid once another one runs in its place, within 2 s."""
    before = gateway.pids(kind)
    victim = before[0]
    os.kill(victim, signal.SIGKILL)
    killed_at = time.monotonic()
    wait_until(
        lambda: len(new := gateway.pids(kind)) == len(before) and victim not in new,
        BACK_S,
        f"another {kind} runs",
    )
    assert time.monotonic() - killed_at < BACK_S
    return victim


def _settle(load: Load) -> None:
    """Every client gets answers from now on."""
    marks = load.marks()
    wait_until(lambda: load.all_answered_since(marks, 6), 15, "every client goes on")


def _check_trail(gateway: GatewayProcess, load: Load, *, results: bool) -> None:
    """Every acknowledged statement has exactly one intent, and the chain is whole."""
    assert gateway.stop() == 0
    verified = gateway.cli("audit", "verify", "-c", str(gateway.config))
    assert verified
    intents: Counter[str] = Counter()
    done: set[str] = set()
    for record in gateway.audit("--kind", "statement.intent", "--limit", "10000000"):
        found = re.fullmatch(r"select '(c\d+x\d+x\d+x\d+)'", record.get("sql", ""))
        if found:
            intents[found[1]] += 1
            if record.get("outcome") in {"ok", "suspended"}:  # fetchval takes one row
                done.add(found[1])
    answered = load.answered
    assert len(answered) == len(set(answered)) > 10 * CLIENTS
    missing = [word for word in answered if intents[word] != 1]
    assert missing == [], f"{len(missing)} of {len(answered)} without exactly one intent"
    if results:
        assert [word for word in answered if word not in done] == []


def _answers_were_their_own(load: Load) -> None:
    assert [wrong for client in load.clients for wrong in client.wrong] == []


@pytest.mark.parametrize("kind", ["writer", "control"])
def test_nobody_notices(fresh: GatewayProcess, kind: str) -> None:
    with Load(fresh, CLIENTS) as load:
        _settle(load)
        _kill_one(fresh, kind)
        _settle(load)
    _answers_were_their_own(load)
    assert [client.lost for client in load.clients if client.lost] == []
    assert [client.refused for client in load.clients if client.refused] == []
    _check_trail(fresh, load, results=True)


def test_analyzer(fresh: GatewayProcess) -> None:
    """A statement that it was analysing may be refused; no connection is lost."""
    with Load(fresh, CLIENTS) as load:
        _settle(load)
        _kill_one(fresh, "analyzer")
        _settle(load)
        with fresh.connect(["analysts"]) as connection:
            # New text, new principal, new profile: all of it is the new analyzer's work.
            assert connection.execute("select id from sales.orders where id = 4").fetchall() == [
                (4,)
            ]
    _answers_were_their_own(load)
    assert [client.lost for client in load.clients if client.lost] == []
    assert all(len(client.refused) <= 1 for client in load.clients)
    _check_trail(fresh, load, results=True)


def test_worker(fresh: GatewayProcess) -> None:
    """Its clients lose their connection and can log in again; those of the other see nothing."""
    with Load(fresh, CLIENTS) as load:
        _settle(load)
        homes = [client.worker for client in load.clients]
        assert set(homes) == {0, 1}
        _kill_one(fresh, "worker-0")
        _settle(load)
        reached = {fresh_worker(fresh) for _ in range(20)}
        assert reached == {0, 1}, "the new worker takes connections"
    _answers_were_their_own(load)
    assert [client.refused for client in load.clients if client.refused] == []
    for home, client in zip(homes, load.clients, strict=True):
        if home == 1:
            assert (client.lost, client.logins) == ([], 1)
        else:
            assert client.logins >= 2
            assert client.lost
    _check_trail(fresh, load, results=False)


def fresh_worker(gateway: GatewayProcess) -> int:
    """The worker that took a new connection."""
    with gateway.connect() as connection:
        return connection.info.backend_pid >> 23


def test_each_in_turn(fresh: GatewayProcess) -> None:
    """Every kind once, in random order, under one load."""
    kinds = ["worker-1", "writer", "control", "analyzer"]
    random.Random(time.time_ns()).shuffle(kinds)
    with Load(fresh, CLIENTS) as load:
        _settle(load)
        for kind in kinds:
            _kill_one(fresh, kind)
            _settle(load)
    _answers_were_their_own(load)
    assert all(client.logins <= 3 for client in load.clients), kinds
    _check_trail(fresh, load, results=False)


def test_supervisor_and_so_everything(fresh: GatewayProcess) -> None:
    """All processes end with it. The next start takes over what the journals hold."""
    with Load(fresh, CLIENTS) as load:
        _settle(load)
        assert fresh.process is not None
        children = fresh.pids("pn-")
        assert len(children) >= 5
        fresh.process.kill()
        fresh.process.wait()
        wait_until(
            lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in children), 5, "all end"
        )
        fresh.start()
        _settle(load)
    _answers_were_their_own(load)
    _check_trail(fresh, load, results=False)


def test_open_transaction_of_a_killed_worker_is_undone(fresh: GatewayProcess) -> None:
    connections = [fresh.connect(autocommit=False) for _ in range(6)]
    for number, connection in enumerate(connections):
        connection.execute("insert into sales.scratch values (%s, 'open', 1)", (7000 + number,))
    _kill_one(fresh, "worker-0")
    for connection in connections:
        if connection.info.backend_pid >> 23 == 0:
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select 1")
        else:
            connection.execute("select 1")
            connection.rollback()
        connection.close()

    def count() -> int:
        with fresh.connect() as connection:
            row = connection.execute("select count(*) from sales.scratch").fetchone()
        assert row is not None
        return int(row[0])

    wait_until(lambda: count() == 0, 5, "the server undid what was open")


def test_storm_of_one_worker_leaves_the_others(fresh: GatewayProcess) -> None:
    """Three kills in a row: the other worker's client is never touched."""
    while True:
        steady = fresh.connect()
        if steady.info.backend_pid >> 23 == 1:
            break
        steady.close()
    for _ in range(3):
        _kill_one(fresh, "worker-0")
        assert steady.execute("select 1").fetchone() == (1,)
    steady.close()
