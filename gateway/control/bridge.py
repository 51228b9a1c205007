"""A socket per target behind a connector that looks like its server, for this host's processes.

Who loads a catalog or checks a role needs no connector of its own then: it connects where the
target's `host` says. The socket is the gateway user's only, and behind it stands the same stream
that a worker gets. Of what a client sets at start-up only whether it reads has an effect.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gateway.errors import ProtocolViolation, UpstreamError, clean_text
from gateway.ipc.channel import bind_unix
from gateway.ipc.connector_wire import splice
from gateway.limits import STARTUP_TIMEOUT_S
from gateway.logs import get_logger
from gateway.protocol.messages import (
    StartupKind,
    build_auth_ok,
    build_backend_key_data,
    build_message,
    build_parameter_status,
    build_ready,
    parse_startup,
    startup_packet_size,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.config import Target
    from gateway.protocol.messages import StartupRequest
    from gateway.upstream.dial import DialedConnection
    from gateway.upstream.opener import Opener

    Cancel = Callable[[str, int, bytes], Awaitable[None]]

_CLIENTS_MAX = 64

log = get_logger("bridge")


class Bridge:
    """The socket of one target."""

    def __init__(self, target: Target, open_stream: Opener, cancel: Cancel) -> None:
        self._target = target
        self._open = open_stream
        self._cancel = cancel
        self._path = Path(target.host) / f".s.PGSQL.{target.port}"
        self._server: asyncio.AbstractServer | None = None
        self._clients = 0

    async def start(self) -> None:
        """Listen."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, sock=bind_unix(self._path))

    def stop(self) -> None:
        """Take no new client. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients > _CLIENTS_MAX:
                return
            await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ProtocolViolation) as error:
            log.warning("target %s: %r", self._target.name, error)
        except asyncio.CancelledError:
            pass  # the process ends, and asyncio's streams would report it as a failure
        finally:
            self._clients -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(STARTUP_TIMEOUT_S):
            request = await _read_startup(reader, writer)
        if request.kind is StartupKind.CANCEL:
            # The connection closes once the server has acted, as the server's own would.
            with suppress(UpstreamError):
                await self._cancel(self._target.name, request.cancel_pid, request.cancel_secret)
            return
        # Our own dialler says by this setting that it only reads; nothing else is looked at.
        is_reading = request.params.get("default_transaction_read_only") == "on"
        try:
            dialed = await self._open(self._target, "read" if is_reading else "write")
        except UpstreamError as error:
            writer.write(_refusal(str(error)))
            with suppress(OSError):
                await writer.drain()
            return
        transport = cast("asyncio.Transport", writer.transport)
        transport.pause_reading()
        writer.write(_hello(dialed))
        first, _ = splice(transport, dialed.transport)
        await first.ended


async def _read_startup(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> StartupRequest:
    while True:
        head = await reader.readexactly(4)
        size = startup_packet_size(head) or 0
        request = parse_startup(head + await reader.readexactly(size - 4))
        if request.kind not in {StartupKind.SSL, StartupKind.GSSENC}:
            return request
        writer.write(b"N")


def _hello(dialed: DialedConnection) -> bytes:
    settings = [build_parameter_status(*pair) for pair in dialed.parameters.items()]
    key = build_backend_key_data(dialed.backend_pid, dialed.cancel_secret)
    return b"".join((build_auth_ok(), *settings, key, build_ready(b"I")))


def _refusal(text: str) -> bytes:
    fields = {"S": "FATAL", "V": "FATAL", "C": "57P03", "M": clean_text(text)}
    body = b"".join(code.encode() + value.encode() + b"\0" for code, value in fields.items())
    return build_message(b"E", body + b"\0")
