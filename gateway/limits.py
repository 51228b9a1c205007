"""The bounds that more than one module, or an operator, depends on.

A peer can choose no size, count or duration that is not capped: by a name here, or where only
one module is concerned, by a constant beside the code it protects. Units are in the names. A
limit that an operator may change has a setting; these are its outer bounds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

# Wire, from the client.
STARTUP_BYTES_MAX: Final = 10_000  # PostgreSQL's own MAX_STARTUP_PACKET_LENGTH
STARTUP_PARAMETERS_MAX: Final = 64
PASSWORD_BYTES_MAX: Final = 20_000  # a 16 kB token plus the message around it
TOKEN_BYTES_MAX: Final = 16_384
MESSAGE_BYTES_MAX: Final = 64 << 20  # Bind with large values; above: 08P01
STARTUP_TIMEOUT_S: Final = 15.0  # a peer that says nothing holds a slot no longer than this
LOGINS_IN_PROGRESS_MAX: Final = 512  # per worker; connections that have not authenticated
LOGINS_PER_ADDRESS_MAX: Final = 384  # of those; the rest is for others
LOGIN_FAILURES_BURST: Final = 100.0  # wrong tokens of one address before new ones wait
LOGIN_FAILURES_PER_S: Final = 2.0  # how fast they are forgotten
LOGIN_FAILURES_ADDRESSES_MAX: Final = 4_096
SESSIONS_PER_WORKER_MAX: Final = 10_000
PIPELINE_MESSAGES_MAX: Final = 4_096  # replies owed to one client before reading pauses
PREPARED_PER_SESSION_MAX: Final = 10_000
PORTALS_PER_SESSION_MAX: Final = 1_000
NAME_BYTES_MAX: Final = 1_024  # prepared statement and portal names
CLIENT_BUFFER_BYTES_MAX: Final = 1 << 20  # unsent bytes to one client before the server pauses
RETAINED_BUFFER_BYTES_MAX: Final = 256 << 10  # capacity an idle session may keep

# Statements and analysis.
STATEMENT_BYTES_MAX: Final = 1 << 20  # what is audited and analysed; above: PN308
ANALYSIS_TIMEOUT_S: Final = 5.0
ANALYZER_PENDING_MAX: Final = 256  # requests one worker may have waiting at an analyzer
DECISION_CACHE_ENTRIES_MAX: Final = 20_000  # per profile and worker
DECISION_CACHE_BYTES_MAX: Final = 64 << 20
CRASHED_TEXTS_MAX: Final = 1_000  # digests of statements that took an analyzer down

# Server side.
DIAL_TIMEOUT_S: Final = 10.0
CANCEL_TIMEOUT_S: Final = 5.0
SERVER_IDLE_S: Final = 600.0
SERVER_AGE_S: Final = 3_600.0
SCRAM_ITERATIONS_MAX: Final = 1_000_000  # a hostile server could ask for hours of hashing
POOL_SIZE_MAX: Final = 1_000
POOL_TOTAL_MAX: Final = 100_000
POOL_WAIT_S_MAX: Final = 600.0
POOL_WAITERS_MAX: Final = 5_000
SECRET_BYTES_MAX: Final = 64 << 10
SECRET_COMMAND_TIMEOUT_S: Final = 10.0
SECRET_TTL_S_MAX: Final = 86_400.0
VAULT_ANSWER_BYTES_MAX: Final = 256 << 10
VAULT_TIMEOUT_S: Final = 10.0

# Connectors.
CONNECTOR_KEY_S_MAX: Final = 365 * 86_400.0
CONNECTOR_FRAME_BYTES_MAX: Final = 64 << 10
CONNECTOR_GREETINGS_MAX: Final = 256  # connections at the gate that have not said who they are
CONNECTOR_GREETING_S: Final = 10.0
CONNECTOR_BEAT_S: Final = 2.0
CONNECTOR_LOST_S: Final = 8.0  # without its beat a connector gets no new connection
CONNECTOR_OPENS_MAX: Final = 256  # requests one connector may have in flight
CONNECTOR_TOKEN_S_MAX: Final = 7 * 86_400.0
CONNECTORS_MAX: Final = 256
CONNECTOR_STREAM_LOST_S: Final = 15  # unanswered bytes on a data connection end it

# Identity.
TOKEN_CACHE_ENTRIES_MAX: Final = 10_000
GROUPS_PER_TOKEN_MAX: Final = 500
JWKS_BYTES_MAX: Final = 1 << 20
JWKS_FETCH_TIMEOUT_S: Final = 10.0
JWKS_REFRESH_S: Final = 300.0
JWKS_REFRESH_ON_UNKNOWN_S: Final = 10.0  # at most one forced refresh per issuer in this time
DISCOVERY_S: Final = 600.0  # a provider's endpoints are looked up again after this
JWKS_STALE_S_MAX: Final = 86_400.0  # an issuer that is down is trusted no longer than this
TOKEN_AGE_S_MAX: Final = 30 * 86_400.0
LEEWAY_S_MAX: Final = 300.0
ONE_TIME_IDS_MAX: Final = 100_000  # of logins and logouts; more are refused
GATEWAY_TOKEN_S_MAX: Final = 900.0
GATEWAY_TOKENS_MAX: Final = 200_000
GATEWAY_TOKENS_PER_PRINCIPAL_MAX: Final = 2_000
REVOCATIONS_MAX: Final = 20_000
REVOCATIONS_BYTES_MAX: Final = 8 << 20
SUPERVISOR_LOST_S: Final = 30.0  # without its heartbeat workers run no new statement
REVOCATION_POLL_S: Final = 0.1  # how often a worker looks for what its idle sessions must hear
SESSION_IDLE_S_MAX: Final = 30 * 86_400.0
SESSION_AGE_S_MAX: Final = 30 * 86_400.0

# Audit.
JOURNAL_BYTES: Final = 16 << 20  # per worker; also the most that can wait for the writer
JOURNAL_CONTROL_BYTES: Final = 8 << 20  # control and supervisor write little
SEGMENT_BYTES_MAX: Final = 64 << 20
SEGMENT_AGE_S_MAX: Final = 3_600.0
CHECKPOINT_S: Final = 10.0
WRITER_SYNC_S: Final = 0.010  # no record is older before it is on the disk, if the disk can
COMMIT_WAIT_S: Final = 5.0  # for the flush that durability "group" waits for; twice it at most
COMMIT_GATHER_S: Final = 0.005  # a flush under load waits for others to join, at most this long
DISK_WARN_SHARE: Final = 0.90
DISK_REFUSE_SHARE: Final = 0.97

# Processes and their channels.
WORKERS_MAX: Final = 256
ANALYZERS_MAX: Final = 64
IPC_FRAME_BYTES_MAX: Final = 16 << 20
IPC_PENDING_MAX: Final = 1_024
HEARTBEAT_S: Final = 0.5
HEARTBEAT_LOST_S: Final = 10.0
RESPAWN_DELAY_S: Final = 0.1
RESPAWN_BURST_MAX: Final = 10  # starts of one process within RESPAWN_WINDOW_S before a pause
RESPAWN_WINDOW_S: Final = 30.0
DRAIN_S: Final = 30.0

# Approvals and control.
APPROVALS_PENDING_MAX: Final = 10_000
APPROVALS_PENDING_PER_PRINCIPAL_MAX: Final = 50
APPROVAL_HOLD_S_MAX: Final = 300.0
APPROVAL_NOTICE_S: Final = 10.0
POLICY_QUORUM_MAX: Final = 5
COMMENT_BYTES_MAX: Final = 2_000
HTTP_BODY_BYTES_MAX: Final = 1 << 20
HTTP_PAGE_ITEMS_MAX: Final = 500

# Limits of policies.
LIMIT_WINDOW_S_MIN: Final = 1.0
LIMIT_WINDOW_S_MAX: Final = 31 * 86_400.0
LIMIT_POLL_S: Final = 0.05  # how late a statement that runs too long is cancelled, at most

# Files.
CONFIG_BYTES_MAX: Final = 1 << 20
TARGETS_MAX: Final = 1_000
ISSUERS_MAX: Final = 64

_QuotaReader = Callable[[Path], float | None]
_CGROUP_ROOT = Path("/sys/fs/cgroup")
_CGROUP_SELF = Path("/proc/self/cgroup")


def usable_cpus(
    cgroup_root: Path = _CGROUP_ROOT,
    cgroup_self: Path = _CGROUP_SELF,
    affinity: int | None = None,
) -> int:
    """Return how many CPUs this process may keep busy: affinity capped by the cgroup quota.

    A quota is rounded down: one worker too many is throttled together with its siblings, and
    a throttled worker stalls every client it carries.
    """
    available = len(os.sched_getaffinity(0)) if affinity is None else affinity
    quotas = _quotas(cgroup_root, cgroup_self)
    return max(1, min([available, *(int(quota) for quota in quotas)]))


def _quotas(root: Path, self_file: Path) -> list[float]:
    """Return the CPU quota of every cgroup from this process up to the root, v2 and v1."""
    try:
        lines = self_file.read_text().splitlines()
    except OSError:
        return []
    quotas: list[float] = []
    for line in lines:
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            quotas += _walk(root, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            base = next((p for p in (root / controllers, root / "cpu") if p.is_dir()), root)
            quotas += _walk(base, path, _quota_v1)
    return quotas


def _walk(base: Path, path: str, read: _QuotaReader) -> list[float]:
    # In a container the path is the host's while the mount shows only our part of the tree:
    # what does not exist is skipped, the mount point itself is always looked at.
    parts = [part for part in path.split("/") if part not in {"", ".."}]
    places = [base.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]
    return [quota for quota in (read(place) for place in places) if quota is not None]


def _quota_v2(place: Path) -> float | None:
    fields = _read_fields(place / "cpu.max")
    if len(fields) != 2 or fields[0] == "max":
        return None
    return _ratio(fields[0], fields[1])


def _quota_v1(place: Path) -> float | None:
    quota = _read_fields(place / "cpu.cfs_quota_us")
    period = _read_fields(place / "cpu.cfs_period_us")
    if not quota or not period or quota[0].startswith("-"):
        return None
    return _ratio(quota[0], period[0])


def _read_fields(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _ratio(quota: str, period: str) -> float | None:
    try:
        return int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
