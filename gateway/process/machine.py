"""Whether the settings fit the machine: what would go wrong only under load is said before it.

Each function takes what it looks at as arguments, so that a test can be another machine.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.limits import SEGMENT_BYTES_MAX, SESSIONS_PER_WORKER_MAX, usable_cpus

if TYPE_CHECKING:
    from gateway.config import Config, Target

_OWN_DESCRIPTORS: Final = 64  # of a worker: journal, metrics, sockets, loop
_CLIENTS_LEAST: Final = 1_000
_LEVELS: Final = 3
_STATEMENT_BYTES: Final = 1_800  # of intent and result in the trail: an estimate
_WORKER_BYTES: Final = 100 << 20
_CGROUP_MEMORY: Final = Path("/sys/fs/cgroup/memory.max")


def find_warnings(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (what, text) for every setting that contradicts this machine."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield from check_descriptors(config, soft)
    yield from check_cpus(config, usable_cpus())
    yield from check_memory(config, memory_limit())


def check_descriptors(config: Config, limit: int) -> Iterator[tuple[str, str]]:
    """Yield a warning when a worker would run out of descriptors before its clients are many."""
    if limit == resource.RLIM_INFINITY:
        return
    pooled = len(config.targets) * _LEVELS * config.pool.size_of(config.workers.count)
    clients = limit - _OWN_DESCRIPTORS - pooled
    if clients < _CLIENTS_LEAST:
        text = (
            f"{limit} open files per process leave each worker {max(0, clients)} clients besides "
            f"{pooled} server connections; {SESSIONS_PER_WORKER_MAX + pooled + _OWN_DESCRIPTORS} "
            "never run out (ulimit -n, LimitNOFILE=)"
        )
        yield "descriptors", text


def check_cpus(config: Config, usable: int) -> Iterator[tuple[str, str]]:
    """Yield a warning when more workers run than CPUs may be used."""
    if config.workers.count > usable:
        text = (
            f"{config.workers.count} workers on {usable} usable CPUs: they are throttled or "
            'scheduled together; workers.count = "auto" fits'
        )
        yield "workers", text


def check_memory(config: Config, limit: int | None) -> Iterator[tuple[str, str]]:
    """Yield a warning when the processes alone need more than the memory limit."""
    needed = (config.workers.count + config.workers.analyzers + 3) * _WORKER_BYTES
    if limit is not None and needed > limit:
        text = f"{needed >> 20} MiB for the processes, the limit is {limit >> 20} MiB"
        yield "memory", text


def check_pool(
    config: Config, target: Target, server: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    """Yield a warning when the pools together may ask `server` for more than it gives."""
    levels = len({target.roles.read, target.roles.write, target.roles.admin})
    workers = config.workers.count
    asked = workers * max(1, levels) * config.pool.size_of(workers)
    given = server["max_connections"] - server["reserved"]
    if 0 <= server["role_limit"] < given:
        given = server["role_limit"]
    if asked > given:
        text = (
            f"up to {asked} connections ({workers} workers x {levels} levels x "
            f"{config.pool.size_of(workers)}), the server gives {given}; set pool.total"
        )
        yield f"target {target.name}", text


def check_room(free_bytes: int) -> Iterator[tuple[str, str]]:
    """Yield a warning when the disk holds few statements of audit."""
    if free_bytes < 20 * SEGMENT_BYTES_MAX:
        statements = free_bytes // _STATEMENT_BYTES
        text = f"{free_bytes >> 20} MiB free hold about {statements // 1000} thousand statements"
        yield "disk", text


def memory_limit(place: Path = _CGROUP_MEMORY) -> int | None:
    """Return the cgroup's memory limit, None without one."""
    try:
        text = place.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
