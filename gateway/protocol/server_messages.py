"""Read what a database server sends before its first ReadyForQuery.

The server is hostile input too (CVE-2026-6665, CVE-2026-6666): every length is checked, every
count is bounded, and whatever does not fit raises UpstreamError, never anything else.
"""

from __future__ import annotations

import struct
from typing import NoReturn

from gateway.errors import UpstreamError

# An honest handshake is under 2 kB; an error text or a token mechanism may be longer.
MESSAGE_SIZE_MAX = 65_536
_SECRET_SIZE_MAX = 256
_MECHANISMS_MAX = 16


class MessageReader:
    """Cuts one peer's byte stream into messages; holds at most one that is incomplete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Append what one read brought."""
        self._buffer += data

    def take_byte(self) -> bytes:
        """Return and drop the first byte: the answer to SSLRequest has no length."""
        byte = bytes(self._buffer[:1])
        del self._buffer[:1]
        return byte

    def take_rest(self) -> bytes:
        """Return and drop everything: whoever relays the stream takes over."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def next(self) -> tuple[bytes, bytes] | None:
        """Return (type, payload) of the next whole message, or None until there is one."""
        if len(self._buffer) < 5:
            return None
        length: int = struct.unpack_from("!I", self._buffer, 1)[0]
        if not 4 <= length <= MESSAGE_SIZE_MAX:
            refuse("the server sent a message of an invalid length")
        if len(self._buffer) - 1 < length:
            return None
        kind, payload = bytes(self._buffer[:1]), bytes(self._buffer[5 : 1 + length])
        del self._buffer[: 1 + length]
        return kind, payload


def parse_authentication(payload: bytes) -> tuple[int, bytes]:
    """Return the code and the data of an Authentication message."""
    if len(payload) < 4:
        refuse("the server sent a malformed authentication request")
    return struct.unpack_from("!I", payload)[0], payload[4:]


def parse_mechanisms(data: bytes) -> list[str]:
    """Return the SASL mechanism names of AuthenticationSASL."""
    if not data.endswith(b"\0\0"):
        refuse("the server sent a malformed list of SASL mechanisms")
    names = data[:-2].split(b"\0")
    if len(names) > _MECHANISMS_MAX:
        refuse("the server offers too many SASL mechanisms")
    return [name.decode("ascii", errors="replace") for name in names]


def parse_parameter_status(payload: bytes) -> tuple[str, str]:
    """Return name and value of a ParameterStatus."""
    parts = payload.split(b"\0")
    if len(parts) != 3 or parts[2] or not parts[0]:
        refuse("the server sent a malformed parameter status")
    try:
        return parts[0].decode(), parts[1].decode()
    except UnicodeDecodeError:
        refuse("the server sent a parameter status that is not UTF-8")


def parse_backend_key_data(payload: bytes) -> tuple[int, bytes]:
    """Return process id and secret of a BackendKeyData."""
    if not 8 <= len(payload) <= 4 + _SECRET_SIZE_MAX:
        refuse("the server sent a malformed cancel key")
    return struct.unpack_from("!I", payload)[0], payload[4:]


def parse_ready(payload: bytes) -> bytes:
    """Return the transaction status of a ReadyForQuery."""
    if payload not in {b"I", b"T", b"E"}:
        refuse("the server sent a malformed ready message")
    return payload


def refuse(message: str) -> NoReturn:
    """Raise the UpstreamError of a server that breaks the protocol."""
    raise UpstreamError(message, sqlstate="08P01")
