"""What gateway and connector say to each other: the first bytes, the frames, the splice.

The first eight bytes of every connection are in the clear and say only what it is for: control,
or data for one worker. So the gate can hand it to that worker before TLS begins there. Nothing
in them is secret and nothing is believed.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final, cast

import orjson

from gateway.errors import GatewayError
from gateway.limits import CONNECTOR_FRAME_BYTES_MAX, CONNECTOR_STREAM_LOST_S

GREETING_SIZE: Final = 8
OWN_SLOT: Final = 0xFFFF  # data for the control process itself
PROTOCOL_VERSION: Final = 1

_GREETING = struct.Struct("!4scHB")
_MAGIC = b"PNC1"
_LENGTH = struct.Struct("!I")
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 2))


class WireError(GatewayError):
    """The peer does not speak as a gateway or a connector does."""


def build_greeting(slot: int | None) -> bytes:
    """Return the first bytes of a control connection, or of data for worker `slot`."""
    return _GREETING.pack(_MAGIC, b"C" if slot is None else b"D", slot or 0, 0)


def parse_greeting(data: bytes) -> int | None:
    """Return the slot of a data connection, None for control; raises WireError."""
    if len(data) != GREETING_SIZE:
        raise WireError("the greeting is incomplete")
    magic, kind, slot, rest = _GREETING.unpack(data)
    if magic != _MAGIC or rest or kind not in {b"C", b"D"} or (kind == b"C" and slot):
        raise WireError("not the greeting of a connector")
    return None if kind == b"C" else slot


def tune(sock: socket.socket) -> None:
    """Send at once, and notice within seconds when the other end is gone."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    sock.setsockopt(
        socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(CONNECTOR_STREAM_LOST_S * 1000)
    )


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Return the next frame; raises WireError, also when the peer is gone."""
    try:
        (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if size > CONNECTOR_FRAME_BYTES_MAX:
            raise WireError(f"a frame of {size} bytes")
        frame = orjson.loads(await reader.readexactly(size))
    except orjson.JSONDecodeError as error:
        raise WireError("a frame that is not JSON") from error
    except (asyncio.IncompleteReadError, OSError) as error:
        raise WireError("the other end closed the connection") from error
    if not isinstance(frame, dict):
        raise WireError("a frame that is not an object")
    return frame


def write_frame(writer: asyncio.StreamWriter, frame: Mapping[str, Any]) -> None:
    """Send one frame; a closed connection swallows it."""
    payload = orjson.dumps(frame)
    if not writer.is_closing():
        writer.write(_LENGTH.pack(len(payload)) + payload)


class Splice(asyncio.Protocol):
    """One end of a relayed connection: what comes in goes out at the other end, unread."""

    __slots__ = ("bytes_in", "ended", "other", "transport")

    def __init__(self, transport: asyncio.Transport, ended: asyncio.Future[None]) -> None:
        self.transport = transport
        self.other: asyncio.Transport = transport  # set by `splice`
        self.ended = ended
        self.bytes_in = 0

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self.bytes_in += len(data)
        self.other.write(data)

    def pause_writing(self) -> None:
        """Hold the other end's sender back while this end takes nothing."""
        if not self.other.is_closing():
            self.other.pause_reading()

    def resume_writing(self) -> None:
        """Undo `pause_writing`."""
        if not self.other.is_closing():
            self.other.resume_reading()

    def eof_received(self) -> bool:
        """Close: PostgreSQL's protocol has no half-closed connection."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end once it has sent what it was given."""
        self.other.close()
        if not self.ended.done():
            self.ended.set_result(None)


def splice(one: asyncio.Transport, two: asyncio.Transport) -> tuple[Splice, Splice]:
    """Join two paused connections; returns both ends, `ended` of either says when it is over."""
    ended = cast("asyncio.Future[None]", asyncio.get_running_loop().create_future())
    first, second = Splice(one, ended), Splice(two, ended)
    first.other, second.other = two, one
    for end in (first, second):
        end.transport.set_protocol(end)
    for end in (first, second):
        end.transport.resume_reading()
    return first, second
