"""The metrics of a worker: those that compiled code counts, and those read off now and then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from _fastpath.counts import Counts
from gateway import metrics

if TYPE_CHECKING:
    from _fastpath.statements import VerdictCache
    from gateway.session.worker import Worker

_ACTIONS = ("allow", "deny", "approve", "local")  # in the order of Verdict.action
_LOOKUPS = tuple(metrics.DECISION_CACHE.slot(how) for how in ("text", "fingerprint", "miss"))


def make_counts() -> Counts:
    """The slots that the relay adds to; call after `metrics.open_process`."""
    allow, deny, approve, local = (metrics.STATEMENTS.slot(action) for action in _ACTIONS)
    return Counts(
        metrics.view(),
        (allow, deny, approve, local),
        metrics.CLIENT_BYTES.slot("in"),
        metrics.CLIENT_BYTES.slot("out"),
        metrics.STATEMENT_TIME.first,
        metrics.STATEMENT_TIME.bounds_s,
    )


class CacheCounts:
    """Look-ups of the verdict caches since the last reading, also of those dropped meanwhile."""

    def __init__(self) -> None:
        self._seen: dict[VerdictCache, tuple[int, int, int]] = {}

    def read(self, caches: Iterable[VerdictCache]) -> None:
        """Add what came since the last call to the shared counters."""
        entries, seen = 0, {}
        for cache in {*caches, *self._seen}:
            counts = (cache.hits_exact, cache.hits_fingerprint, cache.misses)
            before = self._seen.get(cache, (0, 0, 0))
            for slot, now, then in zip(_LOOKUPS, counts, before, strict=True):
                metrics.inc(slot, now - then)
            seen[cache] = counts
        self._seen = {cache: seen[cache] for cache in caches}
        entries = sum(sum(cache.sizes()) for cache in self._seen)
        metrics.put(metrics.DECISION_CACHE_ENTRIES.slot(), entries)


def read_gauges(worker: Worker) -> None:
    """Bring everything up to date that is not counted as it happens."""
    idle = used = pinned = 0
    for pool in worker.pools:
        idle_here, used_here = pool.counts
        idle += idle_here
        used += used_here
    pinned = sum(session.relay.pin is not None for session in worker.sessions.values())
    metrics.put(metrics.SERVER_CONNECTIONS.slot("idle"), idle)
    metrics.put(metrics.SERVER_CONNECTIONS.slot("used"), used - pinned)
    metrics.put(metrics.SERVER_CONNECTIONS.slot("pinned"), pinned)
    open_now = len(worker.sessions) + worker.floods.waiting
    metrics.put(metrics.CONNECTIONS_OPEN.slot(), open_now)
    metrics.put(metrics.JOURNAL_LAG.slot(), worker.journal.lag_bytes())
    worker.cache_counts.read(worker.rights.caches)
