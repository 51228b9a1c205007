"""asyncpg unchanged: it prepares everything, reads types by itself and resets its connections."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from tests.support.gateway import GatewayProcess


async def _connect(gateway: GatewayProcess, subject: str = "agent-1") -> Any:
    return await asyncpg.connect(
        host="127.0.0.1",
        port=gateway.port,
        user="agent",
        database="orders",
        password=gateway.mint(subject, ["agents"]),
        ssl="prefer",
    )


def _run(gateway: GatewayProcess, work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        connection = await _connect(gateway)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(asyncio.wait_for(run(), 40))


def test_fetch(each_gateway: GatewayProcess) -> None:
    async def work(connection: Any) -> None:
        row = await connection.fetchrow("select * from sales.orders where id = $1", 3)
        assert dict(row) == {
            "id": 3,
            "customer_id": 4,
            "amount": Decimal("3.00"),
            "placed": datetime.date(2026, 1, 4),
        }
        assert await connection.fetchval("select count(*) from sales.orders") == 200
        assert await connection.execute("select 1; select 2") == "SELECT 1"

    _run(each_gateway, work)


def test_prepared(each_gateway: GatewayProcess) -> None:
    async def work(connection: Any) -> None:
        statement = await connection.prepare("select id, amount from sales.orders where id = $1")
        for number in range(1, 20):
            assert (await statement.fetchrow(number))["id"] == number
        assert [a.name for a in statement.get_attributes()] == ["id", "amount"]
        assert [p.name for p in statement.get_parameters()] == ["int4"]

    _run(each_gateway, work)


def test_cursor(each_gateway: GatewayProcess) -> None:
    async def work(connection: Any) -> None:
        async with connection.transaction():
            seen = [
                row["id"]
                async for row in connection.cursor(
                    "select id from sales.orders order by id", prefetch=17
                )
            ]
            assert seen == list(range(1, 201))
            cursor = await connection.cursor("select id from sales.orders order by id")
            await cursor.forward(10)
            assert [row["id"] for row in await cursor.fetch(3)] == [11, 12, 13]

    _run(each_gateway, work)


def test_transactions(each_gateway: GatewayProcess) -> None:
    async def work(connection: Any) -> None:
        outer = connection.transaction()
        await outer.start()
        await connection.execute("insert into sales.scratch values ($1, $2, $3)", 5, "a", 1)
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute("insert into sales.scratch values (5, 'b', 2)")
        assert await connection.fetchval("select word from sales.scratch where id = 5") == "a"
        await outer.rollback()
        assert await connection.fetchval("select count(*) from sales.scratch where id = 5") == 0
        async with connection.transaction(isolation="serializable", readonly=True):
            assert await connection.fetchval("show transaction_isolation") == "serializable"

    _run(each_gateway, work)


def test_introspection_of_custom_types(each_gateway: GatewayProcess) -> None:
    """The types are not built in, so asyncpg asks the catalogue with its own long query."""

    async def work(connection: Any) -> None:
        row = await connection.fetchrow(
            "select mood, home, tags, data, seen, raw, span, score from sales.profiles"
            " where mood = $1",
            "ok",
        )
        assert row["mood"] == "ok"
        assert tuple(row["home"]) == ("Main St 1", 12345)
        assert row["tags"] == ["a", "b c", None]
        assert row["raw"] == b"\0\xff\x10"
        assert row["span"] == asyncpg.Range(1, 5)
        await connection.set_type_codec(
            "jsonb", encoder=str, decoder=lambda text: ("j", text), schema="pg_catalog"
        )
        assert (await connection.fetchval("select data from sales.profiles where id = 1"))[0] == "j"

    _run(each_gateway, work)


def test_copy_both_ways(each_gateway: GatewayProcess) -> None:
    async def work(connection: Any) -> None:
        async with connection.transaction():
            records = [(i, f"w{i}", Decimal(i)) for i in range(1000)]
            done = await connection.copy_records_to_table(
                "scratch", records=records, schema_name="sales"
            )
            assert done == "COPY 1000"
            parts: list[bytes] = []

            async def take(data: bytes) -> None:
                parts.append(data)

            await connection.copy_from_query("select id from sales.scratch", output=take)
            assert len(b"".join(parts).splitlines()) == 1000
            await connection.execute("delete from sales.scratch where id >= 0")

    _run(each_gateway, work)


def test_executemany(each_gateway: GatewayProcess) -> None:
    async def work(connection: Any) -> None:
        transaction = connection.transaction()
        await transaction.start()
        await connection.executemany(
            "insert into sales.scratch values ($1, $2, $3)", [(i, "m", 1) for i in range(300)]
        )
        assert await connection.fetchval("select count(*) from sales.scratch") == 300
        await transaction.rollback()

    _run(each_gateway, work)


def test_pool_resets(each_gateway: GatewayProcess) -> None:
    """Its reset query (advisory unlock, CLOSE ALL, UNLISTEN *, RESET ALL) goes through."""

    async def run() -> None:
        async with asyncpg.create_pool(
            host="127.0.0.1",
            port=each_gateway.port,
            user="agent",
            database="orders",
            password=each_gateway.mint("agent-1", ["agents"]),
            min_size=2,
            max_size=4,
        ) as pool:

            async def use(number: int) -> int:
                async with pool.acquire() as connection:
                    await connection.execute("set timezone = 'Asia/Tokyo'")
                    value: int = await connection.fetchval(
                        "select id from sales.orders where id = $1", number
                    )
                    return value

            assert await asyncio.gather(*map(use, range(1, 60))) == list(range(1, 60))
            async with pool.acquire() as connection:
                assert await connection.fetchval("show timezone") != "Asia/Tokyo"

    asyncio.run(asyncio.wait_for(run(), 40))


def test_timeout_cancels(each_gateway: GatewayProcess) -> None:
    """The driver cancels what takes too long, by a cancel request, and goes on."""

    async def work(connection: Any) -> None:
        with pytest.raises(TimeoutError):
            await connection.fetch(
                "select count(*) from sales.orders a, sales.orders b, sales.orders c,"
                " sales.orders d where a.amount + b.amount + c.amount = d.amount",
                timeout=0.3,
            )
        assert await connection.fetchval("select 7") == 7

    _run(each_gateway, work)


def test_refusal(each_gateway: GatewayProcess) -> None:
    async def work(connection: Any) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="PN301"):
            await connection.fetch("select * from sales.salaries where salary > $1", 1)
        assert await connection.fetchval("select 7") == 7

    _run(each_gateway, work)
