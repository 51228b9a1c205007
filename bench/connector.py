"""`python -m bench.connector`: what a connector on the same machine adds to a query and a gigabyte.

CPU of all processes of gateway and connector, as the kernel counts it, for `pgbench -S` and for one
big result: first through a gateway that logs in itself, then through a connector, in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.macro.account import Usage, family, spent, usage
from tests.support.connector import ConnectorProcess, ConnectorStand
from tests.support.gateway import GatewayProcess
from tests.support.postgres import sample_cluster

_ROWS_SQL = "select i, repeat('x', 1000) from generate_series(1, {rows}) i"


@dataclass
class Party:
    """One way to the server."""

    name: str
    gateway: GatewayProcess
    connector: ConnectorProcess | None = None

    def usage(self) -> dict[int, Usage]:
        """CPU used by every process so far."""
        roots = [self.gateway.process, self.connector.process if self.connector else None]
        return usage([pid for root in roots if root is not None for pid in family(root.pid)])

    def query_us(self, queries: int) -> float:
        """CPU microseconds per query of `pgbench -S`."""
        before = self.usage()
        clients = 4
        self.gateway.run(
            "pgbench", "-n", "-S", "-M", "simple", "-c", str(clients),
            "-t", str(queries // clients), "orders", groups=("agents",),
        )  # fmt: skip
        return spent(before, self.usage()).total_s / queries * 1e6

    def gigabyte_s(self, rows: int) -> float:
        """CPU seconds per gigabyte of rows."""
        before = self.usage()
        self.gateway.run("psql", "-qAt", "-o", os.devnull, "-c", _ROWS_SQL.format(rows=rows))
        return spent(before, self.usage()).total_s / (rows * 1000 / 1e9)


@contextmanager
def parties() -> Iterator[list[Party]]:
    """Yield both ways, running, one worker each."""
    with ExitStack() as stack:
        cluster = stack.enter_context(sample_cluster())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pn-bench-")))
        (directory / "direct").mkdir()
        direct = stack.enter_context(GatewayProcess(cluster, directory / "direct", workers=1))
        site = ConnectorStand(cluster, directory / "site", workers=1)
        stack.enter_context(site.gateway)
        connector = stack.enter_context(site.connector())
        site.wait_ready()
        yield [Party("direct", direct), Party("connector", site.gateway, connector)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args()
    queries: dict[str, list[float]] = {}
    streams: dict[str, list[float]] = {}
    with parties() as ways:
        for way in ways:
            way.query_us(500)
        for number in range(options.rounds):
            for way in ways if number % 2 else ways[::-1]:
                queries.setdefault(way.name, []).append(way.query_us(options.queries))
                streams.setdefault(way.name, []).append(way.gigabyte_s(options.rows))
    for name, found in queries.items():
        streamed = statistics.median(streams[name])
        print(f"{name}: {statistics.median(found):.1f} us CPU/query, {streamed:.2f} CPU-s/GB")
    added = statistics.median(queries["connector"]) - statistics.median(queries["direct"])
    more = statistics.median(streams["connector"]) - statistics.median(streams["direct"])
    print(f"added: {added:.1f} us per query (bar 20), {more:.2f} CPU-s per GB")


if __name__ == "__main__":
    main()
