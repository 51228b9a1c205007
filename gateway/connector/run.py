"""Run a connector: check its login roles, keep spares, serve every gateway, end on SIGTERM."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from gateway.connector.keys import JoinToken, parse_join_token
from gateway.connector.spares import Spares
from gateway.connector.trail import ConnectorTrail
from gateway.connector.uplink import Uplink
from gateway.connector.veto import Veto, find_power
from gateway.errors import ConfigError
from gateway.logs import get_logger
from gateway.upstream.logins import resolve_login
from gateway.upstream.secrecy import forbid_core_dumps

if TYPE_CHECKING:
    from gateway.connector.settings import ConnectorSettings

CHECK_S = 30.0
CHECK_FAILED_S = 2.0
_TOKEN_BYTES_MAX = 4_096

log = get_logger("connector")


def run_connector(settings: ConnectorSettings) -> None:
    """Serve until SIGTERM; raises ConfigError when a gateway was never joined."""
    forbid_core_dumps()
    try:
        uvloop.run(_run(settings))
    except* ConfigError as group:
        raise ConfigError("", str(group.exceptions[0])) from None


async def _run(settings: ConnectorSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    trail = ConnectorTrail(settings.state_dir / "audit.log")
    spares = {one.name: Spares(one.target(), one.spare) for one in settings.targets.values()}
    unfit = dict.fromkeys(settings.targets, "not checked yet")
    uplinks = [
        Uplink(
            address,
            settings,
            directory=settings.state_dir / re.sub(r"[^A-Za-z0-9.-]", "_", address),
            spares=spares,
            unfit=unfit,
            veto=Veto(settings),
            trail=trail,
            join_token=lambda: read_join_token(settings),
        )
        for address in settings.gateways
    ]
    await _check_once(settings, unfit)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_check(settings, unfit), name="checks")]
        tasks += [group.create_task(one.run(), name="spares") for one in spares.values()]
        tasks += [group.create_task(one.run(), name="uplink") for one in uplinks]
        await stop.wait()
        for task in tasks:
            task.cancel()
    for one in spares.values():
        one.close()


async def _check(settings: ConnectorSettings, unfit: dict[str, str]) -> None:
    """Look again and again whether the login roles have a right they must not have."""
    while True:
        await asyncio.sleep(CHECK_FAILED_S if unfit else CHECK_S)
        await _check_once(settings, unfit)


async def _check_once(settings: ConnectorSettings, unfit: dict[str, str]) -> None:
    for served in settings.targets.values():
        try:
            target, secret = await asyncio.to_thread(resolve_login, served.target(), os.environ)
            problem = await find_power(served, target, secret)
        except ConfigError as error:
            problem = str(error)
        if problem and problem != unfit.get(served.name):
            log.error("target %s is not served: %s", served.name, problem)
        if problem:
            unfit[served.name] = problem
        elif unfit.pop(served.name, ""):
            log.info("target %s is served", served.name)


def read_join_token(settings: ConnectorSettings) -> JoinToken | None:
    """Return the join token that was given; raises ConfigError for one that is none."""
    text = os.environ.get("POSTERN_JOIN_TOKEN", "")
    file: Path | None = settings.join_token_file
    if not text and file is not None:
        with suppress(FileNotFoundError):
            try:
                text = file.read_bytes()[:_TOKEN_BYTES_MAX].decode("ascii", "replace")
            except OSError as error:
                if isinstance(error, FileNotFoundError):
                    raise
                raise ConfigError("join_token_file", f"{file}: {error.strerror}") from error
    return parse_join_token(text) if text.strip() else None
