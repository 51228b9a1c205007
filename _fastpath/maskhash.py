"""Keyed hashes of masked cells: equal values stay equal, whatever the format or the driver.

The HMAC runs over a canonical form of the value, not over the bytes on the wire, because text and
binary must agree. A tag per family keeps the number 7 and the text "7" apart.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Callable

from _fastpath.masktypes import BPCHAR, INT_SIZES, Family

KEY_SIZE_MIN = 16
DIGEST_HEX_CHARS = 32

_ESCAPED = re.compile(rb"\\(\\|[0-3][0-7]{2})")
# int2 has room for 32,768 hashes only: unlike values would meet within a few hundred rows.
_HASHED_INTS = (20, 23)


def fits(family: Family, type_oid: int) -> bool:
    """Tell whether a hash of useful width can be shown in this type."""
    return family in HASHERS and (family is not Family.INT or type_oid in _HASHED_INTS)


def _digest(key: bytes, tag: bytes, value: bytes) -> bytes:
    return hmac.digest(key, tag + value, hashlib.sha256)


def hash_text(
    key: bytes, type_oid: int, format_: int, limit: int | None, pad: int, cell: bytes
) -> bytes:
    """Return 32 hex characters, fewer where the column is narrower."""
    if type_oid == BPCHAR:
        cell = cell.rstrip(b" ")  # char(5) 'a' and text 'a' are the same value to a reader
    hashed = _digest(key, b"t", cell).hex()[:DIGEST_HEX_CHARS].encode()
    return hashed[:limit].ljust(pad)


def hash_int(
    key: bytes, type_oid: int, format_: int, limit: int | None, pad: int, cell: bytes
) -> bytes:
    """Return a non-negative integer of the column's width, from the digest's first bytes."""
    size = INT_SIZES[type_oid]
    if format_ and len(cell) != size:
        raise ValueError("integer cell of wrong size")
    value = int.from_bytes(cell, "big", signed=True) if format_ else int(cell)
    digest = _digest(key, b"i", value.to_bytes(8, "big", signed=True))
    hashed = int.from_bytes(digest[:size], "big") & ((1 << (size * 8 - 1)) - 1)
    return hashed.to_bytes(size, "big") if format_ else b"%d" % hashed


def hash_uuid(
    key: bytes, type_oid: int, format_: int, limit: int | None, pad: int, cell: bytes
) -> bytes:
    """Return a version 8 UUID (RFC 9562, custom): it cannot be taken for a random one."""
    value = uuid.UUID(bytes=cell) if format_ else uuid.UUID(cell.decode("ascii"))
    hashed = bytearray(_digest(key, b"u", value.bytes)[:16])
    hashed[6] = hashed[6] & 0x0F | 0x80
    hashed[8] = hashed[8] & 0x3F | 0x80
    return bytes(hashed) if format_ else str(uuid.UUID(bytes=bytes(hashed))).encode()


def hash_bytea(
    key: bytes, type_oid: int, format_: int, limit: int | None, pad: int, cell: bytes
) -> bytes:
    """Return 16 bytes. Reads both of the server's text forms, writes the hex one."""
    hashed = _digest(key, b"b", cell if format_ else parse_bytea_text(cell))[:16]
    return hashed if format_ else b"\\x" + hashed.hex().encode()


def parse_bytea_text(cell: bytes) -> bytes:
    """Decode a bytea in hex or escape form (`bytea_output`)."""
    if cell.startswith(b"\\x"):
        return bytes.fromhex(cell[2:].decode("ascii"))
    return _ESCAPED.sub(_unescape, cell)


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return escape if escape == b"\\" else bytes([int(escape, 8)])


HASHERS: dict[Family, Callable[[bytes, int, int, int | None, int, bytes], bytes]] = {
    Family.TEXT: hash_text,
    Family.INT: hash_int,
    Family.UUID: hash_uuid,
    Family.BYTEA: hash_bytea,
}
