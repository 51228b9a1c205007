"""Estimated cost: the planner is asked first, with the parameters the statement would run with."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.gateway import GatewayProcess
from tests.support.wireclient import SYNC, WireClient, bind, errors, execute, parse, rows

CHEAP = "select count(*) from sales.customers where id = 1"
COSTLY = "select count(*) from sales.orders a, sales.orders b, sales.orders c"


@pytest.mark.parametrize("way", ["simple", "extended", "prepared", "transaction", "cursor"])
def test_costs(limited: GatewayProcess, way: str) -> None:
    with limited.connect(["cost"], autocommit=way != "transaction") as connection:
        run = psycopg.ClientCursor(connection) if way == "simple" else connection.cursor()
        prepare: dict[str, Any] = {} if way == "simple" else {"prepare": way == "prepared"}
        run.execute(CHEAP, **prepare)
        costly = f"declare c cursor with hold for {COSTLY}" if way == "cursor" else COSTLY
        with pytest.raises(psycopg.Error) as caught:
            run.execute(costly.encode(), **prepare)
        assert caught.value.sqlstate == "54001"
        message = str(caught.value)
        assert message.startswith("PN503 its estimated cost is ")
        assert 'rule "cheap" allows 1000' in message
        if way == "transaction":
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                run.execute(CHEAP)
        connection.rollback()
        assert run.execute(CHEAP).fetchone() == (1,)


def test_parameters_count(limited: GatewayProcess) -> None:
    """Goal: what is judged is what runs. Method: one prepared statement, cheap and costly values."""
    sql = "select count(*) from generate_series(1, $1::int)"
    with WireClient(limited.port) as wire:
        wire.login(limited.mint("agent-1", ["cost"]))
        wire.send(parse(sql, "s"), bind(("10",), name="s"), execute(), SYNC)
        assert rows(wire.until_ready()) == [[b"10"]]
        wire.send(bind(("100000000",), name="s"), execute(), SYNC)
        assert [error["C"] for error in errors(wire.until_ready())] == ["54001"]
        wire.send(bind(("7",), name="s"), execute(), SYNC)
        assert rows(wire.until_ready()) == [[b"7"]]


def test_writes_are_not_run_for_it(limited: GatewayProcess, table: str) -> None:
    with limited.connect(["cost"]) as connection:
        connection.execute(f"update {table} set word = 'once' where id = 1".encode())
        with pytest.raises(psycopg.Error, match="PN503"):
            connection.execute(
                f"insert into {table} select i from generate_series(1, 100000000) i".encode()
            )
        row = connection.execute(f"select count(*), max(word) from {table}".encode()).fetchone()
        assert row == (20, "w")


@pytest.mark.parametrize(
    "sql",
    [
        f"copy ({COSTLY}) to stdout",
        "copy sales.orders to stdout",
        f"explain analyze {COSTLY}",
        f"select 1; {COSTLY}",
    ],
)
def test_what_is_not_estimated_is_refused(limited: GatewayProcess, sql: str) -> None:
    with limited.connect(["cost"]) as connection:
        with pytest.raises(psycopg.Error, match='PN305 .*"cheap"'):
            psycopg.ClientCursor(connection).execute(sql.encode())
        assert connection.execute(f"explain {COSTLY}".encode()).fetchone() is not None


def test_a_question_that_fails_refuses(limited: GatewayProcess) -> None:
    """Fail closed: an estimate that is not had is not taken as a small one."""
    with limited.connect(["cost"]) as connection:
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("select 1 / 0")
        assert str(caught.value).startswith("PN503 its cost could not be estimated (22012)")
