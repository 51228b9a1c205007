"""What is granted works as it did: applications, dashboards, ORMs and tools, none refused.

Method: every statement through the gateway over the simple and the extended protocol in one
session per way; a refusal or any other error fails. psql's own commands run as psql.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.adversarial.legitimate import statements
from tests.adversarial.legitimate.schema import POLICY, SCHEMA
from tests.adversarial.legitimate.tpch import QUERIES
from tests.support import wireclient
from tests.support.gateway import GatewayProcess
from tests.support.postgres import sample_cluster
from tests.support.stands import own_directory
from tests.support.wireclient import WireClient, errors

PSQL = r"""
\d
\d+
\dt
\dt+ shop.*
\d product
\d+ shop.purchase
\d shop.metric
\d+ shop.open_purchase
\d shop.product_id_seq
\di
\di+ shop.*
\ds
\dv
\dm
\df
\df+ shop.*
\dn
\dn+
\du
\dg
\l
\dT
\dD
\dx
\dp
\ddp
\dC
\do
\da
\dF
\dL
\dO
\dP
\dRp
\dX
\dy
\db
\conninfo
\encoding
\sv shop.open_purchase
\z product
\dd
""".strip().splitlines()


def cases() -> list[tuple[str, tuple[str, ...]]]:
    """Every statement with the values it is bound with."""
    found = [(line, ()) for line in QUERIES.strip().splitlines()]
    blocks = (
        statements.ORM,
        statements.SESSION,
        statements.DASHBOARDS,
        statements.PGBENCH,
        statements.INTROSPECTION,
    )
    parted: list[tuple[str, tuple[str, ...]]] = [*found]
    for block in blocks:
        for line in block.strip().splitlines():
            sql, _, values = line.partition(" -- ")
            parted.append((sql, tuple(values.split("|")) if values else ()))
    return parted


_WRITES = ("insert", "update", "delete", "merge")
# Its role and settings must be set again at once, which the relay does for simple queries.
_SIMPLE_ONLY = ("DISCARD ALL",)
CASES = cases()
IDS = [f"{number}-{sql[:60]}" for number, (sql, _) in enumerate(CASES)]


@pytest.fixture(scope="module")
def shop() -> Iterator[GatewayProcess]:
    with ExitStack() as stack:
        cluster = stack.enter_context(sample_cluster())
        cluster.run_sql(SCHEMA, database="orders")
        directory = stack.enter_context(own_directory())
        yield stack.enter_context(
            GatewayProcess(cluster, Path(directory), workers=1, policy=POLICY)
        )


@pytest.fixture
def client(shop: GatewayProcess) -> Iterator[WireClient]:
    with WireClient(shop.port, timeout_s=30) as client:
        client.login(shop.mint("app", ["apps"]))
        yield client


def test_there_are_enough() -> None:
    assert len(CASES) + len(PSQL) >= 200


@pytest.mark.parametrize(("sql", "values"), [case for case in CASES if case[0] not in _SIMPLE_ONLY])
def test_extended(client: WireClient, sql: str, values: tuple[str, ...]) -> None:
    _prepare(client, sql)
    answer = client.ask(
        wireclient.parse(sql),
        wireclient.bind(values),
        wireclient.describe(),
        wireclient.execute(),
        wireclient.SYNC,
    )
    assert not errors(answer)
    assert not errors(client.ask(wireclient.query("select 1")))


@pytest.mark.parametrize(("sql", "values"), CASES, ids=IDS)
def test_simple(client: WireClient, sql: str, values: tuple[str, ...]) -> None:
    _prepare(client, sql)
    text = re.sub(
        r"\$(\d+)", lambda found: "'" + values[int(found[1]) - 1].replace("'", "''") + "'", sql
    )
    assert not errors(client.ask(wireclient.query(text)))


def _prepare(client: WireClient, sql: str) -> None:
    """Open what the statement stands in."""
    words = sql.lower()
    if words.startswith(("savepoint", "release", "declare", *_WRITES)):
        client.ask(wireclient.query("begin"))
    if words.startswith("release"):
        client.ask(wireclient.query("savepoint s1"))


@pytest.mark.parametrize("command", PSQL)
def test_psql(shop: GatewayProcess, command: str) -> None:
    done = shop.run("psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", command, groups=("apps",))
    assert "ERROR" not in done.stderr


def test_masked_column_is_masked(client: WireClient) -> None:
    """Goal: the policy of this suite has a mask that works, so that none of this is for free."""
    answer = client.ask(wireclient.query("select password from auth_user limit 1"))
    assert wireclient.rows(answer) == [[b"[redacted]"]]
