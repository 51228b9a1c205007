"""Rows and bytes of a result: the error comes in place of the rest, on every path.

A result at the limit is whole; one more row is an error, and never a result that was cut without
a word. What the client's transaction did before is undone by its end.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.wireclient import (
    SYNC,
    WireClient,
    bind,
    describe,
    errors,
    execute,
    kinds,
    parse,
    query,
    rows,
)

Connection = psycopg.Connection[Any]
SERIES = "select i, 'x' from generate_series(1, {}) i"


@pytest.fixture
def wire(limited: GatewayProcess) -> Any:
    with WireClient(limited.port) as client:
        client.login(limited.mint("agent-1", ["rows"]))
        yield client


def _is_over(error: psycopg.Error, kind: str = "rows") -> bool:
    detail = error.diag.message_detail or ""
    return (error.sqlstate, f'"limit":"{kind}"' in detail.replace(" ", "")) == ("54000", True)


@pytest.mark.parametrize("way", ["simple", "extended", "prepared", "binary", "server cursor"])
def test_rows(limited: GatewayProcess, way: str) -> None:
    """Goal: 100 rows pass whole, 101 do not. Method: both, on one connection, in turn."""
    with limited.connect(["rows"], autocommit=way != "server cursor") as connection:
        for _ in range(2):
            assert len(_fetch(connection, way, 100)) == 100
            with pytest.raises(psycopg.Error) as caught:
                _fetch(connection, way, 101)
            assert _is_over(caught.value)
            message = caught.value.diag.message_primary or ""
            assert message.startswith('PN501 the result has more than 100 rows, rule "few-rows"')
            connection.rollback()
        assert connection.execute("select 1").fetchone() == (1,)


def _fetch(connection: Connection, way: str, count: int) -> list[Any]:
    sql = SERIES.format(count)
    if way == "simple":
        return psycopg.ClientCursor(connection).execute(sql.encode()).fetchall()
    if way == "server cursor":
        with connection.cursor(name="c") as cursor:
            return cursor.execute(sql.encode()).fetchmany(count)
    return connection.execute(
        sql.encode(), prepare=way == "prepared", binary=way == "binary"
    ).fetchall()


@pytest.mark.parametrize("size", [101, 5_000, 300_000])
def test_the_rest_never_reaches_the_client(wire: WireClient, size: int) -> None:
    """However much the server sends, no more rows than allowed arrive, and one error."""
    wire.send(query(SERIES.format(size)))
    answer = wire.until_ready()
    assert len(rows(answer)) <= 100
    assert [error["C"] for error in errors(answer)] == ["54000"]
    assert (kinds(answer)[-2:], answer[-1][1]) == ("EZ", b"I")
    wire.send(query("select 7"))
    assert rows(wire.until_ready()) == [[b"7"]]


def test_a_portal_is_summed_over_its_executes(wire: WireClient) -> None:
    """Goal: a row limit of the client's does not start the count anew. Method: 3 times 40."""
    wire.send(parse(SERIES.format(1000)), bind(), execute(rows=40), execute(rows=40))
    wire.send(execute(rows=40), SYNC)
    answer = wire.until_ready()
    assert kinds(answer).count("s") == 2
    assert [error["C"] for error in errors(answer)] == ["54000"]
    assert len(rows(answer)) <= 100


def test_a_pipeline_fails_up_to_its_sync(wire: WireClient) -> None:
    """What follows in the pipeline is not answered, as after an error of the server's own."""
    wire.send(parse(SERIES.format(200)), bind(), execute())
    wire.send(parse("select 2"), bind(), describe(), execute(), SYNC)
    wire.send(parse("select 3"), bind(), execute(), SYNC)
    first, second = wire.until_ready(), wire.until_ready()
    assert kinds(first).replace("D", "") == "12EZ"
    assert rows(second) == [[b"3"]]


def test_several_statements_of_one_string_count_together(wire: WireClient) -> None:
    wire.send(query(SERIES.format(60) + ";" + SERIES.format(60) + "; select 1"))
    answer = wire.until_ready()
    assert [error["C"] for error in errors(answer)] == ["54000"]
    assert kinds(answer).count("C") == 1


def test_an_open_transaction_fails(wire: WireClient) -> None:
    """The client's transaction cannot go on or commit, whichever of server and cancel is first."""
    for size in (101, 300_000):
        for sql in ("begin", SERIES.format(size)):
            wire.send(query(sql))
            answer = wire.until_ready()
        assert answer[-1] == ("Z", b"E")
        wire.send(query("select 1"))
        assert [error["C"] for error in errors(wire.until_ready())] == ["25P02"]
        wire.send(query("commit"))
        answer = wire.until_ready()
        assert (answer[0], answer[-1]) == (("C", b"ROLLBACK\0"), ("Z", b"I"))


@pytest.mark.parametrize("way", ["extended", "simple"])
def test_what_was_written_before_is_undone(
    limited: GatewayProcess, table: str, wire: WireClient, way: str
) -> None:
    """Goal: an error means that nothing is committed. Method: a write and a large result together."""
    write = f"update {table} set word = 'changed' where id = 1"
    if way == "extended":
        wire.send(parse(write), bind(), execute(), parse(SERIES.format(101)), bind(), execute())
        wire.send(SYNC)
    else:
        wire.send(query(f"{write}; {SERIES.format(101)}"))
    answer = wire.until_ready()
    assert [error["C"] for error in errors(answer)] == ["54000"]
    wire.send(query(f"select count(*) from {table} where word = 'changed'"))
    assert rows(wire.until_ready()) == [[b"0"]]


def test_rows_of_returning(limited: GatewayProcess, table: str) -> None:
    """A write that returns too much changes nothing."""
    with limited.connect(["rows"]) as connection:
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(
                f"insert into {table} select 100 + i, 'x', 0 from generate_series(1, 101) i"
                " returning id".encode()
            )
        assert _is_over(caught.value)
        assert connection.execute(f"select count(*) from {table}".encode()).fetchone() == (20,)


def _copy(connection: Connection, sql: str) -> bytes:
    with connection.cursor().copy(sql.encode()) as copy:
        return b"".join(bytes(part) for part in copy)


@pytest.mark.parametrize("form", ["text", "csv", "binary"])
def test_copy_out(limited: GatewayProcess, form: str) -> None:
    def sql(count: int) -> str:
        return f"copy ({SERIES.format(count)}) to stdout (format {form})"

    with limited.connect(["rows"]) as connection:
        for count in (101, 200_000):
            got = _copy(connection, sql(100))
            assert form == "binary" or got.count(b"\n") == 100
            with pytest.raises(psycopg.Error) as caught:
                _copy(connection, sql(count))
            assert _is_over(caught.value)


@pytest.mark.parametrize("way", ["simple", "extended", "copy", "one huge row"])
def test_bytes(limited: GatewayProcess, way: str) -> None:
    """4 KiB pass, more does not: of many rows or of one."""
    with limited.connect(["bytes"]) as connection:
        for size in (18_000, 3_000_000):
            _take_bytes(connection, way, 2_000)
            with pytest.raises(psycopg.Error) as caught:
                _take_bytes(connection, way, size)
            assert _is_over(caught.value, "bytes")


def _take_bytes(connection: Connection, way: str, size: int) -> None:
    sql = SERIES.format(size // (9 if way == "copy" else 20))
    if way == "copy":
        _copy(connection, f"copy ({sql}) to stdout")
    elif way == "one huge row":
        connection.execute(f"select repeat('x', {size})".encode())
    elif way == "simple":
        psycopg.ClientCursor(connection).execute(sql.encode())
    else:
        connection.execute(sql.encode())


def test_masked_rows_are_counted(limited: GatewayProcess) -> None:
    """A masked result runs through other code; the limit is the same."""
    with limited.connect(["rows"]) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(
            "select c.email from sales.customers c, generate_series(1, 3)", prepare=True
        )
    assert _is_over(caught.value)


def test_by_design_each_fetch_is_a_statement(limited: GatewayProcess) -> None:
    """A limit bounds one statement; many small ones are what windows bound."""
    with (
        limited.connect(["rows"], autocommit=False) as connection,
        connection.cursor(name="c") as cursor,
    ):
        cursor.execute(SERIES.format(250).encode())
        assert [len(cursor.fetchmany(100)) for _ in range(3)] == [100, 100, 50]


def test_the_record_names_limit_and_rule(limited: GatewayProcess) -> None:
    with limited.connect(["rows"]) as connection, pytest.raises(psycopg.Error):
        connection.execute(SERIES.format(101).encode())
    records = wait_until(
        lambda: [
            record
            for record in limited.audit("--kind", "statement.result", "--limit", "2000")
            if record.get("limit") == "rows"
        ],
        10,
        "the result is recorded",
    )
    assert {
        "error": "PN501",
        "sqlstate": "54000",
        "rule": "few-rows",
        "outcome": "error",
    }.items() <= (records[-1].items())
