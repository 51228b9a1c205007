"""Catalogs stay current on a real PostgreSQL, and an absent one is PN107."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config import Credential, Roles, Target
from gateway.demo.postgres import Cluster, find_postgres
from gateway.errors import NotReady
from gateway.ipc.epochs import CATALOG, Epochs
from gateway.process import catalogs
from gateway.process.catalogs import CatalogKeeper
from gateway.process.targets import inspect_targets

BINARIES = find_postgres()
pytestmark = pytest.mark.skipif(not BINARIES, reason="needs a PostgreSQL server")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One private cluster for this module."""
    cluster = Cluster(BINARIES[-1], tmp_path_factory.mktemp("pg"))
    cluster.launch()
    cluster.run_sql(
        "create role gw login password 'pw'; create role super login superuser password 'pw';"
        "create schema sales; create table sales.orders (id int primary key, total numeric);"
    )
    yield cluster
    cluster.stop()


@pytest.fixture
def target(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Target:
    """The cluster as a target, under a login role without powers."""
    monkeypatch.setenv("PW", "pw")
    return Target(
        name="orders", host="127.0.0.1", port=cluster.port, database="postgres", tls="disable",
        user="gw", credential=Credential("env", "PW"), roles=Roles(),
    )  # fmt: skip


def run(
    target: Target, epochs: Epochs, scenario: Callable[[CatalogKeeper], Awaitable[None]]
) -> None:
    async def main() -> None:
        keeper = CatalogKeeper({target.name: target}, epochs)
        try:
            await scenario(keeper)
        finally:
            await keeper.close()

    asyncio.run(main())


@pytest.fixture
def epochs(tmp_path: Path) -> Epochs:
    return Epochs.create(tmp_path / "epochs")


def test_first_use_loads_and_a_bump_reloads(
    target: Target, epochs: Epochs, cluster: Cluster
) -> None:
    """Goal: DDL is seen at the next decision after a bump. Method: add a table, bump, ensure."""

    async def scenario(keeper: CatalogKeeper) -> None:
        await keeper.ensure("orders")
        first = keeper.catalogs["orders"]
        assert epochs.get(CATALOG) == 0  # the first load changes nothing for anybody
        await keeper.ensure("orders")
        assert keeper.catalogs["orders"] is first
        cluster.run_sql("create table sales.fresh (id int)")
        await keeper.ensure("orders")
        assert keeper.catalogs["orders"] is first  # nobody told it
        epochs.bump(CATALOG)
        await keeper.ensure("orders")
        second = keeper.catalogs["orders"]
        assert second.version != first.version
        # Its own bump tells the workers to drop what they decided in between.
        assert epochs.get(CATALOG) == 2
        epochs.bump(CATALOG)
        await keeper.ensure("orders")
        assert keeper.catalogs["orders"] is second
        assert epochs.get(CATALOG) == 3

    run(target, epochs, scenario)


@pytest.mark.parametrize(
    "ddl",
    [
        "alter table sales.orders rename column total to amount",
        "create view sales.v{n} as select id from sales.orders",
        "create function sales.f{n}() returns int language sql as 'select 1'",
        "alter table sales.orders add column extra{n} text",
    ],
)
def test_probe_notices(target: Target, epochs: Epochs, cluster: Cluster, ddl: str) -> None:
    """Goal: the cheap probe misses no kind of change. Method: one DDL each, then a look."""

    async def scenario(keeper: CatalogKeeper) -> None:
        await keeper.ensure("orders")
        before = keeper.catalogs["orders"].version
        cluster.run_sql(ddl.format(n=abs(hash(ddl))))
        epochs.bump(CATALOG)
        await keeper.ensure("orders")
        assert keeper.catalogs["orders"].version != before

    run(target, epochs, scenario)


def test_two_keepers_come_to_rest(target: Target, epochs: Epochs, cluster: Cluster) -> None:
    """Goal: analyzers do not bump each other for ever. Method: two on one epochs file."""

    async def main() -> None:
        keepers = [CatalogKeeper({"orders": target}, epochs) for _ in range(2)]
        for keeper in keepers:
            await keeper.ensure("orders")
        cluster.run_sql("create table sales.rest (id int)")
        epochs.bump(CATALOG)
        for _ in range(6):
            for keeper in keepers:
                await keeper.ensure("orders")
        assert epochs.get(CATALOG) <= 3
        first, second = (keeper.catalogs["orders"].version for keeper in keepers)
        assert first == second
        for keeper in keepers:
            await keeper.close()

    asyncio.run(main())


def test_misses_are_rate_limited(
    target: Target, epochs: Epochs, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: unknown names cost one probe per pause. Method: a miss at once, and after it."""

    async def scenario(keeper: CatalogKeeper) -> None:
        await keeper.ensure("orders")
        cluster.run_sql("create table sales.missed (id int)")
        assert not await keeper.on_miss("orders")
        monkeypatch.setattr(catalogs, "MISS_PAUSE_S", 0.0)
        assert await keeper.on_miss("orders")
        assert not await keeper.on_miss("nothing")

    run(target, epochs, scenario)


def test_absent_database_is_not_ready(target: Target, epochs: Epochs, cluster: Cluster) -> None:
    """Goal: PN107 while down, service afterwards. Method: stop, ask, start, ask."""

    async def scenario(keeper: CatalogKeeper) -> None:
        with pytest.raises(NotReady):
            await keeper.ensure("unknown")
        await asyncio.to_thread(cluster.stop)
        with pytest.raises(NotReady):
            await keeper.ensure("orders")
        await asyncio.to_thread(cluster.start)
        await asyncio.sleep(catalogs.RETRY_PAUSE_S)
        await keeper.ensure("orders")
        # An established catalog outlives an outage: its statements fail at the server anyway.
        await asyncio.to_thread(cluster.stop)
        epochs.bump(CATALOG)
        await keeper.ensure("orders")
        await asyncio.to_thread(cluster.start)

    run(target, epochs, scenario)


def test_superuser_login_is_never_served(target: Target, epochs: Epochs) -> None:
    """Goal: a target that was down at start is judged later. Method: a superuser login."""

    async def scenario(keeper: CatalogKeeper) -> None:
        with pytest.raises(NotReady):
            await keeper.ensure("orders")

    run(replace(target, user="super"), epochs, scenario)


def test_reports_tell_unusable_from_wrong(target: Target) -> None:
    """Goal: a start can tell the two apart. Method: good, down, wrong role, superuser."""
    targets = {
        "good": replace(target, name="good"),
        "down": replace(target, name="down", port=1),
        "super": replace(target, name="super", user="super"),
        "role": replace(target, name="role", roles=Roles(read="missing")),
    }
    reports = {r.name: r for r in asyncio.run(inspect_targets(targets, {"PW": "pw"}))}
    assert reports["good"].is_good
    assert reports["down"].unusable
    assert not reports["down"].problems
    assert "superuser" in reports["super"].problems[0]
    assert "missing" in reports["role"].problems[0]
    assert not reports["role"].unusable
