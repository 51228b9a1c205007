"""Start the processes of one gateway, keep them alive, end them in order.

The supervisor touches no client byte and runs no event loop and no thread: it waits for
signals and forks. So a fork is safe at any time of its life.
"""

from __future__ import annotations

import enum
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gateway import limits, metrics
from gateway.config import Config
from gateway.ipc.crash_memory import CrashMemory
from gateway.ipc.epochs import Epochs
from gateway.process.child import ChildContext, Main, fork_child
from gateway.process.exits import EXIT_BOOT, EXIT_FAILED, EXIT_OK
from gateway.process.listeners import close_listeners
from gateway.process.respawn import Respawn
from gateway.process.roster import Process, describe_status, make_roster
from gateway.process.signals import SignalQueue

_TICK_S = 0.25
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD)
# Workers first, what they depend on next; the writer last, to store what all others recorded.
_STOP_ORDER: tuple[tuple[str, ...], ...] = (("worker",), ("control", "analyzer"), ("writer",))


class Record(Protocol):
    """Writes one audit record of the supervisor. Must not raise."""

    def __call__(self, kind: str, **fields: Any) -> None:
        """Append a record of `kind`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Bounds of the supervisor; the defaults are the product's, tests shorten them."""

    heartbeat_lost_s: float = limits.HEARTBEAT_LOST_S
    boot_s: float = 120.0  # the writer recovers and indexes the trail before its first beat
    respawn_delay_s: float = limits.RESPAWN_DELAY_S
    respawn_burst_max: int = limits.RESPAWN_BURST_MAX
    respawn_window_s: float = limits.RESPAWN_WINDOW_S
    drain_s: float = limits.DRAIN_S
    stop_s: float = 10.0  # for each kind of process that carries no clients


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What the supervisor starts its processes on. Everything is bound and created already."""

    config: Config
    data_dir: Path
    sockets: tuple[socket.socket, ...]
    epochs: Epochs
    crashes: CrashMemory
    mains: Mapping[str, Main]  # by kind
    reload: Callable[[], None]  # reports and records by itself, never raises


class _Phase(enum.Enum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Supervisor:
    """Runs one gateway from its first fork to its exit code."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        announce: Callable[[str], None],
        record: Record,
        timing: Timing | None = None,
    ) -> None:
        self._gateway = gateway
        self._announce = announce
        self._record = record
        self._timing = timing or Timing()
        self._phase = _Phase.STARTING
        self._exit_code = EXIT_OK
        self._ended: set[str] = set()  # kinds that are not started again
        self._kill_now = False
        self._watched_at = 0.0
        self._grace_until = 0.0
        workers = gateway.config.workers
        counts = {"writer": 1, "control": 1} | {
            "analyzer": workers.analyzers,
            "worker": workers.count,
        }
        self._roster = make_roster(
            {kind: counts[kind] for kind in gateway.mains}, self._make_respawn
        )
        self._signals = SignalQueue(_SIGNALS)

    def run(self) -> int:
        """Start everything, serve until told to stop or pointless; return the exit code."""
        with self._signals.listening():
            for process in self._roster:
                self._start(process)
            while self._phase is not _Phase.STOPPING:
                self._turn()
            self._stop_all()
        return self._exit_code

    # --- one turn of the loop -------------------------------------------------------------

    def _turn(self) -> None:
        self._gateway.epochs.beat_supervisor()
        arrived = self._signals.wait(self._next_wait_s())
        if arrived & {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}:
            first = self._phase is not _Phase.STOPPING
            self._phase = _Phase.STOPPING
            self._kill_now = self._kill_now or not first or signal.SIGQUIT in arrived
        self._reap()
        self._watch()
        self._restart_due()
        if self._phase is _Phase.STARTING and self._is_up():
            self._phase = _Phase.RUNNING
            self._announce("ready")
            self._record("process.ready", pid=os.getpid())
        if signal.SIGHUP in arrived and self._phase is not _Phase.STOPPING:
            self._gateway.reload()

    def _next_wait_s(self) -> float:
        now = time.monotonic()
        due = [p.restart_at - now for p in self._roster if p.restart_at is not None]
        return min([_TICK_S, *due])

    def _is_up(self) -> bool:
        ages = (self._gateway.epochs.beat_age_s(process.slot) for process in self._roster)
        return all(age is not None for age in ages)

    # --- starting and restarting ----------------------------------------------------------

    def _make_respawn(self) -> Respawn:
        return Respawn(
            delay_s=self._timing.respawn_delay_s,
            burst_max=self._timing.respawn_burst_max,
            window_s=self._timing.respawn_window_s,
        )

    def _start(self, process: Process) -> None:
        gateway = self._gateway
        process.generation += 1
        process.restart_at = None
        gateway.epochs.clear_beat(process.slot)
        context = ChildContext(
            config=gateway.config,
            kind=process.kind,
            number=process.number,
            slot=process.slot,
            generation=process.generation,
            data_dir=gateway.data_dir,
            epochs=gateway.epochs,
            crashes=gateway.crashes,
            sockets=gateway.sockets if process.kind == "worker" else (),
            drain_s=self._timing.drain_s,
        )
        process.started_at = time.monotonic()
        # Who does not accept must not hold the sockets open: after a drain has closed them,
        # a client is refused instead of waiting in a backlog nobody reads.
        close = () if process.kind == "worker" else gateway.sockets
        process.pid = fork_child(gateway.mains[process.kind], context, close=close)
        self._announce(f"{process.name} started, process {process.pid}")
        self._record(
            "process.started", process=process.name, pid=process.pid, life=process.generation
        )

    def _restart_due(self) -> None:
        now = time.monotonic()
        for process in self._roster:
            if process.restart_at is not None and process.restart_at <= now:
                process.restart_at = None
                if process.kind not in self._ended:
                    self._start(process)

    def _reap(self) -> None:
        for process in self._roster:
            if (status := process.reap()) is not None:
                self._on_death(process, status)

    def _on_death(self, process: Process, status: int) -> None:
        if process.kind in self._ended:
            return
        # Before the next life can start: see the module text of crash_memory.
        by_client = process.kind == "analyzer" and self._gateway.crashes.bury(process.number)
        how = describe_status(status) + (" on a client's statement" if by_client else "")
        metrics.inc(metrics.RESTARTS.slot(process.kind))
        self._record("process.died", process=process.name, life=process.generation, how=how)
        if self._phase is _Phase.STARTING and os.waitstatus_to_exitcode(status) == EXIT_BOOT:
            self._give_up(f"{process.name} cannot start")
            return
        delay_s = process.respawn.on_death(time.monotonic(), caused_by_client=by_client)
        if delay_s is None:
            self._give_up(
                f"{process.name} died {self._timing.respawn_burst_max + 1} times within "
                f"{self._timing.respawn_window_s:g} s, last: {how}"
            )
            return
        process.restart_at = time.monotonic() + delay_s
        self._announce(f"{process.name} died ({how}), next start in {delay_s:g} s")

    def _give_up(self, reason: str) -> None:
        if self._exit_code != EXIT_OK:
            return
        self._announce(f"giving up: {reason}")
        self._record("process.gave_up", reason=reason)
        self._exit_code = EXIT_FAILED
        self._kill_now = True
        self._phase = _Phase.STOPPING

    # --- heartbeats -----------------------------------------------------------------------

    def _watch(self) -> None:
        now = time.monotonic()
        # When this process itself was stopped (a frozen container, a debugger), the others
        # were too: they get time to beat again before they are judged.
        if self._watched_at and now - self._watched_at > self._timing.heartbeat_lost_s / 2:
            self._grace_until = now + self._timing.heartbeat_lost_s
        self._watched_at = now
        if now < self._grace_until:
            return
        for process in self._roster:
            if process.pid is not None and self._is_stalled(process, now):
                self._announce(f"{process.name} stalls, killed")
                self._record("process.stalled", process=process.name, life=process.generation)
                process.signal(signal.SIGKILL)

    def _is_stalled(self, process: Process, now: float) -> bool:
        age_s = self._gateway.epochs.beat_age_s(process.slot)
        if age_s is None:
            return now - process.started_at > self._timing.boot_s
        return age_s > self._timing.heartbeat_lost_s

    # --- the end --------------------------------------------------------------------------

    def _stop_all(self) -> None:
        self._announce("stopping" if self._kill_now else "draining")
        self._record("process.stopping", drain=not self._kill_now)
        close_listeners(self._gateway.sockets)
        for kinds in _STOP_ORDER:
            self._ended.update(kinds)
            grace_s = self._timing.drain_s + 1.0 if "worker" in kinds else self._timing.stop_s
            self._end([p for p in self._roster if p.kind in kinds], grace_s)
        self._announce("stopped")

    def _end(self, processes: list[Process], grace_s: float) -> None:
        """Ask `processes` to end, wait `grace_s`, then kill. The other kinds stay watched."""
        has_clients = any(process.kind == "worker" for process in processes)
        for process in processes:
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        killed = False
        while any(process.pid is not None for process in processes):
            is_late = time.monotonic() >= deadline
            if not killed and (is_late or (self._kill_now and has_clients)):
                killed = True
                for process in processes:
                    if process.pid is not None:
                        self._announce(f"{process.name} killed" + ", was late" * is_late)
                        process.signal(signal.SIGKILL)
            self._turn()
