"""Fixtures of the suites on real servers: a cluster and a gateway that many tests share.

Starting both takes seconds, so a test process has one of each per server version, made when
first asked for. A test that kills, stops or reconfigures starts a gateway of its own.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.demo.postgres import Cluster, find_postgres
from tests.support.gateway import GatewayProcess, wait_until
from tests.support.postgres import sample_cluster

SYSTEM, EMBEDDED = "system", "embedded"


@dataclass
class Stand:
    """A gateway in front of a cluster, both running."""

    cluster: Cluster
    gateway: GatewayProcess

    def server(self, **options: Any) -> psycopg.Connection[Any]:
        """A direct connection to the server as superuser."""
        return psycopg.connect(
            host=str(self.cluster.sockets), port=self.cluster.port, dbname="orders",
            user="postgres", autocommit=True, **options,
        )  # fmt: skip

    def server_saw(self, text: str) -> bool:
        """Whether the server's log, with every statement in it, holds `text`.

        What is only explained, for the reviewer of a held statement, was not run.
        """
        lines = self.settled_log().splitlines()
        return any(text in line for line in lines if "EXPLAIN (FORMAT JSON) " not in line)

    def settled_log(self) -> str:
        """The server's log up to now: a statement of our own, sent after all others, is in it."""
        marker = f"marker {uuid.uuid4()}"
        with self.server() as connection:
            connection.execute(f"select 1 /* {marker} */".encode())
        wait_until(lambda: marker in self.server_log(), 5, "the server logs the marker")
        return self.server_log()

    def records(self, *terms: str) -> list[dict[str, Any]]:
        """Audit records found by `postern audit search`."""
        return self.gateway.audit(*terms)

    def server_log(self) -> str:
        return self.cluster.log.read_text(errors="replace")


class Stands:
    """All stands of this test process."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._clusters: dict[str, Cluster] = {}
        self._stands: dict[str, Stand] = {}

    def cluster(self, version: str) -> Cluster:
        if version not in self._clusters:
            self._clusters[version] = self._stack.enter_context(
                sample_cluster(bin_dir(version), log_statement="all", log_connections="on")
            )
        return self._clusters[version]

    def stand(self, version: str) -> Stand:
        if version not in self._stands:
            cluster = self.cluster(version)
            directory = self._stack.enter_context(own_directory())
            gateway = self._stack.enter_context(GatewayProcess(cluster, Path(directory)))
            self._stands[version] = Stand(cluster, gateway)
        return self._stands[version]


def own_directory() -> tempfile.TemporaryDirectory[str]:
    """A short path: sockets live in it."""
    return tempfile.TemporaryDirectory(prefix="pn-gw-")


def bin_dir(version: str) -> Path:
    """The `bin` of the system's server or of the embedded one; both must be there."""
    for place in find_postgres():
        is_system = place.is_relative_to("/usr/lib/postgresql")
        if is_system == (version == SYSTEM):
            return place
    raise AssertionError(f"no {version} PostgreSQL is installed; `make setup` installs it")


@pytest.fixture(scope="session")
def stands() -> Iterator[Stands]:
    with ExitStack() as stack:
        yield Stands(stack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the ends of both logs beside a failure."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Stand):
                report.sections.append(("gateway log", value.gateway.log[-4000:]))
                report.sections.append(("server log", value.server_log()[-4000:]))
    return report


@pytest.fixture(scope="session")
def stand(stands: Stands) -> Stand:
    """The gateway in front of the newest server."""
    return stands.stand(EMBEDDED)


@pytest.fixture(scope="session", params=[SYSTEM, EMBEDDED])
def each_stand(stands: Stands, request: pytest.FixtureRequest) -> Stand:
    """Both server versions in turn."""
    return stands.stand(request.param)


@pytest.fixture
def gateway(stand: Stand) -> GatewayProcess:
    return stand.gateway


@pytest.fixture
def each_gateway(each_stand: Stand) -> GatewayProcess:
    return each_stand.gateway
