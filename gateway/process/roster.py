"""The processes of one gateway as the supervisor knows them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from gateway.ipc.epochs import HEARTBEATS_MAX
from gateway.process.child import process_name
from gateway.process.exits import StartError
from gateway.process.respawn import Respawn

KINDS = ("writer", "control", "analyzer", "worker")  # in the order they are started


@dataclass(slots=True)
class Process:
    """One process over all its lives."""

    kind: str
    number: int
    slot: int
    respawn: Respawn
    generation: int = 0
    pid: int | None = None
    started_at: float = 0.0
    restart_at: float | None = None

    @property
    def name(self) -> str:
        """`worker-0`, `writer`."""
        return process_name(self.kind, self.number)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process lives."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def reap(self) -> int | None:
        """Return the wait status if the process ended since the last call."""
        if self.pid is None:
            return None
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        self.pid = None
        return status


def make_roster(
    counts: Mapping[str, int], make_respawn: Callable[[], Respawn]
) -> tuple[Process, ...]:
    """Return one entry per process to run, in starting order, each with its heartbeat slot."""
    kinds = [(kind, number) for kind in KINDS for number in range(counts.get(kind, 0))]
    if len(kinds) > HEARTBEATS_MAX:
        raise StartError(f"{len(kinds)} processes are more than {HEARTBEATS_MAX}")
    return tuple(
        Process(kind, number, slot, make_respawn()) for slot, (kind, number) in enumerate(kinds)
    )


def describe_status(status: int) -> str:
    """Say how a process ended."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"killed by {signal.Signals(number).name}"
        except ValueError:
            return f"killed by signal {number}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"
