"""The example policies against a real server, live and from a snapshot of its catalog."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from gateway.demo.postgres import Cluster
from gateway.policy.engine import Engine
from gateway.policy.explain import run_tests
from gateway.policy.load import load_bundle
from gateway.policy.snapshot import read_snapshot, take_snapshot
from gateway.sql.catalog import Catalog
from gateway.sql.catalog_load import load_catalog
from tests.support.postgres import sample_cluster

POLICIES = Path(__file__).parents[2] / "policies"
EXAMPLES = ("start", "analyst", "support", "migration")


@pytest.fixture(scope="module")
def shop() -> Iterator[Cluster]:
    """A cluster with the example policies' schema in database `shop`."""
    with sample_cluster() as cluster:
        cluster.run_sql("create database shop")
        cluster.run_sql((POLICIES / "schema.sql").read_text(), database="shop")
        yield cluster


@pytest.fixture(scope="module")
def catalogs(shop: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Catalog]:
    """The same catalog twice: as loaded, and from a snapshot file."""

    async def load() -> tuple[Catalog, bytes]:
        connection = await asyncpg.connect(
            host=str(shop.sockets), port=shop.port, user="postgres", database="shop"
        )
        try:
            return await load_catalog(connection), await take_snapshot(connection)
        finally:
            await connection.close()

    live, snapshot = asyncio.run(load())
    path = tmp_path_factory.mktemp("snapshot") / "shop.json"
    path.write_bytes(snapshot)
    return {"live": live, "snapshot": read_snapshot(path)}


@pytest.mark.parametrize("source", ["live", "snapshot"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_example_passes_its_own_tests(
    catalogs: dict[str, Catalog], example: str, source: str
) -> None:
    """Goal: what we hand out works. Method: every `tests:` entry, no problem, no warning."""
    bundle = load_bundle(POLICIES / example, targets=["shop"], issuers=["corp"])
    engine = Engine(bundle, {"shop": catalogs[source]})
    assert not engine.problems
    assert not engine.warnings
    results = run_tests(engine)
    assert results
    assert [f"{r.where}: {r.problem}" for r in results if r.problem] == []


def test_snapshot_is_the_same_catalog(catalogs: dict[str, Catalog]) -> None:
    """Goal: decisions from a snapshot are decisions of the live database."""
    assert catalogs["live"].version == catalogs["snapshot"].version
