"""Read the first packet of a connection: the only one without a type byte.

It comes from anyone who can reach the port, before any authentication, so each length
is checked before it is used and whatever is not exactly a known layout is refused.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass, field
from typing import NoReturn

from gateway.errors import ProtocolViolation
from gateway.limits import STARTUP_BYTES_MAX, STARTUP_PARAMETERS_MAX

PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = (3 << 16) | 2

_SSL_CODE = 80877103
_GSSENC_CODE = 80877104
_CANCEL_CODE = 80877102
_CANCEL_SECRET_MAX = 256


class StartupKind(enum.StrEnum):
    """What a first packet asks for."""

    SSL = "ssl"
    GSSENC = "gssenc"
    CANCEL = "cancel"
    STARTUP = "startup"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupRequest:
    """One first packet, read. Which fields are set follows from `kind`."""

    kind: StartupKind
    version: int = 0  # as asked for
    spoken: int = 0  # as answered: PROTOCOL_3_0 or PROTOCOL_3_2
    params: dict[str, str] = field(default_factory=dict)
    unsupported: tuple[str, ...] = ()  # `_pq_.` options, none of which we know
    cancel_pid: int = 0
    cancel_secret: bytes = b""

    @property
    def needs_negotiation(self) -> bool:
        """Whether NegotiateProtocolVersion must be sent, once, before anything else."""
        return self.kind is StartupKind.STARTUP and (
            self.spoken != self.version or bool(self.unsupported)
        )


def startup_packet_size(buffer: bytes | bytearray | memoryview) -> int | None:
    """Return the full size of the packet at the start of `buffer`, or None if not known yet.

    Raises ProtocolViolation as soon as the length word is out of bounds, so that nothing
    is ever buffered for a packet that will be refused.
    """
    if len(buffer) < 4:
        return None
    size: int = struct.unpack_from("!I", buffer)[0]
    if not 8 <= size <= STARTUP_BYTES_MAX:
        _refuse("invalid length of startup packet", "startup_length")
    return size


def parse_startup(packet: bytes) -> StartupRequest:
    """Read one whole first packet, length word included.

    Raises ProtocolViolation for every input that is not exactly one well-formed packet.
    """
    size = startup_packet_size(packet)
    if size is None or size != len(packet):
        _refuse("incomplete startup packet", "startup_length")
    code: int = struct.unpack_from("!I", packet, 4)[0]
    if code == _CANCEL_CODE:
        return _parse_cancel(packet)
    if code in {_SSL_CODE, _GSSENC_CODE}:
        if size != 8:
            _refuse("malformed encryption request", "encryption_request_length")
        return StartupRequest(kind=StartupKind.SSL if code == _SSL_CODE else StartupKind.GSSENC)
    if code >> 16 != 3:
        _refuse("unsupported frontend protocol", "protocol_major")
    params, unsupported = _split_params(_parse_params(packet[8:]))
    if not params.get("user"):
        _refuse("no user name in startup packet", "startup_user")
    return StartupRequest(
        kind=StartupKind.STARTUP,
        version=code,
        # 3.1 was never a protocol: such a client is spoken to in 3.0.
        spoken=PROTOCOL_3_2 if code >= PROTOCOL_3_2 else PROTOCOL_3_0,
        params=params,
        unsupported=unsupported,
    )


def _parse_cancel(packet: bytes) -> StartupRequest:
    secret = packet[12:]
    if not 4 <= len(secret) <= _CANCEL_SECRET_MAX:
        _refuse("malformed cancel request", "cancel_length")
    pid: int = struct.unpack_from("!I", packet, 8)[0]
    return StartupRequest(kind=StartupKind.CANCEL, cancel_pid=pid, cancel_secret=secret)


def _parse_params(body: bytes) -> dict[str, str]:
    params: dict[str, str] = {}
    seen: set[str] = set()
    pos = 0
    while True:
        name, pos = _string(body, pos)
        if not name:
            break
        value, pos = _string(body, pos)
        # Folded: two spellings of one setting would leave open which of them counts.
        if name.lower() in seen:
            _refuse("duplicate parameter in startup packet", "startup_duplicate")
        seen.add(name.lower())
        if len(seen) > STARTUP_PARAMETERS_MAX:
            _refuse("too many parameters in startup packet", "startup_parameters")
        params[name] = value
    if pos != len(body):
        _refuse("bytes after the terminator of the startup packet", "startup_layout")
    return params


def _split_params(params: dict[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    unsupported = tuple(name for name in params if name.startswith("_pq_."))
    return {name: params[name] for name in params if name not in unsupported}, unsupported


def _string(body: bytes, pos: int) -> tuple[str, int]:
    end = body.find(b"\0", pos)
    if end < 0:
        _refuse("startup packet without terminator", "startup_layout")
    try:
        return body[pos:end].decode(), end + 1
    except UnicodeDecodeError:
        _refuse("startup packet is not UTF-8", "startup_encoding")


def _refuse(message: str, reason: str) -> NoReturn:
    raise ProtocolViolation(message, reason=reason)
