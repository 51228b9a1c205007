"""Every metric, declared once, counted in a memory-mapped file per process.

An increment is one addition to an int64 in a map that the control process reads: no lock, no
message, no cost to a scrape. Label values are closed lists, so that no peer can create a time
series and no row value or name can end up in one.

    from gateway import metrics
    _ALLOWED = metrics.STATEMENTS.slot("allow")
    metrics.inc(_ALLOWED)

Until `open_process` is called the counts go to memory of this process that nobody reads.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final, Literal

from gateway.errors import ERRORS

_MAGIC: Final = b"PNMETRIC"
_HEADER: Final = struct.Struct("<8s8sqq")  # magic, layout digest, pid, spare
_SLOT_BYTES: Final = 8
_FIRST_SLOT: Final = _HEADER.size // _SLOT_BYTES
_MICROS: Final = 1_000_000

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One declared metric; `first` is the slot of its first series."""

    name: str
    kind: Kind
    help: str
    labels: tuple[tuple[str, tuple[str, ...]], ...]
    bounds_s: tuple[float, ...]
    first: int

    @property
    def width(self) -> int:
        """Slots per series: one, or for a histogram its buckets, +Inf and the sum."""
        return len(self.bounds_s) + 2 if self.kind == "histogram" else 1

    @property
    def series(self) -> list[tuple[str, ...]]:
        """Every combination of label values, in slot order."""
        return list(product(*(values for _, values in self.labels)))

    def slot(self, *values: str) -> int:
        """Return the slot of the series with these label values; ValueError if there is none."""
        return self.first + self.series.index(values) * self.width


METRICS: Final[list[Metric]] = []


def _declare(
    name: str,
    kind: Kind,
    text: str,
    labels: dict[str, tuple[str, ...]],
    bounds_s: tuple[float, ...] = (),
) -> Metric:
    previous = METRICS[-1] if METRICS else None
    first = previous.first + previous.width * len(previous.series) if previous else _FIRST_SLOT
    metric = Metric(name, kind, text, tuple(labels.items()), bounds_s, first)
    METRICS.append(metric)
    return metric


def _counter(name: str, text: str, **labels: tuple[str, ...]) -> Metric:
    return _declare(f"postern_{name}_total", "counter", text, labels)


def _gauge(name: str, text: str, **labels: tuple[str, ...]) -> Metric:
    return _declare(f"postern_{name}", "gauge", text, labels)


def _histogram(name: str, text: str, bounds_s: tuple[float, ...]) -> Metric:
    return _declare(f"postern_{name}_seconds", "histogram", text, {}, bounds_s)


_FAST: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
_SLOW: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800)
_PROCESSES: Final = ("worker", "analyzer", "writer", "control")

SESSIONS = _counter("sessions", "Logins by result.", result=("accepted", "refused"))
SESSIONS_OPEN = _gauge("sessions_open", "Clients that are logged in.")
SESSIONS_ENDED = _counter(
    "sessions_ended",
    "Sessions the gateway ended.",
    reason=("revoked", "idle", "idle_in_transaction", "slow_reader", "expired"),
)
CONNECTIONS_OPEN = _gauge("connections_open", "Client connections, logged in or not.")
CLIENT_BYTES = _counter("client_bytes", "Bytes relayed.", direction=("in", "out"))
STATEMENTS = _counter(
    "statements", "Decided statements by action.", action=("allow", "deny", "approve", "local")
)
REFUSALS = _counter("refusals", "Errors of the gateway's own by id.", id=tuple(ERRORS))
LIMITS_EXCEEDED = _counter(
    "limits_exceeded",
    "Limits of policies that a statement or login exceeded, in shadow mode too.",
    limit=(
        "rows",
        "bytes",
        "affected_rows",
        "time",
        "estimated_cost",
        "statements",
        "sessions",
    ),
)
DECISION_CACHE = _counter(
    "decision_cache", "Look-ups of the decision cache.", result=("text", "fingerprint", "miss")
)
DECISION_CACHE_ENTRIES = _gauge("decision_cache_entries", "Decisions held.")
ANALYSIS = _histogram("analysis", "Time from a cache miss to its decision.", _FAST)
ANALYSIS_PENDING = _gauge("analysis_pending", "Statements waiting for an analyzer.")
STATEMENT_TIME = _histogram("statement", "Time from forwarding to completion.", _SLOW)
POOL_WAIT = _histogram("pool_wait", "Time a statement waited for a server connection.", _SLOW)
SERVER_CONNECTIONS = _gauge(
    "server_connections", "Connections to servers by state.", state=("idle", "used", "pinned")
)
SERVER_DIALS = _counter("server_dials", "Dials to servers by result.", result=("ok", "failed"))
CONNECTORS = _gauge("connectors", "Connectors that are connected and sound.")
CONNECTOR_OPENS = _counter(
    "connector_opens", "Server connections asked of connectors.", result=("ok", "failed")
)
CONNECTOR_REFUSED = _counter("connector_refused", "Connections refused at the connectors' gate.")
PINS = _counter(
    "pins",
    "Sessions that pinned their server connection, by reason.",
    reason=("settings", "temp", "cursor", "advisory_lock", "listen", "other"),
)
CANCELS = _counter("cancels", "Cancel requests.", result=("forwarded", "unknown_key"))
MASKED_RESULTS = _counter(
    "masked_results", "Result shapes a mask plan was made for; repeated ones reuse it."
)
SECURITY_EVENTS = _counter(
    "security_events",
    "Results withheld because the server's answer did not match the decision, and the like.",
    kind=("row_description", "parameter_status", "server_protocol", "superuser", "other"),
)
TOKENS = _counter(
    "tokens", "Token verifications.", result=("cached", "verified", "invalid", "expired")
)
KEY_REFRESHES = _counter("key_refreshes", "Key set fetches.", result=("ok", "failed"))
APPROVALS = _counter(
    "approvals",
    "Approval requests by the state they reached.",
    state=("pending", "approved", "denied", "expired", "cancelled", "executed", "failed"),
)
APPROVALS_PENDING = _gauge("approvals_pending", "Requests waiting for a person.")
JOURNAL_LAG = _gauge("journal_lag_bytes", "Audit bytes in the journal not yet on disk.")
JOURNAL_FULL = _counter("journal_full", "Statements refused because the journal was full.")
AUDIT_RECORDS = _counter("audit_records", "Records written to segments.")
AUDIT_SYNC = _histogram("audit_sync", "Time of one flush of a segment to disk.", _FAST)
DISK_USED = _gauge("disk_used_percent", "Share of the data directory's disk in use.")
RESTARTS = _counter("process_restarts", "Processes restarted.", process=_PROCESSES)
LOOP_STALLS = _counter("loop_stalls", "Heartbeats that came late.", process=_PROCESSES)
RELOADS = _counter("policy_reloads", "Policy reloads by result.", result=("activated", "refused"))

SLOTS: Final = METRICS[-1].first + METRICS[-1].width * len(METRICS[-1].series)
_LAYOUT: Final = hashlib.sha256(repr(METRICS).encode()).digest()[:8]

# Replaced by open_process; a memoryview because compiled code adds to it as well.
_slots: memoryview = memoryview(bytearray(SLOTS * _SLOT_BYTES)).cast("q")


def view() -> memoryview:
    """Return the writable int64 slots of this process; call again after `open_process`."""
    return _slots


def inc(slot: int, count: int = 1) -> None:
    """Add `count` to a counter or gauge."""
    _slots[slot] += count


def put(slot: int, value: int) -> None:
    """Set a gauge."""
    _slots[slot] = value


def observe(metric: Metric, seconds: float) -> None:
    """Count one duration in a histogram."""
    _slots[metric.first + bisect_left(metric.bounds_s, seconds)] += 1
    _slots[metric.first + metric.width - 1] += int(seconds * _MICROS)


def path_of(data_dir: Path, process: str) -> Path:
    """Return the file that holds the counts of `process`, such as `worker-0`."""
    return data_dir / "run" / f"metrics-{process}"


def open_process(data_dir: Path, process: str) -> None:
    """Count in the file of `process` from now on; call after the fork.

    Counters of a previous life go on where they stood, as a restart must not look like a
    reset; gauges start from zero, because what they counted died with it.
    """
    global _slots  # noqa: PLW0603  one process counts in one place
    path = path_of(data_dir, process)
    path.parent.mkdir(parents=True, exist_ok=True)
    size = SLOTS * _SLOT_BYTES
    header = _HEADER.pack(_MAGIC, _LAYOUT, os.getpid(), 0)
    if _read(path) is None:
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(header.ljust(size, b"\0"))
        fresh.replace(path)
    with path.open("r+b") as file:
        area = mmap.mmap(file.fileno(), size)
    area[: _HEADER.size] = header
    _slots = memoryview(area).cast("q")
    for metric in METRICS:
        if metric.kind == "gauge":
            for values in metric.series:
                _slots[metric.slot(*values)] = 0


def totals(data_dir: Path) -> list[int]:
    """Return every slot's sum over all processes."""
    sums = [0] * SLOTS
    for path in sorted(path_of(data_dir, "").parent.glob("metrics-*")):
        for index, value in enumerate(_read(path) or ()):
            sums[index] += value
    return sums


def render(data_dir: Path) -> str:
    """Return the sum over all processes in Prometheus' text format."""
    sums = totals(data_dir)
    return "".join(line + "\n" for metric in METRICS for line in _lines(metric, sums))


def _read(path: Path) -> memoryview | None:
    """Return the slots in `path`, or None if it is not of this version's layout."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) != SLOTS * _SLOT_BYTES or data[:16] != _MAGIC + _LAYOUT:
        return None
    return memoryview(data).cast("q")


def _lines(metric: Metric, sums: list[int]) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    names = [name for name, _ in metric.labels]
    for values in metric.series:
        slot = metric.slot(*values)
        pairs = ",".join(f'{name}="{value}"' for name, value in zip(names, values, strict=True))
        if metric.kind != "histogram":
            yield (
                f"{metric.name}{{{pairs}}} {sums[slot]}"
                if pairs
                else (f"{metric.name} {sums[slot]}")
            )
            continue
        count = 0
        for offset, bound in enumerate((*metric.bounds_s, math.inf)):
            count += sums[slot + offset]
            edge = "+Inf" if bound == math.inf else f"{bound:g}"
            yield f'{metric.name}_bucket{{le="{edge}"}} {count}'
        yield f"{metric.name}_sum {sums[slot + metric.width - 1] / _MICROS:.6f}"
        yield f"{metric.name}_count {count}"
