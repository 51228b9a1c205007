"""Durability `group`: what is not on the disk has not run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.audit.verify import verify
from gateway.demo.postgres import Cluster
from tests.support.gateway import GatewayProcess, wait_until
from tests.support.stands import SYSTEM, Stands, own_directory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(stands: Stands) -> Cluster:
    return stands.cluster(SYSTEM)


@pytest.fixture
def group_gateway(cluster: Cluster) -> Iterator[GatewayProcess]:
    environ = {"POSTERN_AUDIT_DURABILITY": "group"}
    with (
        own_directory() as directory,
        GatewayProcess(cluster, Path(directory), workers=1, environ=environ) as gateway,
    ):
        yield gateway


def test_statements_run_and_the_trail_is_clean(group_gateway: GatewayProcess) -> None:
    """Goal: group mode is invisible. Method: simple, extended, pipeline, COPY, many at once."""
    with group_gateway.connect() as connection:
        for number in range(20):
            assert connection.execute("select %s::int", (number,)).fetchone() == (number,)
        with connection.pipeline():
            cursors = [connection.execute("select %s::int", (n,)) for n in range(50)]
        assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(50)]
        rows = "copy (select generate_series(1, 1000)) to stdout"
        with connection.cursor() as cursor, cursor.copy(rows) as copy:
            assert sum(1 for _ in copy) == 1000
    assert group_gateway.stop() == 0
    found = verify(group_gateway.data_dir)
    assert found.is_clean
    assert found.open == []


def test_nothing_is_forwarded_before_its_intent_is_flushed(
    group_gateway: GatewayProcess, cluster: Cluster
) -> None:
    """Goal: invariant 1 up to the disk. Method: stop the writer, send, look at the server."""
    with group_gateway.connect() as connection:
        connection.execute("select 1")
        (writer,) = group_gateway.pids("writer")
        os.kill(writer, signal.SIGSTOP)
        answers: list[object] = []

        def ask() -> None:
            answers.append(connection.execute("select 'held back'").fetchone())

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            asking.join(0.5)
            assert answers == []
            seen = cluster.run_sql(
                "select count(*) from pg_stat_activity"
                " where query like '%held back%' and pid <> pg_backend_pid()"
            )
            assert "1" not in str(seen).split()
        finally:
            os.kill(writer, signal.SIGCONT)
        asking.join(5)
        assert answers == [("held back",)]


def test_a_killed_writer_delays_and_loses_nothing(group_gateway: GatewayProcess) -> None:
    with group_gateway.connect() as connection:
        for number in range(200):
            if number in (50, 120):
                os.kill(group_gateway.pids("writer")[0], signal.SIGKILL)
            connection.execute(f"select 'n{number}'")
    wait_until(lambda: len(group_gateway.pids("writer")) == 1, 5, "the writer is back")
    assert group_gateway.stop() == 0
    sent = {f"select 'n{number}'" for number in range(200)}
    records = group_gateway.audit("--kind", "statement.intent", "--limit", "10000")
    assert sent <= {record["sql"] for record in records}
    assert verify(group_gateway.data_dir).is_clean


def test_a_trail_that_stands_still_ends_the_session_and_runs_nothing(
    group_gateway: GatewayProcess, cluster: Cluster
) -> None:
    """Goal: PN701 within a bound, unforwarded. Method: no writer for longer than the bound."""
    with group_gateway.connect() as connection:
        connection.execute("select 1")
        (writer,) = group_gateway.pids("writer")
        os.kill(writer, signal.SIGSTOP)
        try:
            with pytest.raises(psycopg.OperationalError, match="PN701"):
                connection.execute("insert into sales.scratch values (4711, 'never')")
        finally:
            os.kill(writer, signal.SIGCONT)
    ran = cluster.run_sql("select count(*) from sales.scratch where id = 4711", database="orders")
    assert ran.strip() == "0"
