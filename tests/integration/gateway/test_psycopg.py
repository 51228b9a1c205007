"""psycopg 3 unchanged: every way it has to send a statement and to fetch rows."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum

from tests.support.gateway import GatewayProcess
from tests.support.stands import Stand

Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(each_gateway: GatewayProcess) -> Iterator[Connection]:
    with each_gateway.connect(autocommit=False) as opened:
        yield opened
        opened.rollback()


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_extended(connection: Connection, binary: bool) -> None:
    cursor = connection.cursor(binary=binary)
    cursor.execute("select id, amount, placed from sales.orders where id = %s", (3,))
    assert cursor.fetchall() == [(3, Decimal("3.00"), datetime.date(2026, 1, 4))]
    assert cursor.description is not None
    assert [column.name for column in cursor.description] == ["id", "amount", "placed"]


def test_simple_protocol(connection: Connection) -> None:
    cursor = psycopg.ClientCursor(connection)
    cursor.execute("select name from sales.customers where id = %s", (3,))
    assert cursor.fetchone() == ("Customer 3",)
    cursor.execute("select 1; select 2, 3")
    assert cursor.fetchall() == [(1,)]
    assert cursor.nextset()
    assert cursor.fetchall() == [(2, 3)]
    assert not cursor.nextset()


def test_prepared_after_threshold(connection: Connection) -> None:
    """The driver prepares a text by name once it was used often enough."""
    connection.prepare_threshold = 2
    for number in range(1, 9):
        row = connection.execute("select id from sales.orders where id = %s", (number,)).fetchone()
        assert row == (number,)
        connection.commit()


def test_prepared_across_server_connections(each_gateway: GatewayProcess) -> None:
    """Sessions of one worker share server connections and use one text under their own names."""
    opened = [each_gateway.connect(prepare_threshold=0) for _ in range(6)]
    try:
        for number in range(1, 13):
            for connection in opened:
                sql = f"select id, {number % 3} from sales.orders where id = %s"
                assert connection.execute(sql, (number,)).fetchone() == (number, number % 3)
    finally:
        for connection in opened:
            connection.close()


def test_transaction_and_savepoints(connection: Connection) -> None:
    connection.execute("insert into sales.scratch values (%s, %s, %s)", (1, "one", 1))
    with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
        connection.execute("insert into sales.scratch values (1, 'again', 1)")
    with connection.transaction() as transaction:
        connection.execute("update sales.scratch set word = 'changed' where id = 1")
        raise psycopg.Rollback(transaction)
    assert connection.execute("select word from sales.scratch").fetchall() == [("one",)]
    connection.rollback()
    assert connection.execute("select word from sales.scratch").fetchall() == []


def test_server_error_leaves_the_transaction_failed(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("select 1 / 0")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        connection.execute("select 1")
    connection.rollback()
    assert connection.execute("select 1").fetchone() == (1,)


def test_pipeline(connection: Connection) -> None:
    with connection.pipeline() as pipeline:
        cursors = [
            connection.execute("select id from sales.orders where id = %s", (number,))
            for number in range(1, 40)
        ]
        pipeline.sync()
        more = connection.execute("insert into sales.scratch values (7, 'p', 1) returning id")
    assert [cursor.fetchone() for cursor in cursors] == [(number,) for number in range(1, 40)]
    assert more.fetchone() == (7,)


def test_pipeline_error_skips_to_sync(each_gateway: GatewayProcess) -> None:
    with each_gateway.connect() as connection:
        # The answer to the division may be read while the insert is being sent, or at the sync.
        with pytest.raises(psycopg.errors.DivisionByZero), connection.pipeline() as pipeline:  # noqa: PT012
            connection.execute("select 1")
            connection.execute("select 1 / 0")
            connection.execute("insert into sales.scratch values (8, 'p', 1)")
            pipeline.sync()
        assert connection.execute("select count(*) from sales.scratch where id = 8").fetchone() == (
            0,
        )


def test_executemany_returning(connection: Connection) -> None:
    cursor = connection.cursor()
    values = [(i, f"w{i}", i) for i in range(100)]
    cursor.executemany(
        "insert into sales.scratch values (%s, %s, %s) returning id", values, returning=True
    )
    got = []
    while True:
        got.append(cursor.fetchone())
        if not cursor.nextset():
            break
    assert got == [(i,) for i in range(100)]


def test_server_side_cursor(connection: Connection) -> None:
    with connection.cursor("fetcher") as cursor:
        cursor.itersize = 30
        cursor.execute("select id from sales.orders order by id")
        assert [row[0] for row in cursor] == list(range(1, 201))
    with connection.cursor("scroller", scrollable=True) as cursor:
        cursor.execute("select id from sales.orders order by id")
        cursor.scroll(50)
        assert cursor.fetchone() == (51,)
        cursor.scroll(-10)
        assert cursor.fetchmany(2) == [(42,), (43,)]


@pytest.mark.parametrize("shape", ["text", "csv", "binary"])
def test_copy_both_ways(connection: Connection, shape: str) -> None:
    cursor = connection.cursor()
    options = f"(format {shape})"
    with connection.cursor().copy(f"copy sales.orders to stdout {options}") as copy:
        data = b"".join(bytes(block) for block in copy)
    assert len(data) > 2000
    with cursor.copy("copy sales.scratch (id, word) from stdin (format binary)") as copy:
        copy.set_types(["int4", "text"])
        for number in range(500):
            copy.write_row((number, "word " * 20))
    assert cursor.rowcount == 500
    assert connection.execute("select count(*) from sales.scratch").fetchone() == (500,)


def test_copy_in_given_up(connection: Connection) -> None:
    """The client breaks off: nothing is stored and the connection goes on."""
    cursor = connection.cursor()
    with (  # noqa: PT012  leaving the inner block is what raises
        pytest.raises(psycopg.errors.QueryCanceled),
        cursor.copy("copy sales.scratch (id, word) from stdin") as copy,
    ):
        copy.write_row((1, "a"))
        raise psycopg.errors.QueryCanceled("enough")
    connection.rollback()
    assert connection.execute("select count(*) from sales.scratch").fetchone() == (0,)


def test_copy_in_refused_by_the_server(connection: Connection) -> None:
    """The server's error comes while data is still on its way."""
    with (  # noqa: PT012  leaving the inner block is what raises
        pytest.raises(psycopg.errors.InvalidTextRepresentation),
        connection.cursor().copy("copy sales.scratch (id, word) from stdin") as copy,
    ):
        for _ in range(2000):
            copy.write("not a number\tx\n" * 50)
    connection.rollback()
    assert connection.execute("select count(*) from sales.scratch").fetchone() == (0,)


def test_types_both_ways(each_gateway: GatewayProcess) -> None:
    with each_gateway.connect(autocommit=False) as connection:
        mood = EnumInfo.fetch(connection, "sales.mood")
        address = CompositeInfo.fetch(connection, "sales.address")
        assert mood is not None
        assert address is not None
        register_enum(mood, connection)
        register_composite(address, connection)
        for binary in (False, True):
            row = connection.execute(
                "select mood, home, tags, data, seen, raw, span, score"
                " from sales.profiles where mood is not null",
                binary=binary,
            ).fetchone()
            assert row is not None
            assert row[0].name == "ok"
            assert tuple(row[1]) == ("Main St 1", 12345)
            assert row[2:4] == (["a", "b c", None], {"k": [1, 2]})
            assert row[4].timestamp() == 1772600767.089
            assert row[5] == b"\0\xff\x10"
            assert (row[6].lower, row[6].upper, row[7]) == (1, 5, 1.5)


def test_rows_larger_than_a_buffer(connection: Connection) -> None:
    row = connection.execute(
        "select repeat('x', 3000000), i from generate_series(1, 3) i"
    ).fetchall()
    assert [(len(text), number) for text, number in row] == [(3_000_000, n) for n in (1, 2, 3)]
    sent = "y" * 2_000_000
    assert connection.execute("select length(%s::text)", (sent,)).fetchone() == (2_000_000,)


def test_many_rows_and_dict_rows(connection: Connection) -> None:
    cursor = connection.cursor(row_factory=dict_row)
    cursor.execute("select i as n, 'row' as word from generate_series(1, 50000) i")
    rows = cursor.fetchall()
    assert len(rows) == 50_000
    assert rows[-1] == {"n": 50_000, "word": "row"}


def test_stream(connection: Connection) -> None:
    cursor = connection.cursor()
    assert [row[0] for row in cursor.stream("select id from sales.orders order by id")] == list(
        range(1, 201)
    )


def test_notices_settings_and_status(connection: Connection) -> None:
    assert connection.info.parameter_status("client_encoding") == "UTF8"
    assert connection.info.parameter_status("standard_conforming_strings") == "on"
    assert connection.info.server_version >= 150000
    connection.execute("set local timezone = 'Europe/Oslo'")
    assert connection.execute("show timezone").fetchone() == ("Europe/Oslo",)
    connection.commit()
    assert connection.execute("show timezone").fetchone() != ("Europe/Oslo",)
    assert connection.execute("show transaction_read_only").fetchone() == ("off",)


def test_session_settings_are_ones_own(each_stand: Stand) -> None:
    """A SET of one session is seen by it for as long as it lives and by nobody else."""
    gateway = each_stand.gateway
    with gateway.connect() as one, gateway.connect(subject="agent-2") as two:
        one.execute("set application_name = 'first'")
        one.execute("set timezone = 'Asia/Tokyo'")
        for _ in range(4):
            assert one.execute("show application_name").fetchone() == ("first",)
            assert two.execute("show timezone").fetchone() != ("Asia/Tokyo",)
            assert two.execute("show application_name").fetchone() != ("first",)
            assert one.execute("show timezone").fetchone() == ("Asia/Tokyo",)


def test_async(each_gateway: GatewayProcess) -> None:
    async def run() -> list[Any]:
        connection = await psycopg.AsyncConnection.connect(
            each_gateway.dsn(), password=each_gateway.mint("agent-1", ["agents"])
        )
        async with connection, connection.cursor() as cursor:
            await cursor.execute("select id from sales.orders where id < %s order by 1", (4,))
            return await cursor.fetchall()

    assert asyncio.run(run()) == [(1,), (2,), (3,)]


def test_two_phase_refused(connection: Connection) -> None:
    """A prepared transaction outlives its session and its identity: no grant covers it."""
    connection.autocommit = True
    with pytest.raises(psycopg.Error) as caught:
        connection.execute("begin; prepare transaction 'p'")
    assert caught.value.sqlstate in {"42501", "0A000"}
