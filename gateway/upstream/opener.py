"""How a pool gets a server connection of a target without a connector: log in ourselves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from gateway.config import Target
from gateway.limits import DIAL_TIMEOUT_S
from gateway.policy.profile import Level
from gateway.upstream.dial import DialedConnection, dial
from gateway.upstream.logins import resolve_login
from gateway.upstream.startup import build_server_startup

# Raises UpstreamError or ConfigError.
Opener = Callable[[Target, Level], Awaitable[DialedConnection]]


async def open_direct(target: Target, level: Level) -> DialedConnection:
    """Log in at `target` and return the connection, paused."""
    # Files, commands and Vault block, and what they hold may have been rotated.
    login, secret = await asyncio.to_thread(resolve_login, target, os.environ)
    startup = build_server_startup(login, level)
    return await dial(login, secret, startup, timeout_s=DIAL_TIMEOUT_S)
