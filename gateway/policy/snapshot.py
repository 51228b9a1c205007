"""Keep what a server answered when its catalog was read, so that policies can be tested offline.

The file holds the answers and not our own structures: it is built by the same code as a live
catalog, and a gateway that asks other questions says so instead of guessing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol, cast

import orjson

from gateway.errors import ConfigError
from gateway.sql.catalog import Catalog
from gateway.sql.catalog_load import load_catalog

FORMAT: Final = "postern-catalog-v1"
FILE_BYTES_MAX: Final = 1 << 30


class Connection(Protocol):
    """The part of an asyncpg connection that a catalog load uses."""

    def transaction(self, **options: Any) -> AbstractAsyncContextManager[Any]:
        """Return a transaction block."""

    async def execute(self, query: str, *args: object) -> object:
        """Run a statement without a result."""

    async def fetchrow(self, query: str, *args: object) -> Sequence[Any]:
        """Return the first row."""
        ...

    async def fetch(self, query: str, *args: object) -> Sequence[Sequence[Any]]:
        """Run a query and return its rows."""


class _Recorder:
    """Passes everything through and keeps the answers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.answers: dict[str, list[list[Any]]] = {}

    def transaction(self, **options: Any) -> AbstractAsyncContextManager[Any]:
        return self._connection.transaction(**options)

    async def execute(self, query: str, *args: object) -> object:
        return await self._connection.execute(query, *args)

    async def fetchrow(self, query: str, *args: object) -> Sequence[Any]:
        return (await self.fetch(query, *args))[0]

    async def fetch(self, query: str, *args: object) -> Sequence[Sequence[Any]]:
        rows = await self._connection.fetch(query, *args)
        self.answers[_question(query, args)] = [list(row) for row in rows]
        return rows


class _Replayer:
    """Gives the kept answers."""

    def __init__(self, answers: dict[str, list[list[Any]]], where: str) -> None:
        self._answers = answers
        self._where = where

    @asynccontextmanager
    async def transaction(self, **_options: Any) -> AsyncIterator[None]:
        yield

    async def execute(self, _query: str, *_args: object) -> object:
        return None

    async def fetchrow(self, query: str, *args: object) -> Sequence[Any]:
        return (await self.fetch(query, *args))[0]

    async def fetch(self, query: str, *args: object) -> Sequence[Sequence[Any]]:
        try:
            return self._answers[_question(query, args)]
        except KeyError:
            message = "made by another version of Postern; take the snapshot again"
            raise ConfigError(self._where, message) from None


async def take_snapshot(connection: Connection) -> bytes:
    """Return the snapshot of the connected database; raises what asyncpg raises."""
    recorder = _Recorder(connection)
    await load_catalog(cast("Any", recorder))
    return orjson.dumps({"format": FORMAT, "answers": recorder.answers})


def read_snapshot(path: Path) -> Catalog:
    """Return the catalog kept in `path`; raises ConfigError when it is none.

    Must not be called from a running event loop.
    """
    where = str(path)
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(where, "too large for a catalog snapshot")
        kept = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(where, error.strerror or "cannot be read") from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(where, f"not a catalog snapshot: {error}") from error
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        raise ConfigError(where, "not a catalog snapshot")
    return asyncio.run(load_catalog(cast("Any", _Replayer(kept["answers"], where))))


def _question(query: str, args: Sequence[object]) -> str:
    # Spacing may change without changing the question.
    text = " ".join(query.split()) + "\0" + repr(args)
    return hashlib.sha256(text.encode()).hexdigest()
