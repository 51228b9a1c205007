"""The sessions that are open right now, as the workers tell.

Kept in memory only: a list of what is alive has no use after the processes it is about. A worker
that dies takes its sessions with it; its successor has a higher generation, and what the dead one
still had on the list goes when the first word of the successor arrives: its `session.sync`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.approvals.changes import Changes
from gateway.approvals.refusal import Refusal, RefusalCode
from gateway.limits import SESSIONS_PER_WORKER_MAX
from gateway.policy.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TEXT_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSession:
    """One open session of a client."""

    id: str
    worker: int
    generation: int
    principal: Principal
    target: str
    level: str
    client: str
    opened_us: int


class _Worker:
    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.is_synced = False
        self.sessions: dict[str, LiveSession] = {}


class LiveSessions:
    """All open sessions, by worker."""

    def __init__(self) -> None:
        self._workers: dict[int, _Worker] = {}
        self.changes = Changes()

    def __len__(self) -> int:
        return sum(len(worker.sessions) for worker in self._workers.values())

    def __iter__(self) -> Iterator[LiveSession]:
        for worker in self._workers.values():
            yield from worker.sessions.values()

    def get(self, session_id: str) -> LiveSession | None:
        """Return one session, None when it is not open."""
        for worker in self._workers.values():
            if session_id in worker.sessions:
                return worker.sessions[session_id]
        return None

    def open(self, wire: Mapping[str, Any]) -> bool:
        """Add a session. True asks the worker for all of its sessions (`sync`).

        Raises Refusal for a malformed message or a worker over its bound.
        """
        session = _session(wire)
        worker = self._worker(session.worker, session.generation)
        if worker is None:
            return False  # of a worker that is already replaced
        if len(worker.sessions) >= SESSIONS_PER_WORKER_MAX and session.id not in worker.sessions:
            raise Refusal(RefusalCode.TOO_MANY, "too many sessions of one worker")
        worker.sessions[session.id] = session
        self.changes.note()
        return not worker.is_synced

    def close(self, wire: Mapping[str, Any]) -> None:
        """Remove a session; one that is not there is none of our business any more."""
        session_id = _text(wire, "session")
        for worker in self._workers.values():
            if worker.sessions.pop(session_id, None) is not None:
                self.changes.note()
                return

    def sync(self, wire: Mapping[str, Any]) -> None:
        """Replace everything known of one worker by what it says is open."""
        number, generation = _number(wire, "worker"), _number(wire, "generation")
        sessions = wire.get("sessions")
        if not isinstance(sessions, list) or len(sessions) > SESSIONS_PER_WORKER_MAX:
            raise Refusal(RefusalCode.INVALID, "malformed session message: sessions")
        worker = self._worker(number, generation)
        if worker is None:
            return
        told = (_session({**item, "worker": number, "generation": generation}) for item in sessions)
        worker.sessions = {session.id: session for session in told}
        worker.is_synced = True
        self.changes.note()

    def meet(self, number: int, generation: int) -> int | None:
        """Take note that worker `number` lives its life `generation`.

        Returns the generation that died of it, whose sessions are gone with it; else None.
        """
        known = self._workers.get(number)
        if known is not None and known.generation >= generation:
            return None
        self._workers[number] = _Worker(generation)
        self.changes.note()
        return None if known is None else known.generation

    def _worker(self, number: int, generation: int) -> _Worker | None:
        self.meet(number, generation)
        worker = self._workers[number]
        return worker if worker.generation == generation else None


def _session(wire: Mapping[str, Any]) -> LiveSession:
    try:
        principal = Principal.from_wire(wire["principal"])
    except (KeyError, TypeError, ValueError) as exc:
        raise Refusal(RefusalCode.INVALID, "malformed session message: principal") from exc
    return LiveSession(
        id=_text(wire, "session"),
        worker=_number(wire, "worker"),
        generation=_number(wire, "generation"),
        principal=principal,
        target=_text(wire, "target"),
        level=_text(wire, "level"),
        client=_text(wire, "client"),
        opened_us=_number(wire, "opened_us"),
    )


def _text(wire: Mapping[str, Any], key: str) -> str:
    value = wire.get(key, "")
    if not isinstance(value, str):
        raise Refusal(RefusalCode.INVALID, f"malformed session message: {key}")
    return value[:_TEXT_MAX]


def _number(wire: Mapping[str, Any], key: str) -> int:
    value = wire.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refusal(RefusalCode.INVALID, f"malformed session message: {key}")
    return value
