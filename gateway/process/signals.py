"""Signals as a queue: handlers only enqueue, the supervisor's loop acts."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class SignalQueue:
    """Collects signals while `listening`; `wait` returns those that came."""

    def __init__(self, numbers: tuple[signal.Signals, ...]) -> None:
        self._numbers = numbers
        self._reader = -1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the signals inside the block, restore what was there after it."""
        self._reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = {number: signal.signal(number, lambda *_: None) for number in self._numbers}
        wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(writer)
            os.close(self._reader)

    def wait(self, timeout_s: float) -> set[int]:
        """Return what arrived, at the latest after `timeout_s`."""
        select.select([self._reader], [], [], max(timeout_s, 0.0))
        with suppress(BlockingIOError):
            return set(os.read(self._reader, 512))
        return set()
