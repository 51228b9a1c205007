"""One gateway for the tests of connectors, without a connector of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.connector import ConnectorProcess, ConnectorStand, connector_stand
from tests.support.stands import SYSTEM, Stands, stands


@pytest.fixture(scope="module")
def stand(stands: Stands) -> Iterator[ConnectorStand]:
    with tempfile.TemporaryDirectory(prefix="pn-gw-") as directory:
        cluster = stands.cluster(SYSTEM)
        sections = '[pool]\nwait = "6s"'
        with connector_stand(cluster, Path(directory), sections=sections) as stand:
            yield stand


@pytest.fixture
def connector(stand: ConnectorStand, tmp_path: Path) -> Iterator[ConnectorProcess]:
    """A connector that is ready, gone after the test."""
    stand.directory = tmp_path
    with stand.connector() as process:
        stand.wait_ready()
        yield process
    stand.revoke_all()


__all__ = ["connector", "stand", "stands"]
