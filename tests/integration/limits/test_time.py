"""Time: a statement that runs too long is cancelled, and says so; nothing else is hit."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from tests.support.gateway import GatewayProcess
from tests.support.wireclient import SYNC, WireClient, bind, errors, execute, parse, query, rows

SLOW = "select count(*) from generate_series(1, 1000000000)"


@pytest.mark.parametrize("way", ["simple", "extended", "prepared", "copy", "cursor", "explain"])
def test_slow_statements(limited: GatewayProcess, way: str) -> None:
    with limited.connect(["time"]) as connection:
        started = time.monotonic()
        with pytest.raises(psycopg.Error) as caught:
            _run_slow(connection, way)
        assert 0.2 < time.monotonic() - started < 3
        assert caught.value.sqlstate == "57014"
        assert str(caught.value).startswith(
            'PN502 cancelled: it ran longer than 300ms, rule "quick"'
        )
        for _ in range(20):
            assert connection.execute("select 1").fetchone() == (1,)


def _run_slow(connection: psycopg.Connection[Any], way: str) -> None:
    if way == "simple":
        psycopg.ClientCursor(connection).execute(SLOW)
    elif way == "copy":
        with connection.cursor().copy(f"copy ({SLOW}) to stdout".encode()) as copy:
            copy.read()
    elif way == "cursor":
        with connection.transaction():
            connection.execute(f"declare c cursor for {SLOW}".encode())
            connection.execute("fetch all from c")
    elif way == "explain":
        connection.execute(f"explain analyze {SLOW}".encode())
    else:
        connection.execute(SLOW, prepare=way == "prepared")


def test_an_open_transaction_fails(limited: GatewayProcess, table: str) -> None:
    with limited.connect(["time"], autocommit=False) as connection:
        connection.execute(f"update {table} set word = 'x' where id = 1".encode())
        with pytest.raises(psycopg.Error, match="PN502"):
            connection.execute(SLOW)
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("select 1")
        connection.rollback()
        found = connection.execute(f"select count(*) from {table} where word = 'x'".encode())
        assert found.fetchone() == (0,)


def test_the_rest_of_a_pipeline(limited: GatewayProcess) -> None:
    """Goal: the error is the slow statement's, the next Sync's statements run."""
    with WireClient(limited.port) as wire:
        wire.login(limited.mint("agent-1", ["time"]))
        wire.send(parse("select 1"), bind(), execute(), parse(SLOW), bind(), execute(), SYNC)
        wire.send(query("select 2"))
        first, second = wire.until_ready(), wire.until_ready()
        assert rows(first) == [[b"1"]]
        assert [error["C"] for error in errors(first)] == ["57014"]
        assert errors(first)[0]["M"].startswith("PN502")
        assert rows(second) == [[b"2"]]


def test_waiting_in_a_transaction_is_not_running(limited: GatewayProcess) -> None:
    """Goal: only statements are timed. Method: idle longer than the limit, in and out of one."""
    with limited.connect(["time"], autocommit=False) as connection:
        for _ in range(3):
            connection.execute("select 1")
            until = time.monotonic() + 0.4
            while time.monotonic() < until:
                connection.pgconn.consume_input()
        connection.rollback()


def test_waiting_for_a_lock_is_running(limited: GatewayProcess, table: str) -> None:
    with limited.connect(["trusted"], autocommit=False) as holder:
        holder.execute(f"update {table} set word = 'x' where id = 1".encode())
        with limited.connect(["time"]) as connection, pytest.raises(psycopg.Error, match="PN502"):
            connection.execute(f"update {table} set word = 'y' where id = 1".encode())
        holder.rollback()
