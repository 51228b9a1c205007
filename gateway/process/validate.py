"""Hold a bundle against the catalogs of its targets before it is put in force."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from gateway.config import Target
from gateway.errors import ConfigError
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Engine
from gateway.policy.explain import run_tests
from gateway.policy.kept import Kept, read_kept
from gateway.process.apart import call_apart
from gateway.process.catalogs import LOAD_TIMEOUT_S, connect_for_catalog
from gateway.sql.catalog import Catalog
from gateway.sql.catalog_load import load_catalog
from gateway.upstream.logins import resolve_login


def find_problems(
    bundle: Bundle, targets: Mapping[str, Target], kept: Mapping[str, Kept] | None = None
) -> list[str]:
    """Return what does not fit and which tests fail, one line each.

    A target that cannot be asked is left out, its tests too. `kept` is what masks were bound to.
    """
    return asyncio.run(_find_problems(bundle, targets, kept or {}))


def find_problems_apart(bundle: Bundle, targets: Mapping[str, Target], bindings: Path) -> list[str]:
    """As `find_problems`, for the supervisor; `bindings` is the file the analyzers keep."""
    found: list[str] = call_apart(lambda: find_problems(bundle, targets, read_kept(bindings)))
    return found


async def _find_problems(
    bundle: Bundle, targets: Mapping[str, Target], kept: Mapping[str, Kept]
) -> list[str]:
    catalogs: dict[str, Catalog] = {}
    for target in targets.values():
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                catalogs[target.name] = await _load(target)
        except (OSError, TimeoutError, ConfigError, asyncpg.PostgresError,
                asyncpg.InterfaceError):  # fmt: skip
            continue
    engine = Engine(bundle, catalogs, kept=kept)
    failed = [
        f"{result.where}: test fails: {result.problem}"
        for result in run_tests(engine, only=catalogs)
        if result.problem
    ]
    return [*map(str, engine.problems), *failed]


async def _load(target: Target) -> Catalog:
    target, secret = await asyncio.to_thread(resolve_login, target, os.environ)
    connection = await connect_for_catalog(target, secret)
    try:
        return await load_catalog(connection)
    finally:
        connection.terminate()
