"""Start TLS with a client, also when its first bytes are a ClientHello (direct TLS)."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, cast

from gateway.errors import ProtocolViolation

if TYPE_CHECKING:
    from gateway.session.worker import Worker

ALPN = "postgresql"
CLIENT_HELLO = 0x16  # first byte of a TLS handshake record; no startup packet begins with it


async def start_tls(
    worker: Worker,
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    hello: bytes = b"",
) -> asyncio.Transport | None:
    """Return the transport inside TLS, None when the client left meanwhile.

    `hello` is what was read of a client that began with TLS at once; such a client must have
    agreed to ALPN, so that nothing that speaks another protocol is led here (PostgreSQL 17,
    chapter "SSL Session Encryption"). `transport` is paused. Raises OSError when the handshake
    fails, ProtocolViolation when direct TLS came without ALPN.
    """
    loop = asyncio.get_running_loop()
    handshake = worker.spawn(
        loop.start_tls(transport, protocol, context, server_side=True), "start-tls"
    )
    if hello:
        # `start_tls` must have put its own protocol in place and asked for `connection_made`.
        await asyncio.sleep(0)
        loop.call_soon(_feed, transport.get_protocol(), hello)
    secured = await handshake
    if secured is None or not hello:
        return secured
    if secured.get_extra_info("ssl_object").selected_alpn_protocol() != ALPN:
        secured.abort()
        raise ProtocolViolation("direct TLS without ALPN", reason="alpn")
    return secured


def _feed(protocol: object, data: bytes) -> None:
    """Hand `data` to the protocol of TLS as if it had just been read."""
    receiver = cast("asyncio.BufferedProtocol", protocol)
    left = memoryview(data)
    while left:
        space = memoryview(receiver.get_buffer(len(left)))
        size = min(len(space), len(left))
        space[:size] = left[:size]
        receiver.buffer_updated(size)
        left = left[size:]
