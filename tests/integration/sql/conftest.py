"""A private server per version, with schema.sql in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.postgres import Cluster, find_postgres

SCHEMA = Path(__file__).parents[2] / "unit" / "sql" / "schema.sql"


@pytest.fixture(scope="session", params=find_postgres(), ids=str)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="pn-sql-") as directory:
        Path(directory).chmod(0o755)
        running = Cluster(
            request.param, Path(directory) / "pg", settings={"log_line_prefix": "@@@"}
        )
        running.launch()
        try:
            running.run_sql("create database shop")
            running.run_sql(SCHEMA.read_text(), database="shop")
            yield running
        finally:
            running.stop()


@pytest.fixture
def dsn(cluster: Cluster) -> str:
    return f"postgresql://postgres@/shop?host={cluster.sockets}&port={cluster.port}"
