"""Live sessions and keys: what a worker tells, and what dies with it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.approvals.refusal import Refusal
from gateway.clock import ManualClock
from gateway.config import Issuer
from gateway.control.keys import KeyKeeper
from gateway.control.live import LiveSessions
from gateway.ipc.epochs import KEYS, Epochs
from tests.unit.control.plane import PEOPLE, Plane, run


def told(session: str, worker: int = 0, generation: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "session": session,
        "worker": worker,
        "generation": generation,
        "principal": PEOPLE["bot"].to_wire(),
        "target": "orders",
        "level": "read",
        "client": "10.0.0.1:5",
        "opened_us": 1,
        **changes,
    }


def test_a_dead_worker_takes_its_sessions_with_it() -> None:
    live = LiveSessions()
    live.open(told("a", 0, 1))
    live.open(told("b", 1, 1))
    assert live.meet(0, 2) == 1
    assert [session.id for session in live] == ["b"]
    live.open(told("late", 0, 1))  # a message of the dead, overtaken by its successor
    assert live.get("late") is None
    assert not live.open(told("late", 0, 1))


def test_a_worker_tells_all_it_has_after_a_restart_of_control() -> None:
    live = LiveSessions()
    assert live.open(told("new"))
    live.sync({"worker": 0, "generation": 1, "sessions": [told("old"), told("new")]})
    assert sorted(session.id for session in live) == ["new", "old"]
    assert not live.open(told("newer"))
    live.close({"session": "old"})
    assert sorted(session.id for session in live) == ["new", "newer"]


@pytest.mark.parametrize(
    "message",
    [
        told("a", -1),
        told("a", worker=True),
        told("a", principal={}),
        told("a", target=5),
        {"session": "a"},
    ],
)
def test_a_malformed_message_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        LiveSessions().open(message)


def test_sessions_are_for_reviewers_and_their_owners(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        for number, who in enumerate(("bot", "bot2", "bot")):
            message = told(f"s{number}", principal=PEOPLE[who].to_wire(), opened_us=number)
            await plane.request({"op": "session.open", **message}, 1)
        for who, wanted in (
            ("ann", ["s2", "s1", "s0"]), ("sam", ["s2", "s1", "s0"]), ("bot", ["s2", "s0"]),
            ("mole", []), ("nobody", []),
        ):  # fmt: skip
            async with plane.http(who) as http:
                answer = (await http.get("/v1/sessions")).json()
                assert [item["id"] for item in answer["items"]] == wanted
                status = (await http.get("/v1/sessions/s1")).status_code
                assert status == (200 if "s1" in wanted else 404)
        async with plane.http("ann") as ann:
            first = (await ann.get("/v1/sessions?limit=2")).json()
            rest = (await ann.get(f"/v1/sessions?limit=2&cursor={first['next']}")).json()
            assert [i["id"] for i in first["items"] + rest["items"]] == ["s2", "s1", "s0"]
            assert rest["next"] is None
        browser, _ = await plane.browser("ann")
        assert "10.0.0.1:5" in (await browser.get("/sessions")).text

    run(tmp_path, body)


def issuer(**changes: Any) -> Issuer:
    fields = {"id": "corp", "kind": "oidc", "jwks_file": None, **changes}
    return cast("Issuer", SimpleNamespace(**fields))


def test_unknown_keys_cost_one_fetch(tmp_path: Path) -> None:
    """Goal: no token flood reaches an issuer. Method: many asks, at once and one after another."""

    async def body() -> None:
        clock, epochs = ManualClock(), Epochs.create(tmp_path / "epochs")
        fetches = 0

        async def fetch(_: Issuer) -> None:
            nonlocal fetches
            fetches += 1
            await asyncio.sleep(0)

        keys = KeyKeeper([issuer()], fetch, epochs, clock=clock)
        answers = await asyncio.gather(*(keys.refresh_now("corp") for _ in range(50)))
        assert (answers, fetches, epochs.get(KEYS)) == ([True] * 50, 1, 1)
        assert not await keys.refresh_now("corp")
        assert not await keys.refresh_now("unheard-of")
        clock.advance(11)
        assert await keys.refresh_now("corp")
        assert fetches == 2
        epochs.close()

    asyncio.run(body())


def test_a_failed_fetch_moves_no_epoch(tmp_path: Path) -> None:
    async def body() -> None:
        epochs = Epochs.create(tmp_path / "epochs")

        async def fetch(_: Issuer) -> None:
            raise OSError("no route")

        keys = KeyKeeper([issuer(), issuer(id="local", kind="local")], fetch, epochs)
        assert not await keys.refresh_now("corp")
        assert keys.failures == {"corp": "no route"}
        assert epochs.get(KEYS) == 0
        assert not await keys.refresh_now("local")
        epochs.close()

    asyncio.run(body())
