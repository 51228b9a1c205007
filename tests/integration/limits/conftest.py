"""One gateway with every kind of limit, for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateway import GatewayProcess
from tests.support.limited import limited_gateway, superuser
from tests.support.stands import EMBEDDED, Stands, pytest_runtest_makereport, stands  # noqa: F401


@pytest.fixture(scope="session")
def limited(stands: Stands) -> Iterator[GatewayProcess]:  # noqa: F811
    with limited_gateway(stands, EMBEDDED) as gateway:
        yield gateway


@pytest.fixture
def table(limited: GatewayProcess) -> Iterator[str]:
    """A table of 20 rows that the test may change; gone afterwards."""
    with superuser(limited.cluster) as server:
        server.execute("truncate sales.scratch")
        server.execute("insert into sales.scratch select i, 'w', 0 from generate_series(1, 20) i")
        yield "sales.scratch"
        server.execute("truncate sales.scratch")
