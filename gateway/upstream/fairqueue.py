"""Who waits for a server connection, served in turn by principal.

One queue for all would let a flood of one agent stand before the single query of another. Here
each principal has its own line, and lines are served one after the other.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Futures by principal. A waiter is served after at most one of every other principal."""

    def __init__(self) -> None:
        self._lines: OrderedDict[Hashable, deque[asyncio.Future[T]]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._size

    def line(self, principal: Hashable) -> int:
        """How many of `principal` wait."""
        return len(self._lines.get(principal, ()))

    def push(self, principal: Hashable, future: asyncio.Future[T]) -> None:
        """Put `future` last in the line of `principal`."""
        self._lines.setdefault(principal, deque()).append(future)
        self._size += 1

    def pop(self) -> asyncio.Future[T] | None:
        """Take out whose turn it is, or None; those who gave up meanwhile are passed over."""
        while self._lines:
            principal, line = next(iter(self._lines.items()))
            future = line.popleft()
            self._size -= 1
            if line:
                self._lines.move_to_end(principal)
            else:
                del self._lines[principal]
            if not future.done():
                return future
        return None

    def discard(self, principal: Hashable, future: asyncio.Future[T]) -> None:
        """Take `future` out, if it is still in."""
        line = self._lines.get(principal)
        if line is None or future not in line:
            return
        line.remove(future)
        self._size -= 1
        if not line:
            del self._lines[principal]
