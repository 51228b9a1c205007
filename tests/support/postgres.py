"""Real PostgreSQL servers for the suites: the demo's runner with the sample database in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.demo.postgres import Cluster, find_postgres
from tests.support.sample import PGBENCH, ROLES, SCHEMA


@contextmanager
def sample_cluster(bin_dir: Path | None = None, **settings: str) -> Iterator[Cluster]:
    """Yield a running cluster with database `orders`; the newest server unless `bin_dir`.

    Not below pytest's own directory: the server's user must reach it, and a socket path is short.
    """
    bin_dir = bin_dir or find_postgres()[0]
    with tempfile.TemporaryDirectory(prefix="pn-pg-") as directory:
        Path(directory).chmod(0o755)
        cluster = Cluster(bin_dir, Path(directory) / "pg", settings=settings)
        cluster.launch()
        try:
            cluster.run_sql("create database orders")
            cluster.run_sql(ROLES + SCHEMA + PGBENCH, database="orders")
            yield cluster
        finally:
            cluster.stop()
