"""Tells pages that something they show has changed, without telling what."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Changes:
    """A number that grows whenever something a page shows has changed."""

    def __init__(self) -> None:
        self.number = 0
        self._event = asyncio.Event()

    def note(self) -> None:
        """Wake everybody who waits for a change."""
        self.number += 1
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def after(self, number: int, timeout_s: float) -> int:
        """Return the number as soon as it is not `number`, or when the time is over."""
        if self.number == number:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), timeout_s)
        return self.number
