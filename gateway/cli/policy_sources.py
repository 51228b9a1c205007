"""Where `postern policy` gets its files and catalogs from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import click

from gateway.cli.output import find_config, read_config
from gateway.config import Config, Target
from gateway.errors import ConfigError, UpstreamError
from gateway.limits import DIAL_TIMEOUT_S
from gateway.policy.bundle import Bundle
from gateway.policy.engine import Engine
from gateway.policy.load import load_bundle
from gateway.policy.snapshot import read_snapshot, take_snapshot
from gateway.sql.catalog import Catalog
from gateway.sql.catalog_load import load_catalog
from gateway.upstream.logins import resolve_login
from gateway.upstream.tls import build_target_context

_Command = TypeVar("_Command", bound=Callable[..., Any])


def catalog_option(command: _Command) -> _Command:
    """Add `--catalog TARGET=FILE` as the parameter `catalogs`."""
    option = click.option(
        "--catalog",
        "catalogs",
        multiple=True,
        metavar="TARGET=FILE",
        help="Catalog snapshot to use instead of the target's database; repeatable.",
    )
    return option(command)


def parse_catalogs(values: tuple[str, ...]) -> dict[str, Path]:
    """Return target -> file; raises click.BadParameter."""
    found: dict[str, Path] = {}
    for value in values:
        target, equals, file = value.partition("=")
        if not (target and equals and file):
            message = f"{value!r} is not TARGET=FILE"
            raise click.BadParameter(message, param_hint="--catalog")
        found[target] = Path(file)
    return found


class Sources:
    """The configuration if there is one, snapshots, and what is loaded from both."""

    def __init__(self, config_path: Path | None, snapshots: dict[str, Path]) -> None:
        self._path = find_config(config_path)
        self._config: Config | None = read_config(config_path) if self._path else None
        self._snapshots = snapshots

    def load(self, directory: Path | None) -> Bundle:
        """Return the bundle of `directory`, by default the configuration's; raises PolicyError."""
        if directory is None:
            directory = self._require_config().policies
        if self._config is None:
            return load_bundle(directory, targets=None, issuers=None)
        issuers = [issuer.id for issuer in self._config.issuers]
        targets = {*self._config.targets, *self._snapshots}
        return load_bundle(directory, targets=targets, issuers=issuers)

    def engine(self, bundle: Bundle, *, live: bool, only: Collection[str] | None = None) -> Engine:
        """Return an engine with the snapshots, and the databases for what they leave out."""
        catalogs = {name: read_snapshot(path) for name, path in self._snapshots.items()}
        if live:
            names = only if only is not None else self._require_config().targets
            missing = [self.target(name) for name in names if name not in catalogs]
            catalogs |= asyncio.run(_load_catalogs(missing))
        return Engine(bundle, catalogs)

    def snapshot(self, target: str) -> bytes:
        """Return a snapshot of the target's database."""

        async def take() -> bytes:
            connection = await connect(self.target(target))
            try:
                return await take_snapshot(connection)
            finally:
                await connection.close()

        return asyncio.run(take())

    def target(self, name: str) -> Target:
        """Return a configured target; raises ConfigError."""
        targets = self._require_config().targets
        if name not in targets:
            raise ConfigError(f"targets.{name}", "is not in the configuration")
        return targets[name]

    def _require_config(self) -> Config:
        if self._config is None:
            raise ConfigError("postern.toml", "not found; name it with -c or give --catalog")
        return self._config


async def _load_catalogs(targets: Iterable[Target]) -> dict[str, Catalog]:
    found: dict[str, Catalog] = {}
    for target in targets:
        connection = await connect(target)
        try:
            found[target.name] = await load_catalog(connection)
        finally:
            await connection.close()
    return found


async def connect(target: Target) -> asyncpg.Connection[Any]:
    """Return a read-only connection as the target's login role; raises UpstreamError."""
    target, secret = resolve_login(target, os.environ)
    context = build_target_context(target)
    try:
        return await asyncpg.connect(
            host=target.host,
            port=target.port,
            user=target.user,
            database=target.database,
            # Never None: asyncpg would look for a password file of whoever runs us.
            password=secret.decode(errors="surrogateescape"),
            ssl=context or False,
            timeout=DIAL_TIMEOUT_S,
            server_settings={"default_transaction_read_only": "on"},
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        where = f"{target.host}:{target.port}"
        raise UpstreamError(f"target {target.name} at {where}: {error}") from error
