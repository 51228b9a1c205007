"""Requests between the processes of one gateway: JSON frames over a Unix stream socket.

A frame is a header (payload size, request id, status) and an orjson payload. Requests of one
connection are answered in any order. Both ends bound what they hold: the client its pending
requests, the server its requests in flight per peer and the size of a frame.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import orjson

from gateway.errors import GatewayError
from gateway.limits import IPC_FRAME_BYTES_MAX, IPC_PENDING_MAX
from gateway.logs import get_logger

Message = dict[str, Any]
Handler = Callable[[Message], Awaitable[Mapping[str, Any]]]

IN_FLIGHT_PER_PEER_MAX = 4096
DIAL_RETRY_S = 0.02

_HEADER = struct.Struct(">IIB")
_STATUS_OK, _STATUS_FAILED, _STATUS_BUSY = 0, 1, 2

log = get_logger("ipc")


class ChannelError(GatewayError):
    """The peer answered that it could not serve the request."""


class ChannelBusy(ChannelError):
    """Too many requests are pending, here or at the peer; nothing was done."""


class ChannelTimeout(ChannelError):
    """No answer in time. The peer may or may not have acted."""


class ChannelLost(ChannelError):
    """The connection broke after the request was sent. The peer may or may not have acted."""


@contextmanager
def unix_address(path: Path) -> Iterator[str]:
    """Yield an address for `path` that fits sun_path (108 bytes) however long `path` is."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def bind_unix(path: Path, *, mode: int = 0o600) -> socket.socket:
    """Return a bound, non-blocking stream socket at `path`, replacing a stale one."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        with unix_address(path) as address:
            sock.bind(address)
        path.chmod(mode)
    except OSError:
        sock.close()
        raise
    return sock


class _Frames(asyncio.Protocol):
    """Splits a byte stream into frames; what violates the framing drops the connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        start = 0
        while len(received) - start >= _HEADER.size:
            size, request_id, status = _HEADER.unpack_from(received, start)
            if size > IPC_FRAME_BYTES_MAX:
                log.error("channel frame of %d bytes refused", size)
                self._drop()
                return
            if len(received) - start - _HEADER.size < size:
                break
            end = start + _HEADER.size + size
            try:
                message = orjson.loads(received[start + _HEADER.size : end])
            except orjson.JSONDecodeError:
                message = None
            if not isinstance(message, dict):
                log.error("channel frame is not a JSON object")
                self._drop()
                return
            start = end
            self.message_received(request_id, status, message)
        del received[:start]

    def message_received(self, request_id: int, status: int, message: Message) -> None:
        raise NotImplementedError

    def send(self, request_id: int, status: int, payload: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(_HEADER.pack(len(payload), request_id, status) + payload)

    def _drop(self) -> None:
        self._received.clear()
        if self.transport is not None:
            self.transport.abort()


class _ClientProtocol(_Frames):
    def __init__(self) -> None:
        super().__init__()
        self.pending: dict[int, asyncio.Future[Message]] = {}
        self._last_id = 0

    def submit(self, payload: bytes) -> tuple[int, asyncio.Future[Message]]:
        self._last_id = request_id = (self._last_id + 1) & 0xFFFFFFFF
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.pending[request_id] = future
        self.send(request_id, _STATUS_OK, payload)
        return request_id, future

    def message_received(self, request_id: int, status: int, message: Message) -> None:
        future = self.pending.pop(request_id, None)
        if future is None or future.done():
            return  # answered after its time-out or cancellation
        if status == _STATUS_OK:
            future.set_result(message)
        elif status == _STATUS_BUSY:
            future.set_exception(ChannelBusy("the peer has too many requests in flight"))
        else:
            future.set_exception(ChannelError(str(message.get("error", "the peer failed"))))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        pending, self.pending = self.pending, {}
        for future in pending.values():
            if not future.done():
                future.set_exception(ChannelLost("the peer went away"))

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()


class Channel:
    """The asking end. Dials when first used and again after a loss.

    A request that was not yet sent waits for the peer to come (back) until its time-out; one
    that was sent when the connection broke raises `ChannelLost`, and the caller decides.
    """

    def __init__(self, path: Path, *, pending_max: int = IPC_PENDING_MAX) -> None:
        self.path = path
        self._pending_max = pending_max
        self._waiting = 0
        self._protocol: _ClientProtocol | None = None
        self._dialing: asyncio.Lock | None = None
        self._closed = False

    @classmethod
    async def connect(
        cls, path: Path, *, pending_max: int = IPC_PENDING_MAX, timeout_s: float = 5.0
    ) -> Channel:
        """Dial now; raises `ChannelTimeout` when nobody listens within `timeout_s`."""
        channel = cls(path, pending_max=pending_max)
        try:
            async with asyncio.timeout(timeout_s):
                await channel._open()
        except TimeoutError:
            raise ChannelTimeout(f"nobody answers at {path.name}") from None
        return channel

    async def request(self, message: Mapping[str, Any], timeout_s: float) -> Message:
        """Send `message` and return the peer's answer."""
        if self._waiting >= self._pending_max:
            raise ChannelBusy(f"{self._waiting} requests to {self.path.name} are pending")
        payload = orjson.dumps(message)
        if len(payload) > IPC_FRAME_BYTES_MAX:
            raise ChannelError(f"request of {len(payload)} bytes is over the frame limit")
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                protocol = await self._open()
                request_id, future = protocol.submit(payload)
                try:
                    return await future
                finally:
                    protocol.pending.pop(request_id, None)
        except TimeoutError:
            raise ChannelTimeout(f"no answer from {self.path.name} in {timeout_s:g} s") from None
        finally:
            self._waiting -= 1

    @property
    def is_connected(self) -> bool:
        """Whether a connection stands right now."""
        return self._protocol is not None and self._protocol.is_open

    def close(self) -> None:
        """Drop the connection; pending requests raise `ChannelLost`. Safe to call twice."""
        self._closed = True
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.abort()

    async def _open(self) -> _ClientProtocol:
        if self._protocol is not None and self._protocol.is_open:
            return self._protocol
        if self._dialing is None:
            self._dialing = asyncio.Lock()
        async with self._dialing:
            while not (self._protocol is not None and self._protocol.is_open):
                if self._closed:
                    raise ChannelLost(f"the channel to {self.path.name} is closed")
                try:
                    self._protocol = await self._dial()
                except OSError:
                    await asyncio.sleep(DIAL_RETRY_S)
            return self._protocol

    async def _dial(self) -> _ClientProtocol:
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            with unix_address(self.path) as address:
                await loop.sock_connect(sock, address)
            _, protocol = await loop.create_unix_connection(_ClientProtocol, sock=sock)
        except BaseException:
            sock.close()
            raise
        return protocol


class _ServerProtocol(_Frames):
    def __init__(self, server: ChannelServer) -> None:
        super().__init__()
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.peers.add(self)

    def message_received(self, request_id: int, status: int, message: Message) -> None:
        if len(self._tasks) >= self._server.in_flight_max:
            self.send(request_id, _STATUS_BUSY, b"{}")
            return
        task = asyncio.get_running_loop().create_task(
            self._answer(request_id, message), name=f"channel-{message.get('op')}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request_id: int, message: Message) -> None:
        try:
            answer = orjson.dumps(await self._server.handler(message))
            status = _STATUS_OK
        except GatewayError as error:
            answer, status = orjson.dumps({"error": str(error)}), _STATUS_FAILED
        except Exception:
            # One failing request must not end the peer's other requests; it fails closed
            # at the asking end, and the trace is here.
            log.exception("channel request %r failed", message.get("op"))
            answer, status = orjson.dumps({"error": "internal error"}), _STATUS_FAILED
        self.send(request_id, status, answer)

    def pause_writing(self) -> None:
        # A peer that sends without reading would otherwise pile its answers up here.
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.transport is not None:
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._server.peers.discard(self)
        for task in self._tasks:
            task.cancel()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class ChannelServer:
    """The answering end at `path`. Use `serve_channel`."""

    def __init__(self, path: Path, handler: Handler, *, in_flight_max: int) -> None:
        self.path = path
        self.handler = handler
        self.in_flight_max = in_flight_max
        self.peers: set[_ServerProtocol] = set()
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Bind and accept."""
        loop = asyncio.get_running_loop()
        sock = bind_unix(self.path)
        self._server = await loop.create_unix_server(lambda: _ServerProtocol(self), sock=sock)

    async def stop(self) -> None:
        """Close the socket and every connection; running handlers are cancelled. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for peer in tuple(self.peers):
            peer.abort()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


async def serve_channel(
    path: Path, handler: Handler, *, in_flight_max: int = IN_FLIGHT_PER_PEER_MAX
) -> ChannelServer:
    """Answer requests at `path` with `handler`; a stale socket file is replaced."""
    server = ChannelServer(path, handler, in_flight_max=in_flight_max)
    await server.start()
    return server
