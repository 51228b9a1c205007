"""Bound parameters in the trail: readable in both formats, or left out where the policy says so."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.demo.postgres import Cluster
from tests.support.gateway import GatewayProcess
from tests.support.sample import POLICY
from tests.support.stands import EMBEDDED, Stand, Stands, own_directory

CANARY = "canary-4f1c"


@pytest.fixture(scope="module")
def cluster(stands: Stands) -> Cluster:
    return stands.cluster(EMBEDDED)


@pytest.fixture(scope="module", params=["masked", "none"])
def discreet(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[GatewayProcess]:
    policy = POLICY + f"\naudit: {{params: {request.param}}}\n"
    with (
        own_directory() as directory,
        GatewayProcess(cluster, Path(directory), workers=1, policy=policy) as gateway,
    ):
        yield gateway


def test_what_drivers_bind_is_readable_in_both_formats(stand: Stand) -> None:
    key = uuid.uuid4()
    with stand.gateway.connect(subject="params-1") as connection:
        for form in ("b", "t"):
            connection.execute(
                f"select %{form}::int4, %{form}::numeric, %{form}::uuid, %{form}::text, %s::int",
                (70_000, Decimal("12.50"), key, "It's", None),
            )
    found = stand.records("who:params-1", "kind:statement.intent")
    assert len(found) == 2
    for record in found:
        read = record["params"]
        assert read[:2] + read[3:] == ["70000", "12.50", "It's", None]
        assert uuid.UUID(read[2]) == key  # as text psycopg sends it without dashes


def test_left_out_parameters_are_nowhere_in_the_data_directory(discreet: GatewayProcess) -> None:
    """Goal: not the record, not the ring, not the index. Method: a canary in both formats."""
    with discreet.connect() as connection:
        for form in ("b", "t"):
            connection.execute(f"select length(%{form}::text)", (CANARY,))
        with connection.pipeline():
            connection.execute("select length(%s::text)", (CANARY,), prepare=True)
    assert discreet.stop() == 0
    found = discreet.audit("kind:statement.intent")
    assert [r["params"] for r in found if r.get("params")] == [[{"redacted_bytes": 11}]] * 3
    needles = (CANARY.encode(), CANARY.encode().hex().encode())
    for path in discreet.data_dir.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(needle in content for needle in needles), path
    discreet.start()
