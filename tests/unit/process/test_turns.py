"""Turns are fair by key, bounded, and never lost."""

from __future__ import annotations

import asyncio

import pytest

from gateway.ipc.channel import ChannelBusy
from gateway.process.turns import Turns


def test_round_robin_over_keys() -> None:
    """Goal: a flood waits for itself. Method: five of one key, then one each of two others."""

    async def main() -> list[str]:
        turns, order = Turns(), []

        async def work(key: str) -> None:
            async with turns.turn(key):
                await asyncio.sleep(0)
                order.append(key)

        await asyncio.gather(*(work(key) for key in "aaaaabc"))
        return order

    assert asyncio.run(main()) == list("aabcaaa")


def test_bound_and_cancellation() -> None:
    """Goal: no turn is lost with its waiter. Method: cancel one that waits and one just served."""

    async def main() -> None:
        turns = Turns(waiting_max=2)
        release = asyncio.Event()

        async def work(hold: bool) -> str:
            async with turns.turn("k"):
                if hold:
                    await release.wait()
                return "done"

        holder = asyncio.ensure_future(work(hold=True))
        await asyncio.sleep(0)
        first = asyncio.ensure_future(work(hold=False))
        second = asyncio.ensure_future(work(hold=False))
        await asyncio.sleep(0)
        with pytest.raises(ChannelBusy):
            await work(hold=False)
        release.set()
        await holder  # hands the turn to `first`, which is cancelled before it runs
        first.cancel()
        assert await asyncio.wait_for(second, 1) == "done"
        assert await asyncio.wait_for(work(hold=False), 1) == "done"

    asyncio.run(main())


def test_several_holders() -> None:
    """Goal: as many at once as allowed. Method: three of two."""

    async def main() -> int:
        turns, most, now = Turns(2), 0, 0

        async def work() -> None:
            nonlocal most, now
            async with turns.turn("k"):
                now += 1
                most = max(most, now)
                await asyncio.sleep(0)
                now -= 1

        await asyncio.gather(*(work() for _ in range(5)))
        return most

    assert asyncio.run(main()) == 2
