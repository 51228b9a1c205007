"""Keyed hashes of masked cells by hashlib: the oracle of `_fastpath.keyed`.

The HMAC runs over a canonical form of the value, not over the bytes on the wire, because text and
binary must agree. A tag per family keeps the number 7 and the text "7" apart.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable

from _fastpath.masktypes import BPCHAR, INT_SIZES, JSONB, ColumnType, Family

KEY_SIZE_MIN = 16
DIGEST_HEX_CHARS = 32

_BLOCK_SIZE = 64
_ESCAPED = re.compile(rb"\\(\\|[0-3][0-7]{2})")
Digest = Callable[[bytes], bytes]
Hasher = Callable[[bytes], bytes]


def hmac_sha256(key: bytes, tag: bytes) -> Digest:
    """Return HMAC-SHA-256 under `key` of `tag` and a value, with the key's two blocks done.

    RFC 2104 spelled out: `hmac.digest` would repeat them for each cell (1.7 us instead of 0.6).
    """
    if len(key) > _BLOCK_SIZE:
        key = hashlib.sha256(key).digest()
    block = key.ljust(_BLOCK_SIZE, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + tag)
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(value: bytes) -> bytes:
        inside = inner.copy()
        inside.update(value)
        outside = outer.copy()
        outside.update(inside.digest())
        return outside.digest()

    return digest


def build_hasher(key: bytes, column: ColumnType, *, is_binary: bool) -> Hasher:
    """Return what hashes one cell. It raises ValueError for a cell that is not of the type."""
    family = column.family
    if family is None or len(key) < KEY_SIZE_MIN:
        raise ValueError(f"mask kind 'hash' needs a key of at least {KEY_SIZE_MIN} bytes")
    return _HASHERS[family](key, column, is_binary)


def _hash_text(key: bytes, column: ColumnType, _is_binary: bool) -> Hasher:
    """Give 32 hex characters, fewer where the column is narrower. Both formats are the same."""
    digest = hmac_sha256(key, b"t")
    chars_max = min(column.chars_max or DIGEST_HEX_CHARS, DIGEST_HEX_CHARS)
    pad_chars = column.pad_chars
    if column.oid != BPCHAR:
        return lambda cell: digest(cell).hex()[:chars_max].encode()
    # char(5) 'a' and text 'a' are the same value to a reader.
    return lambda cell: digest(cell.rstrip(b" ")).hex()[:chars_max].ljust(pad_chars).encode()


def build_uuid_hasher(key: bytes, column: ColumnType, *, is_binary: bool) -> Hasher:
    """Return what makes a UUID of one cell."""
    if column.family is Family.UUID:
        return _hash_uuid(key, column, is_binary)
    digest = hmac_sha256(key, b"t")

    def hash_cell(cell: bytes) -> bytes:
        value = cell.rstrip(b" ") if column.oid == BPCHAR else cell
        hashed = bytearray(digest(value)[:16])
        hashed[6] = hashed[6] & 0x0F | 0x80
        hashed[8] = hashed[8] & 0x3F | 0x80
        text = str(uuid.UUID(bytes=bytes(hashed)))[: column.chars_max]
        return text.ljust(column.pad_chars).encode()

    return hash_cell


def _hash_json(key: bytes, column: ColumnType, is_binary: bool) -> Hasher:
    """Give a string of 32 hex characters."""
    digest = hmac_sha256(key, b"j")
    if is_binary and column.oid == JSONB:

        def hash_versioned(cell: bytes) -> bytes:
            if not cell.startswith(b"\1"):
                raise ValueError("jsonb of an unknown version")
            return b'\1"' + digest(cell[1:]).hex()[:DIGEST_HEX_CHARS].encode() + b'"'

        return hash_versioned
    return lambda cell: b'"' + digest(cell).hex()[:DIGEST_HEX_CHARS].encode() + b'"'


def _hash_int(key: bytes, column: ColumnType, is_binary: bool) -> Hasher:
    """Give a non-negative integer of the column's width, from the digest's first bytes."""
    digest = hmac_sha256(key, b"i")
    size = INT_SIZES[column.oid]
    mask = (1 << (size * 8 - 1)) - 1

    def hash_cell(cell: bytes) -> bytes:
        if is_binary and len(cell) != size:
            raise ValueError("integer cell of wrong size")
        if not is_binary and not re.fullmatch(rb"-?[0-9]{1,19}", cell):
            raise ValueError("not what int8out writes")
        value = int.from_bytes(cell, "big", signed=True) if is_binary else int(cell)
        hashed = int.from_bytes(digest(value.to_bytes(8, "big", signed=True))[:size], "big") & mask
        return hashed.to_bytes(size, "big") if is_binary else b"%d" % hashed

    return hash_cell


def _hash_uuid(key: bytes, _column: ColumnType, is_binary: bool) -> Hasher:
    """Give a version 8 UUID (RFC 9562, custom): it cannot be taken for a random one."""
    digest = hmac_sha256(key, b"u")

    def hash_cell(cell: bytes) -> bytes:
        value = uuid.UUID(bytes=cell) if is_binary else uuid.UUID(cell.decode("ascii"))
        hashed = bytearray(digest(value.bytes)[:16])
        hashed[6] = hashed[6] & 0x0F | 0x80
        hashed[8] = hashed[8] & 0x3F | 0x80
        return bytes(hashed) if is_binary else str(uuid.UUID(bytes=bytes(hashed))).encode()

    return hash_cell


def _hash_bytea(key: bytes, _column: ColumnType, is_binary: bool) -> Hasher:
    """Give 16 bytes. Reads both of the server's text forms, writes the hex one."""
    digest = hmac_sha256(key, b"b")
    if is_binary:
        return lambda cell: digest(cell)[:16]
    return lambda cell: b"\\x" + digest(parse_bytea_text(cell))[:16].hex().encode()


def parse_bytea_text(cell: bytes) -> bytes:
    """Decode a bytea in hex or escape form (`bytea_output`)."""
    if cell.startswith(b"\\x"):
        return bytes.fromhex(cell[2:].decode("ascii"))
    return _ESCAPED.sub(_unescape, cell)


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return escape if escape == b"\\" else bytes([int(escape, 8)])


_HASHERS: dict[Family, Callable[[bytes, ColumnType, bool], Hasher]] = {
    Family.TEXT: _hash_text,
    Family.INT: _hash_int,
    Family.UUID: _hash_uuid,
    Family.BYTEA: _hash_bytea,
    Family.JSON: _hash_json,
}
