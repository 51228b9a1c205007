"""The first packet of a connection: every length and layout a stranger may send."""

from __future__ import annotations

import struct

import pytest

from gateway.errors import ProtocolViolation
from gateway.protocol.messages import (
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    StartupKind,
    build_cancel,
    build_ssl_request,
    build_startup,
    parse_startup,
    startup_packet_size,
)


def packet(body: bytes, code: int = PROTOCOL_3_0, length: int | None = None) -> bytes:
    return struct.pack("!II", len(body) + 8 if length is None else length & 0xFFFFFFFF, code) + body


USER = b"user\0u\0"


def test_startup_round_trip() -> None:
    """Goal: what the builder writes is what the parser reads."""
    params = {"user": "read", "database": "orders", "application_name": "", "x": "é"}
    request = parse_startup(build_startup(params))
    assert request.kind is StartupKind.STARTUP
    assert request.params == params
    assert not request.needs_negotiation


@pytest.mark.parametrize("length", [-1, 0, 3, 4, 7, 10_001, 2**31 - 1, 2**31, 2**32 - 1])
def test_hostile_length_is_refused_before_buffering(length: int) -> None:
    """Goal: a bad length word is refused by its four bytes alone."""
    with pytest.raises(ProtocolViolation):
        startup_packet_size(struct.pack("!I", length & 0xFFFFFFFF))


def test_size_is_known_from_four_bytes() -> None:
    """Goal: an incomplete packet is told from a bad one at each split point."""
    whole = build_startup({"user": "u"})
    for cut in range(4):
        assert startup_packet_size(whole[:cut]) is None
    for cut in range(4, len(whole)):
        assert startup_packet_size(whole[:cut]) == len(whole)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\x08",
        packet(b""),
        packet(b"\0"),  # no user
        packet(USER),  # no terminator
        packet(b"user\0u"),
        packet(b"user\0"),
        packet(b"user"),
        packet(USER + b"\0\0"),  # bytes after the terminator
        packet(USER + b"\0user\0v\0\0"),
        packet(USER + USER + b"\0"),  # duplicates
        packet(USER + b"User\0v\0\0"),
        packet(USER + b"datestyle\0ISO\0DateStyle\0SQL\0\0"),
        packet(USER + b"_pq_.x\x001\0_pq_.x\x002\0\0"),
        packet(b"user\0\xff\0\0"),
        packet(b"\xff\0u\0" + USER + b"\0"),
        packet(b"user\0\0\0"),  # empty user
        packet(b"database\0d\0\0"),
        packet(USER + b"".join(b"p%d\0v\0" % n for n in range(70)) + b"\0"),
        packet(USER + b"\0", code=2 << 16),
        packet(USER + b"\0", code=4 << 16),
        packet(USER + b"\0", code=0),
        packet(USER + b"\0", code=1234 << 16),
        packet(USER + b"\0", length=len(USER) + 8),
        packet(USER + b"\0", length=len(USER) + 10),
        packet(b"", code=80877103, length=9) + b"x",
        packet(b"x", code=80877104),
        packet(b"", code=80877102),
        packet(b"\0\0\0\1", code=80877102),
        packet(b"\0\0\0\1abc", code=80877102),
        packet(b"\0\0\0\1" + bytes(257), code=80877102),
        packet(USER + b"a\0" + b"x" * 10_000 + b"\0\0"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ],
)
def test_malformed_packets(data: bytes) -> None:
    """Goal: whatever is not exactly one known layout is a ProtocolViolation."""
    with pytest.raises(ProtocolViolation) as caught:
        parse_startup(data)
    assert caught.value.reason
    assert caught.value.sqlstate == "08P01"


def test_encryption_requests() -> None:
    """Goal: SSLRequest and GSSENCRequest are told apart."""
    assert parse_startup(build_ssl_request()).kind is StartupKind.SSL
    assert parse_startup(packet(b"", code=80877104)).kind is StartupKind.GSSENC


@pytest.mark.parametrize("size", [4, 32, 256])
def test_cancel_with_short_and_long_keys(size: int) -> None:
    """Goal: protocol 3.2 keys of any legal length arrive whole, high bits included."""
    request = parse_startup(build_cancel(0xFFFF_FFFE, b"\xfe" * size))
    assert request.kind is StartupKind.CANCEL
    assert request.cancel_pid == 0xFFFF_FFFE
    assert request.cancel_secret == b"\xfe" * size


@pytest.mark.parametrize(
    ("minor", "spoken", "negotiates"),
    [
        (0, PROTOCOL_3_0, False),
        (1, PROTOCOL_3_0, True),
        (2, PROTOCOL_3_2, False),
        (3, PROTOCOL_3_2, True),
        (9999, PROTOCOL_3_2, True),
    ],
)
def test_minor_versions(minor: int, spoken: int, negotiates: bool) -> None:
    """Goal: a newer minor is answered with ours, never refused."""
    request = parse_startup(packet(USER + b"\0", code=3 << 16 | minor))
    assert request.spoken == spoken
    assert request.needs_negotiation is negotiates


def test_unknown_protocol_options_are_reported() -> None:
    """Goal: `_pq_.` options are set apart and ask for negotiation."""
    request = parse_startup(packet(USER + b"_pq_.a\x001\0_pq_.b\0\0\0"))
    assert request.unsupported == ("_pq_.a", "_pq_.b")
    assert request.params == {"user": "u"}
    assert request.needs_negotiation
