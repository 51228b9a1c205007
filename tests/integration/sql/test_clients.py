"""What real clients send must be understood, and as no more than it is.

Method: let psql, SQLAlchemy, psycopg, asyncpg and pgbench work on a real server that logs every
statement, then analyse the log.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import warnings
from typing import TYPE_CHECKING, cast

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from psycopg.types import TypeInfo
from psycopg.types.composite import CompositeInfo
from psycopg.types.enum import EnumInfo
from psycopg.types.range import RangeInfo

from gateway.demo.postgres import Cluster
from gateway.errors import ClientError
from gateway.sql.analyze import analyze
from gateway.sql.catalog_load import load_catalog
from gateway.sql.facts import EFFECT_LEVELS

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql.base import PGInspector

PSQL = r"""
\d
\dt
\dt+ sales.*
\d sales.customers
\d+ sales.customers
\d+ sales.orders
\d+ sales.events
\d+ sales.events_2024
\d+ app.child
\d app.audited
\d+ sales.v_cust
\d sales.sq
\d sales.m_tot
\d sales.customers_pkey
\du
\dg+
\dn+
\df sales.*
\df+ sales.f_leak
\sf sales.f_leak
\sv sales.v_cust
\dv *.*
\dm+ *.*
\ds *.*
\di+ sales.*
\dT+ sales.*
\dD app.*
\dx
\dp sales.*
\ddp
\l+
\dc
\dC
\dd sales.*
\dF
\dL
\do app.*
\dO
\dP
\dX
\dA
\dRp
\dy
\copy (select 1) to '/dev/null'
\copy app.t (a, b) from '/dev/null'
\copy app.t to '/dev/null'
"""


@pytest.fixture
def logged(cluster: Cluster) -> str:
    """A database whose every statement is in the server's log; its connection string."""
    cluster.run_sql("alter database shop set log_statement = 'all'")
    return f"postgresql://postgres@/shop?host={cluster.sockets}&port={cluster.port}"


def statements(cluster: Cluster, skip: int) -> list[str]:
    text = cluster.log.read_bytes()[skip:].decode()
    found: dict[str, None] = {}
    for chunk in text.split("@@@"):
        match = re.match(r"LOG:  (?:statement|execute [^:]*): (.*)", chunk, re.DOTALL)
        if match:
            found[match[1].rstrip("\n").replace("\n\t", "\n")] = None
    return list(found)


def check(cluster: Cluster, dsn: str, skip: int, *levels: str) -> int:
    """Analyse what was logged; all of it must be effects of `levels`. Returns how many."""
    texts = statements(cluster, skip)

    async def load() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await load_catalog(connection)
        finally:
            await connection.close()

    catalog = asyncio.run(load())
    allowed = {effect for level in levels for effect in EFFECT_LEVELS[level]}
    problems = []
    for sql in texts:
        try:
            found = analyze(sql.encode(), catalog, search_path=("public",))  # type: ignore[arg-type]
        except ClientError as error:
            problems.append(f"{error} ({error.reason}): {sql}")
            continue
        effects = {effect.id for one in found for effect in one.effects}
        if effects - allowed:
            problems.append(f"{effects - allowed}: {sql}")
    assert problems == []
    return len(texts)


def test_psql(cluster: Cluster, logged: str) -> None:
    skip = cluster.log.stat().st_size
    cluster.run_sql(r"\set ON_ERROR_STOP 0" + PSQL, database="shop")
    assert check(cluster, logged, skip, "read", "write") > 80


def test_sqlalchemy_reflection_and_orm(cluster: Cluster, logged: str) -> None:
    skip = cluster.log.stat().st_size
    engine = sa.create_engine(
        f"postgresql+psycopg://postgres@/shop?host={cluster.sockets}&port={cluster.port}"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "did not recognize type sales.addr"
        inspector = cast("PGInspector", sa.inspect(engine))
        for schema in inspector.get_schema_names():
            if schema == "information_schema":
                continue
            metadata = sa.MetaData()
            metadata.reflect(engine, schema=schema, views=True)
            inspector.get_enums(schema)
            inspector.get_sequence_names(schema)
            inspector.has_table("nope", schema)
            for name in inspector.get_table_names(schema):
                inspector.get_table_comment(name, schema)
                inspector.get_table_options(name, schema)
                inspector.get_check_constraints(name, schema)
    table = sa.Table("t", sa.MetaData(), schema="app", autoload_with=engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(table), [{"a": n, "b": "x"} for n in range(3)])
        connection.execute(sa.select(table).where(table.c.a > 1).order_by(table.c.b).limit(2))
        connection.execute(sa.update(table).where(table.c.a == 2).values(b="y"))
        connection.execute(sa.delete(table).where(table.c.a == 2))
    engine.dispose()
    assert check(cluster, logged, skip, "read", "write") > 30


def test_psycopg(cluster: Cluster, logged: str) -> None:
    skip = cluster.log.stat().st_size
    with psycopg.connect(logged) as connection:
        TypeInfo.fetch(connection, "sales.addr")
        CompositeInfo.fetch(connection, "sales.addr")
        EnumInfo.fetch(connection, "app.mood")
        RangeInfo.fetch(connection, "int4range")
        with connection.transaction(), connection.transaction():
            connection.execute("select a from app.t where a = %s", [1])
        with connection.cursor("server_side") as cursor:
            cursor.execute("select id from sales.orders")
            cursor.fetchmany(10)
        with connection.cursor() as cursor:
            with cursor.copy("copy app.t (a, b) from stdin") as copy:
                copy.write_row((1, "x"))
            with cursor.copy("copy app.t to stdout (format binary)") as copy:
                list(copy)
        connection.rollback()
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        connection.read_only = True
        connection.execute("select 1")
        connection.rollback()
    assert check(cluster, logged, skip, "read", "write") > 12


def test_asyncpg(cluster: Cluster, logged: str) -> None:
    skip = cluster.log.stat().st_size

    async def work() -> None:
        pool = await asyncpg.create_pool(logged, min_size=1, max_size=1)
        async with pool.acquire() as connection:
            await connection.fetch("select home from sales.customers where id = $1", 1)
            await connection.fetch("select 'good'::app.mood, $1::app.small[]", [1])
            async with connection.transaction():
                async for _ in connection.cursor("select id from sales.orders"):
                    pass
            outer = connection.transaction(isolation="serializable", readonly=True)
            async with outer, connection.transaction():
                await connection.fetch("select 1")
            await connection.copy_records_to_table(
                "t", schema_name="app", records=[(1, "x")], columns=["a", "b"]
            )
        await pool.close()

    asyncio.run(work())
    assert check(cluster, logged, skip, "read", "write") > 10


def test_pgbench(cluster: Cluster, logged: str) -> None:
    pgbench = cluster.bin_dir / "pgbench"
    if not pgbench.exists():
        pytest.skip("this server comes without pgbench")
    at = ["-h", str(cluster.sockets), "-p", str(cluster.port), "-U", "postgres"]
    skip = cluster.log.stat().st_size
    subprocess.run([pgbench, *at, "-i", "-q", "shop"], check=True, capture_output=True)
    check(cluster, logged, skip, "read", "write", "admin")
    skip = cluster.log.stat().st_size
    for mode in ("simple", "extended", "prepared"):
        for extra in ([], ["-S"]):
            run = [pgbench, *at, "-n", "-t", "3", "-M", mode, *extra, "shop"]
            subprocess.run(run, check=True, capture_output=True)
    assert check(cluster, logged, skip, "read", "write") > 5


def test_the_same_database_gives_the_same_version(dsn: str) -> None:
    async def load() -> tuple[str, str, str]:
        connection = await asyncpg.connect(dsn)
        first = await load_catalog(connection)
        again = await load_catalog(connection)
        await connection.execute("alter table app.u add column later int")
        changed = await load_catalog(connection)
        await connection.execute("alter table app.u drop column later")
        await connection.close()
        return first.version, again.version, changed.version

    first, again, changed = asyncio.run(load())
    assert first == again
    assert first != changed
