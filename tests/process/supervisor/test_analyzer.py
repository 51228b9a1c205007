"""Deadly, endless and greedy statements cost themselves, through the worker's real client."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.errors import NotUnderstood, TooComplex
from gateway.ipc import paths
from gateway.ipc.analyzer_client import AnalyzerClient
from gateway.ipc.epochs import POLICY, Epochs
from gateway.policy.decision import DecideRequest, Decision
from gateway.policy.principal import Principal
from gateway.process.data_dir import write_atomic
from tests.process.supervisor.conftest import GatewayUnderTest, send

LONG = " " * 20_000

Ask = Callable[..., Awaitable[dict[str, Any]]]


def run(
    gateway: GatewayUnderTest,
    scenario: Callable[[AnalyzerClient], Awaitable[None]],
    *,
    analyzers: int = 1,
) -> None:
    """Start a gateway with analyzers on the fake engine and play `scenario`."""
    gateway.wanted["mains"] = {"analyzer": "analyzer"}
    gateway.wanted["config"]["workers.analyzers"] = str(analyzers)
    paths.active_policy(gateway.data_dir).parent.mkdir(parents=True)
    paths.active_policy(gateway.data_dir).write_bytes(b"first")
    gateway.start()
    gateway.wait_for("ready")

    async def main() -> None:
        client = AnalyzerClient.for_gateway(gateway.data_dir, analyzers)
        try:
            await scenario(client)
        finally:
            client.close()

    asyncio.run(main())


async def decide(client: AnalyzerClient, sql: str, subject: str = "agent") -> Decision:
    """Ask as a worker does."""
    principal = Principal(
        issuer_id="corp", issuer="https://corp.example", subject=subject, groups=(),
        token_id=None, expires_at=0.0, issued_at=0.0, agent=None, run_id=None,
    )  # fmt: skip
    request = DecideRequest(principal=principal, target="orders", requested="", sql=sql.encode())
    return Decision.from_wire(await client.decide(request.to_wire()))


@pytest.mark.parametrize("sql", ["segv", "segv" + LONG], ids=["short", "long"])
def test_deadly_text_is_analysed_once(gateway: GatewayUnderTest, sql: str) -> None:
    """Goal: a text kills one analyzer life at most. Method: send it three times, two clients."""

    async def scenario(client: AnalyzerClient) -> None:
        assert (await decide(client, "select 1")).objects == ("select 1",)
        for _ in range(2):
            with pytest.raises(TooComplex, match="beyond what the gateway can analyse"):
                await decide(client, sql)
        other = AnalyzerClient.for_gateway(gateway.data_dir, 1)
        with pytest.raises(TooComplex):
            await decide(other, sql)
        other.close()
        assert (await decide(client, "select 2")).objects == ("select 2",)

    run(gateway, scenario)
    assert len(gateway.pids("analyzer-0")) == (2 if sql == "segv" else 1)


def test_principal_kills_one_analyzer_at_most(gateway: GatewayUnderTest) -> None:
    """Goal: ever new deadly texts stall nobody. Method: ten of one principal, others between."""

    async def scenario(client: AnalyzerClient) -> None:
        for n in range(10):
            with pytest.raises(TooComplex):
                await decide(client, f"segv {n}", "hostile")
            assert (await decide(client, f"select {n}", "other")).action == "allow"
        assert (await decide(client, "select 1", "hostile")).action == "allow"

    run(gateway, scenario)
    assert len(gateway.pids("analyzer-0")) == 2


def test_queued_statements_survive_the_death(gateway: GatewayUnderTest) -> None:
    """Goal: who merely waited is answered. Method: a deadly text in the midst of forty."""

    async def scenario(client: AnalyzerClient) -> None:
        await decide(client, "warm up")
        asked = [decide(client, f"select {n}", f"agent-{n}") for n in range(20)]
        asked.append(decide(client, "segv", "hostile"))
        asked += [decide(client, f"select {n}", f"agent-{n}") for n in range(20, 40)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(answers.pop(20), TooComplex)
        assert [a.objects for a in answers if isinstance(a, Decision)] == [
            (f"select {n}",) for n in range(40)
        ]

    run(gateway, scenario)
    assert len(gateway.pids("analyzer-0")) == 2


def test_second_analyzer_is_spared(gateway: GatewayUnderTest) -> None:
    """Goal: a deadly text is not tried on the next analyzer. Method: two analyzers, one text."""

    async def scenario(client: AnalyzerClient) -> None:
        for _ in range(3):
            with pytest.raises(TooComplex):
                await decide(client, "segv")

    run(gateway, scenario, analyzers=2)
    gateway.wait_for(r"analyzer-\d started", count=3)
    lives = len(gateway.pids("analyzer-0")) + len(gateway.pids("analyzer-1"))
    assert lives == 3


def test_endless_text_is_cut_off_and_remembered(gateway: GatewayUnderTest) -> None:
    """Goal: CPU per statement is bounded. Method: a spinning short text, then again."""

    async def scenario(client: AnalyzerClient) -> None:
        begun = time.monotonic()
        with pytest.raises(TooComplex):
            await decide(client, "spin")
        assert time.monotonic() - begun < 6
        # What is bounded is CPU: on a busy machine the client's patience ends before it.
        died = r"analyzer-0 died \(killed by SIGPROF on a client's statement\)"
        await asyncio.to_thread(gateway.wait_for, died)
        begun = time.monotonic()
        with pytest.raises(TooComplex):
            await decide(client, "spin")
        assert time.monotonic() - begun < 2

    run(gateway, scenario)


def test_long_endless_text_delays_nobody(gateway: GatewayUnderTest) -> None:
    """Goal: a long statement stalls no short one. Method: decide in the shadow of a spin."""

    async def scenario(client: AnalyzerClient) -> None:
        await decide(client, "warm up")
        spinning = asyncio.ensure_future(decide(client, "spin" + LONG, "hostile"))
        await asyncio.sleep(0.2)
        waits = []
        for n in range(50):
            begun = time.monotonic()
            await decide(client, f"select {n}")
            waits.append(time.monotonic() - begun)
        assert not spinning.done()
        assert sorted(waits)[25] < 0.05
        with pytest.raises(TooComplex):
            await spinning

    run(gateway, scenario)
    assert len(gateway.pids("analyzer-0")) == 1


@pytest.mark.parametrize("sql", ["memory", "nested", "memory" + LONG, "nested" + LONG])
def test_greedy_and_nested_texts_are_refused(gateway: GatewayUnderTest, sql: str) -> None:
    """Goal: memory and depth are bounded. Method: 8 GiB at once, and a RecursionError."""

    async def scenario(client: AnalyzerClient) -> None:
        with pytest.raises(TooComplex):
            await decide(client, sql)
        assert (await decide(client, "select 1")).action == "allow"

    run(gateway, scenario)
    assert len(gateway.pids("analyzer-0")) == 1


def test_refusals_and_profiles_travel(gateway: GatewayUnderTest) -> None:
    """Goal: errors keep their class and facts; profiles their absence. Method: each once."""

    async def scenario(client: AnalyzerClient) -> None:
        for sql in ("refused", "refused" + LONG):
            with pytest.raises(NotUnderstood, match="not this") as caught:
                await decide(client, sql)
            assert (caught.value.position, caught.value.facts) == (3, {"node": "X"})
        who: dict[str, Any] = {
            "issuer_id": "corp", "issuer": "i", "subject": "s", "groups": [], "token_id": None,
            "expires_at": 0.0, "issued_at": 0.0, "agent": None, "run_id": None,
        }  # fmt: skip
        assert await client.profile(who, "nothing", "") is None
        profile = await client.profile(who, "orders", "write")
        assert profile is not None
        assert profile["level"] == "write"

    run(gateway, scenario)


def test_new_policy_counts_from_the_bump_on(gateway: GatewayUnderTest) -> None:
    """Goal: no decision under an old policy. Method: write, bump, ask at once."""

    async def scenario(client: AnalyzerClient) -> None:
        epochs = Epochs.open(paths.epochs_file(gateway.data_dir))
        assert (await decide(client, "a")).policy_digest == "first"
        write_atomic(paths.active_policy(gateway.data_dir), b"second")
        epochs.bump(POLICY)
        assert (await decide(client, "a")).policy_digest == "second"

    run(gateway, scenario)


def test_killed_while_idle_costs_nothing(gateway: GatewayUnderTest) -> None:
    """Goal: kill -9 between statements loses none. Method: kill, then ask at once."""

    async def scenario(client: AnalyzerClient) -> None:
        await decide(client, "a")
        send(gateway.pids("analyzer-0")[0], signal.SIGKILL)
        assert (await decide(client, "b")).action == "allow"

    run(gateway, scenario)


def test_flood_of_one_principal_waits_for_itself(gateway: GatewayUnderTest) -> None:
    """Goal: fairness by principal. Method: 200 texts of one, then one of another: it is early."""

    async def scenario(client: AnalyzerClient) -> None:
        await decide(client, "warm up")
        order: list[str] = []

        async def ask(sql: str, subject: str) -> None:
            await decide(client, sql, subject)
            order.append(subject)

        flood = [ask(f"slow {n}", "flood") for n in range(200)]
        await asyncio.gather(*flood, ask("select 1", "other"))
        assert order.index("other") < 100

    run(gateway, scenario)
