"""Hold a bundle against the catalogs of its targets before it is put in force."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import asyncpg

from gateway.config import Target
from gateway.errors import ConfigError
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Engine
from gateway.process.apart import call_apart
from gateway.process.catalogs import LOAD_TIMEOUT_S, connect_for_catalog
from gateway.sql.catalog import Catalog
from gateway.sql.catalog_load import load_catalog
from gateway.upstream.secrets import resolve_secret


def find_problems(bundle: Bundle, targets: Mapping[str, Target]) -> list[str]:
    """Return what does not fit, one line each. A target that cannot be asked is left out."""
    return asyncio.run(_find_problems(bundle, targets))


def find_problems_apart(bundle: Bundle, targets: Mapping[str, Target]) -> list[str]:
    """As `find_problems`, for the supervisor."""
    found: list[str] = call_apart(lambda: find_problems(bundle, targets))
    return found


async def _find_problems(bundle: Bundle, targets: Mapping[str, Target]) -> list[str]:
    catalogs: dict[str, Catalog] = {}
    for target in targets.values():
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                catalogs[target.name] = await _load(target)
        except (OSError, TimeoutError, ConfigError, asyncpg.PostgresError,
                asyncpg.InterfaceError):  # fmt: skip
            continue
    return [str(problem) for problem in Engine(bundle, catalogs).problems]


async def _load(target: Target) -> Catalog:
    secret = await asyncio.to_thread(resolve_secret, target.credential, os.environ)
    connection = await connect_for_catalog(target, secret)
    try:
        return await load_catalog(connection)
    finally:
        connection.terminate()
