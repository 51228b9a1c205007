"""The PROXY protocol, version 2: who really connects, told by a load balancer in front.

Source: the PROXY protocol specification of HAProxy, section 2.2. Version 1 is not taken. The
header is believed only from addresses that the operator named; what it says is an address to
record and to count logins by, and no right hangs on it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from gateway.errors import ProtocolViolation

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_HEADER_BYTES = 16
_BODY_BYTES_MAX = 2_048  # the addresses take 36; the rest are TLVs of cloud load balancers
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_V4_BYTES, _V6_BYTES = 12, 36


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header said. `peer` is None for the balancer's own health checks (LOCAL)."""

    size: int  # bytes of the header, to be taken off the stream
    peer: tuple[str, int] | None


def parse_proxy_header(data: bytes | bytearray) -> ProxyHeader | None:
    """Return the header at the start of `data`, None while it is not complete.

    Raises ProtocolViolation for anything else than a version 2 header of a stream over IPv4,
    IPv6 or LOCAL.
    """
    if bytes(data[: len(SIGNATURE)]) != SIGNATURE[: len(data)]:
        raise _wrong("no PROXY header of version 2")
    if len(data) < _HEADER_BYTES:
        return None
    command, family = data[12], data[13]
    length = int.from_bytes(data[14:16], "big")
    if command not in {_LOCAL, _PROXY}:
        raise _wrong("a PROXY header of another version or command")
    if length > _BODY_BYTES_MAX:
        raise _wrong("a PROXY header that is too long")
    size = _HEADER_BYTES + length
    if len(data) < size:
        return None
    if command == _LOCAL:
        return ProxyHeader(size, None)
    return ProxyHeader(size, _source(family, bytes(data[_HEADER_BYTES:size])))


def _source(family: int, body: bytes) -> tuple[str, int]:
    if family == _TCP4 and len(body) >= _V4_BYTES:
        return str(ipaddress.IPv4Address(body[:4])), int.from_bytes(body[8:10], "big")
    if family == _TCP6 and len(body) >= _V6_BYTES:
        address = ipaddress.IPv6Address(body[:16])
        return str(address.ipv4_mapped or address), int.from_bytes(body[32:34], "big")
    raise _wrong("a PROXY header without the address of a TCP client")


def _wrong(what: str) -> ProtocolViolation:
    return ProtocolViolation(what, reason="proxy_header")
