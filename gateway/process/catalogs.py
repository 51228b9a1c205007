"""Keep the catalog of each target current.

A catalog is loaded when first needed, looked at again when the CATALOG generation moved, when
a statement named something unknown, and every half minute; a cheap probe decides whether it
is read again. A catalog of another version bumps the generation, so that every worker drops
the decisions it made from the old one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from gateway.config import Target
from gateway.errors import ConfigError, GatewayError, NotReady, UpstreamError
from gateway.ipc.epochs import CATALOG, Epochs
from gateway.limits import DIAL_TIMEOUT_S
from gateway.logs import get_logger
from gateway.sql.catalog import Catalog
from gateway.sql.catalog_load import load_catalog
from gateway.upstream.logins import resolve_login
from gateway.upstream.selfcheck import check_target
from gateway.upstream.tls import build_target_context

REFRESH_S = 5.0  # how long a schema changed behind our back can go unnoticed
MISS_PAUSE_S = 2.0  # a client that names nothing but unknowns cannot make us probe without end
RETRY_PAUSE_S = 1.0
_DROPPED_MEANWHILE_MAX = 3
LOAD_TIMEOUT_S = 20.0

# Every table whose rows a catalog is made of. A row that was changed has another xmin.
_PROBE = " union all ".join(
    f"select '{table}', count(*), coalesce(sum(xmin::pg_catalog.text::pg_catalog.int8), 0) "  # noqa: S608
    f"from pg_catalog.{table}"
    for table in (
        "pg_class", "pg_attribute", "pg_attrdef", "pg_namespace", "pg_inherits", "pg_rewrite",
        "pg_proc", "pg_type", "pg_operator", "pg_cast", "pg_aggregate", "pg_extension",
        "pg_db_role_setting", "pg_auth_members", "pg_policy",
    )
)  # fmt: skip

log = get_logger("catalog")


@dataclass(slots=True)
class _Entry:
    target: Target
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: asyncpg.Connection | None = None
    catalog: Catalog | None = None
    probe: tuple[Any, ...] = ()
    seen_generation: int = -1
    looked_at: float = float("-inf")
    failed_at: float = float("-inf")
    is_checked: bool = False
    problem: str = ""


class CatalogKeeper:
    """The catalogs of all targets, with the gateway's own login."""

    def __init__(self, targets: Mapping[str, Target], epochs: Epochs) -> None:
        self._entries = {name: _Entry(target) for name, target in targets.items()}
        self._epochs = epochs
        self.changes = 0  # grows with every new catalog

    @property
    def catalogs(self) -> dict[str, Catalog]:
        """The catalogs at hand."""
        return {
            name: entry.catalog
            for name, entry in self._entries.items()
            if entry.catalog is not None
        }

    def status(self) -> dict[str, str]:
        """Return per target what keeps it from being served, "" for nothing."""
        return {
            name: entry.problem or ("" if entry.catalog else "its catalog is not loaded yet")
            for name, entry in self._entries.items()
        }

    async def ensure(self, name: str) -> None:
        """See that the catalog of `name` is at hand and of the current generation.

        Raises NotReady (PN107) when there is none and none can be loaded. An older one stays in
        use when the server cannot be asked: no statement could reach it either.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise NotReady("the target is not served", reason=f"unknown target {name!r}")
        if entry.catalog is None or entry.seen_generation != self._epochs.get(CATALOG):
            await self._look(entry, pause_s=0.0)
        if entry.catalog is None:
            raise NotReady("the database is not available", reason=f"no catalog of {name!r}")

    async def on_miss(self, name: str) -> bool:
        """Look again after a statement named something unknown. True when that changed it."""
        entry = self._entries.get(name)
        if entry is None:
            return False
        before = self.changes
        await self._look(entry, pause_s=MISS_PAUSE_S)
        return self.changes != before

    async def run(self, stop: asyncio.Event) -> None:
        """Look at every catalog in turn until `stop`."""
        while not stop.is_set():
            for entry in self._entries.values():
                await self._look(entry, pause_s=REFRESH_S / 2)
            with suppress(TimeoutError):
                every_s = REFRESH_S if len(self.catalogs) == len(self._entries) else RETRY_PAUSE_S
                await asyncio.wait_for(stop.wait(), every_s)

    async def close(self) -> None:
        """Drop the connections."""
        for entry in self._entries.values():
            self._drop(entry)

    async def _look(self, entry: _Entry, *, pause_s: float) -> None:
        asked_at = time.monotonic()
        async with entry.lock:
            now = time.monotonic()
            generation = self._epochs.get(CATALOG)
            is_current = entry.catalog is not None and entry.seen_generation == generation
            # Only a look that began after this was asked for has seen what it is asked about.
            if is_current and (entry.looked_at >= asked_at or now - entry.looked_at < pause_s):
                return
            if pause_s > 0 and now - entry.failed_at < RETRY_PAUSE_S:
                return
            try:
                async with asyncio.timeout(LOAD_TIMEOUT_S):
                    entry.seen_generation = await self._refresh(entry, generation)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError,
                    GatewayError) as error:  # fmt: skip
                self._drop(entry)
                entry.failed_at, entry.problem = time.monotonic(), _reason(error)
                log.warning("catalog of target %s: %s", entry.target.name, _reason(error))
                return
            entry.looked_at, entry.problem = now, ""

    async def _refresh(self, entry: _Entry, generation: int) -> int:
        """Bring `entry` up to date; return the generation it is then of."""
        if entry.connection is None or entry.connection.is_closed():
            entry.connection = await self._connect(entry)
        probe = tuple(map(tuple, await entry.connection.fetch(_PROBE)))
        if entry.catalog is not None and probe == entry.probe:
            return generation
        catalog = await _load(entry.connection)
        previous, entry.catalog, entry.probe = entry.catalog, catalog, probe
        if previous is None or previous.version != catalog.version:
            self.changes += 1
        if previous is not None and previous.version != catalog.version:
            log.info("catalog of target %s changed", entry.target.name)
            bumped = self._epochs.bump(CATALOG)
            # Somebody else's bump in between may stand for a change this load did not see.
            if bumped == generation + 1:
                return bumped
        return generation

    async def _connect(self, entry: _Entry) -> asyncpg.Connection:
        target = entry.target
        target, secret = await asyncio.to_thread(resolve_login, target, os.environ)
        if not entry.is_checked:
            if problems := await check_target(target, secret):
                raise UpstreamError("; ".join(problems))
            entry.is_checked = True
        return await connect_for_catalog(target, secret)

    @staticmethod
    def _drop(entry: _Entry) -> None:
        if entry.connection is not None:
            entry.connection.terminate()
            entry.connection = None


async def connect_for_catalog(target: Target, secret: bytes) -> asyncpg.Connection:
    """Log in as the gateway does, to read the catalog only."""
    context = build_target_context(target)
    return await asyncpg.connect(
        host=target.host,
        port=target.port,
        user=target.user,
        database=target.database,
        # Never None: asyncpg would look for a password file of whoever runs us.
        password=secret.decode(errors="surrogateescape"),
        ssl=context or False,
        timeout=DIAL_TIMEOUT_S,
        command_timeout=LOAD_TIMEOUT_S,
        server_settings={
            "application_name": "postern catalog",
            "default_transaction_read_only": "on",
        },
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, UpstreamError | ConfigError):
        return str(error)
    if isinstance(error, asyncpg.PostgresError):
        return f"the server answered {error.sqlstate}"
    return type(error).__name__


async def _load(connection: asyncpg.Connection) -> Catalog:
    """Load the catalog; a relation dropped while its definition is printed is met again."""
    for _ in range(_DROPPED_MEANWHILE_MAX):
        try:
            return await load_catalog(connection)
        except asyncpg.InternalServerError as error:
            log.info("catalog: read again: %s", error)
    return await load_catalog(connection)
