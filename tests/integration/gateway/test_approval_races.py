"""One approval, many who want it: exactly one execution, exactly one decision."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.sample import POLICY
from tests.support.stands import EMBEDDED, Stand, Stands, own_directory
from tests.support.wireclient import WireClient, errors, query

CLIENTS = 50
SQL = "update sales.scratch set amount = amount + 1"


@pytest.fixture(scope="module")
def place(stands: Stands) -> Iterator[Stand]:
    cluster = stands.cluster(EMBEDDED)
    policy = POLICY.replace("quorum: 1, hold: 10s", "quorum: 1, hold: 60s")
    with own_directory() as directory:
        stand = Stand(cluster, GatewayProcess(cluster, Path(directory), policy=policy))
        with stand.server() as server:
            server.execute("delete from sales.scratch")
            server.execute("insert into sales.scratch values (1, 'x', 0)")
        with stand.gateway:
            yield stand


def _call(gateway: GatewayProcess, who: str, path: str, body: dict[str, Any] | None = None) -> Any:
    return httpx.request(
        "GET" if body is None else "POST",
        f"http://127.0.0.1:{gateway.control_port}/v1/approvals{path}",
        headers={"authorization": f"Bearer {gateway.mint(who, ['dba'])}"},
        json=body, trust_env=False, timeout=20,
    )  # fmt: skip


def _amount(place: Stand) -> int:
    with place.server() as server:
        row = server.execute("select amount::int from sales.scratch where id = 1").fetchone()
    assert row is not None
    return int(row[0])


def _pending(gateway: GatewayProcess, sql: str) -> str:
    def find() -> str:
        items = _call(gateway, "dana", "?state=PENDING").json()["items"]
        return next((str(item["id"]) for item in items if item["excerpt"] == sql), "")

    return wait_until(find, 10, "the request is filed")


def test_fifty_clients_of_one_approval(place: Stand) -> None:
    """Goal: exactly one execution. Method: 50 sessions of one agent hold on one approval."""
    gateway, before = place.gateway, _amount(place)
    with ExitStack() as stack:
        clients = [stack.enter_context(WireClient(gateway.port, timeout_s=30)) for _ in range(50)]
        token = gateway.mint("agent-race", ["agents"])
        for client in clients:
            client.login(token)
        for client in clients:
            client.send(query(SQL))
        for client in clients:
            client.expect("N")
        request_id = _pending(gateway, SQL)
        assert _call(gateway, "dana", f"/{request_id}/approve", {}).status_code == 200
        answers = [client.until_ready() for client in clients]
    ran = [answer for answer in answers if ("C", b"UPDATE 1\0") in answer]
    refused = [error["M"] for answer in answers for error in errors(answer)]
    assert len(ran) == 1
    assert len(refused) == CLIENTS - 1
    assert all(text.startswith("PN404") for text in refused)
    assert _amount(place) == before + 1


def test_two_reviewers_at_once_are_one_decision(place: Stand) -> None:
    """Goal: one decision, told to both. Method: approve and deny in the same moment, again."""
    gateway = place.gateway
    for turn in range(5):
        sql = f"{SQL} /* {turn} */"
        before = _amount(place)
        with WireClient(gateway.port, timeout_s=30) as client:
            client.login(gateway.mint("agent-race", ["agents"]))
            client.send(query(sql))
            request_id = _pending(gateway, sql)
            with ThreadPoolExecutor(2) as people:
                yes = people.submit(_call, gateway, "dana", f"/{request_id}/approve", {})
                no = people.submit(_call, gateway, "erin", f"/{request_id}/deny", {})
            statuses = sorted([yes.result().status_code, no.result().status_code])
            assert statuses == [200, 409]
            answer = client.until_ready()
            approved = yes.result().status_code == 200
            assert _amount(place) == before + approved
            assert (errors(answer) == []) is approved
