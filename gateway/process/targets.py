"""Look at every target before serving it: can it be used, and is its login role weak enough."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.config import Target
from gateway.errors import ConfigError, UpstreamError
from gateway.limits import DIAL_TIMEOUT_S
from gateway.process.apart import call_apart
from gateway.upstream.dial import dial
from gateway.upstream.logins import resolve_login
from gateway.upstream.selfcheck import check_target
from gateway.upstream.startup import build_server_startup

_CHECKS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class TargetReport:
    """What was found about one target."""

    name: str
    unusable: str  # why no login works right now; empty when one does
    problems: tuple[str, ...]  # what is wrong with the login role or the roles per level

    @property
    def is_good(self) -> bool:
        """Whether it can be served as it is."""
        return not self.unusable and not self.problems


async def inspect_targets(
    targets: Mapping[str, Target], environ: Mapping[str, str]
) -> list[TargetReport]:
    """Look at all targets at the same time, in the order of the configuration."""
    limit = asyncio.Semaphore(_CHECKS_AT_ONCE)

    async def inspect(target: Target) -> TargetReport:
        async with limit:
            return await _inspect(target, environ)

    return list(await asyncio.gather(*map(inspect, targets.values())))


def inspect_targets_apart(targets: Mapping[str, Target]) -> list[TargetReport]:
    """As `inspect_targets`, for the supervisor."""

    def inspect() -> list[list[object]]:
        reports = asyncio.run(inspect_targets(targets, os.environ))
        return [[report.name, report.unusable, report.problems] for report in reports]

    return [TargetReport(name, why, tuple(what)) for name, why, what in call_apart(inspect)]


async def _inspect(target: Target, environ: Mapping[str, str]) -> TargetReport:
    try:
        target, secret = await asyncio.to_thread(resolve_login, target, environ)
        startup = build_server_startup(target, "read")
        link = await dial(target, secret, startup, timeout_s=DIAL_TIMEOUT_S)
        link.transport.abort()
    except (UpstreamError, ConfigError) as error:
        return TargetReport(target.name, str(error), ())
    return TargetReport(target.name, "", tuple(await check_target(target, secret)))
