"""Ask a server to cancel what one of its connections runs.

The request goes over a connection of its own. It is in effect only once the server has
closed that connection, so the caller keeps the server connection reserved until then:
otherwise the next client's statement would die of it (PgBouncer #717).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.errors import ConfigError, UpstreamError
from gateway.protocol.messages import build_cancel
from gateway.upstream.dial import connect, describe

if TYPE_CHECKING:
    from gateway.config import Target


async def send_cancel(target: Target, pid: int, secret: bytes, *, timeout_s: float) -> None:
    """Cancel at the server and return once it has closed the cancel connection.

    Raises UpstreamError when that does not happen in time; the caller must then close the
    server connection, for the cancel may still arrive. The key travels inside TLS where the
    target uses TLS.
    """
    try:
        async with asyncio.timeout(timeout_s):
            link, transport = await connect(target)
            try:
                transport.write(build_cancel(pid, secret))
                await link.read_end()
            finally:
                transport.abort()
    except (TimeoutError, OSError, UpstreamError, ConfigError) as error:
        raise describe(error, target, b"", timeout_s) from error
