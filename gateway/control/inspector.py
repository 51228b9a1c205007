"""What pages ask of the analyzers and of the audit trail. Everything slow runs elsewhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.audit.search import AuditSearch, Event, Query
from gateway.control.problems import HttpProblem
from gateway.errors import ClientError, GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.clock import Clock

REFUSALS_LOOKED_AT: Final = 500
REFUSALS_SHOWN: Final = 8
DAY_US: Final = 86_400_000_000
KEPT_S: Final = 10.0
SEARCHES_AT_ONCE: Final = 2


class Telling(Protocol):
    """What is needed of `gateway.ipc.analyzer_client.AnalyzerClient`."""

    async def tell(self, operation: str, **fields: object) -> dict[str, Any]:
        """Return an answer; raises ClientError or ChannelError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A kind of statement that was refused, how often, and what to search for to see them."""

    error: str
    effects: str
    objects: str
    count: int
    query: str


class Inspector:
    """Answers questions about the gateway for people."""

    def __init__(self, data_dir: Path, analyzers: Telling, clock: Clock) -> None:
        self._data_dir = data_dir
        self._analyzers = analyzers
        self._clock = clock
        self._searching = asyncio.Semaphore(SEARCHES_AT_ONCE)
        self._refused: tuple[float, list[Refused]] = (float("-inf"), [])

    async def tell(self, operation: str, **fields: object) -> dict[str, Any]:
        """Return what an analyzer says; raises HttpProblem when none can."""
        try:
            return await self._analyzers.tell(operation, **fields)
        except ClientError as error:
            raise HttpProblem(503, error.message, reason=error.reason) from error
        except GatewayError as error:
            raise HttpProblem(503, "no analyzer answers now", reason=str(error)) from error

    async def targets(self) -> dict[str, str]:
        """Return per target what keeps it from being served; "?" when nobody can tell."""
        try:
            told = await self.tell("status")
        except HttpProblem:
            return {}
        return {str(name): str(problem) for name, problem in told["targets"].items()}

    async def search(self, query: Query) -> list[Event]:
        """Return what the trail holds, newest first."""
        async with self._searching:
            return await asyncio.to_thread(lambda: list(AuditSearch(self._data_dir).find(query)))

    async def top_refusals(self) -> list[Refused]:
        """Return what was refused most in the last day; an answer is kept for a moment."""
        now = self._clock.monotonic()
        at, kept = self._refused
        if now - at < KEPT_S:
            return kept
        since = int(self._clock.wall() * 1e6) - DAY_US
        found = await self.search(
            Query(filters={"kind": "statement.refused"}, since_us=since, limit=REFUSALS_LOOKED_AT)
        )
        self._refused = (now, list(_group(found)))
        return self._refused[1]


def _group(events: Iterable[Event]) -> Iterable[Refused]:
    seen: Counter[tuple[str, str, str]] = Counter()
    for event in events:
        record = event.record
        error = record.get("error")
        error_id = str(error.get("id")) if isinstance(error, dict) else str(error or "")
        effects, objects = (", ".join(record.get(key) or ()) for key in ("effects", "objects"))
        seen[error_id, effects, objects] += 1
    for (error_id, effects, objects), count in seen.most_common(REFUSALS_SHOWN):
        words = ["kind:statement.refused", f"error:{error_id}"]
        if objects:
            words.append(f"object:{objects.split(', ')[0]}")
        yield Refused(
            error=error_id, effects=effects, objects=objects, count=count, query=" ".join(words)
        )
