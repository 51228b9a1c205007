"""A relay that understands nothing: what any proxy on uvloop has to pay.

`python -m bench.macro.relay LISTEN_PORT SERVER_PORT`
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop


class Leg(asyncio.Protocol):
    """One of the two connections of a relayed session."""

    def __init__(self, server_port: int | None) -> None:
        self._server_port = server_port
        self.peer: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None
        # uvloop begins to read after connection_made, whatever was paused in it.
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own transports are no subclass of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        if self._server_port is not None:
            self._dialing = asyncio.get_running_loop().create_task(self._dial(self._server_port))

    async def _dial(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        transport, other = await loop.create_connection(lambda: Leg(None), "127.0.0.1", port)
        assert self.transport is not None
        other.peer, self.peer = self.transport, transport
        if self.transport.is_closing():
            transport.close()
        transport.write(self._early)

    def data_received(self, data: bytes) -> None:
        if self.peer is None:
            self._early += data
        else:
            self.peer.write(data)

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer is not None:
            self.peer.close()


async def serve(listen_port: int, server_port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Leg(server_port), "127.0.0.1", listen_port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
