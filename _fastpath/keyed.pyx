"""Keyed hashes of masked values: equal values stay equal, whatever the format or the driver.

HMAC-SHA-256 over a canonical form of the value, not over the bytes on the wire, because text and
binary must agree. A tag per family keeps the number 7 and the text "7" apart. The key's two
blocks are done once per column, so a short value costs two compressions and no Python object.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

import hashlib

from _fastpath.cellmask cimport CellMasker
from _fastpath.outbuf cimport OutBuf
from _fastpath.wire cimport load_be32, load_be64, store_be32

cdef extern from "sha256.h" nogil:
    ctypedef struct pn_sha256_t:
        pass
    void pn_sha256_use(int portable)
    void pn_sha256_begin(pn_sha256_t *state)
    void pn_sha256_add(pn_sha256_t *state, const uint8_t *data, size_t size)
    void pn_sha256_end(pn_sha256_t *state, uint8_t *digest)

cdef enum:
    BLOCK_SIZE = 64
    DIGEST_SIZE = 32
    HEX_CHARS = 32            # of a hash in text
    UUID_CHARS = 36
    UUID_SIZE = 16

KEY_SIZE_MIN = 16

cdef const char *HEX = b"0123456789abcdef"

pn_sha256_use(0)


cdef inline int hex_value(uint8_t c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    c |= 0x20
    return c - c"a" + 10 if c"a" <= c <= c"f" else -1


cdef void put_hex(uint8_t *place, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        place[2 * i] = HEX[data[i] >> 4]
        place[2 * i + 1] = HEX[data[i] & 15]


cdef void put_uuid_text(uint8_t *place, const uint8_t *data) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(UUID_SIZE):
        if i == 4 or i == 6 or i == 8 or i == 10:
            place[0] = c"-"
            place += 1
        put_hex(place, data + i, 1)
        place += 2


cdef void mark_version(uint8_t *uuid) noexcept nogil:
    """Make it a version 8 UUID (RFC 9562, custom): it cannot be taken for a random one."""
    uuid[6] = (uuid[6] & 0x0F) | 0x80
    uuid[8] = (uuid[8] & 0x3F) | 0x80


cdef class Keyed(CellMasker):
    """Base of all keyed maskers: HMAC under the column's key and tag."""

    cdef pn_sha256_t inner
    cdef pn_sha256_t outer
    cdef bint is_binary

    def __init__(self, bytes key not None, bytes tag not None, *, bint is_binary=False):
        cdef uint8_t block[BLOCK_SIZE]
        cdef Py_ssize_t i
        if len(key) < KEY_SIZE_MIN:
            raise ValueError(f"a keyed mask needs a key of at least {KEY_SIZE_MIN} bytes")
        if len(key) > BLOCK_SIZE:
            key = hashlib.sha256(key).digest()
        self.is_binary = is_binary
        key = key.ljust(BLOCK_SIZE, b"\0")
        for i in range(BLOCK_SIZE):
            block[i] = <uint8_t>key[i] ^ 0x36
        pn_sha256_begin(&self.inner)
        pn_sha256_add(&self.inner, block, BLOCK_SIZE)
        pn_sha256_add(&self.inner, <const uint8_t *><char *>tag, <size_t>len(tag))
        for i in range(BLOCK_SIZE):
            block[i] = <uint8_t>key[i] ^ 0x5C
        pn_sha256_begin(&self.outer)
        pn_sha256_add(&self.outer, block, BLOCK_SIZE)

    cdef void digest(self, const uint8_t *value, Py_ssize_t size, uint8_t *out) noexcept nogil:
        cdef pn_sha256_t state = self.inner
        pn_sha256_add(&state, value, <size_t>size)
        pn_sha256_end(&state, out)
        state = self.outer
        pn_sha256_add(&state, out, DIGEST_SIZE)
        pn_sha256_end(&state, out)


cdef class KeyedText(Keyed):
    """Give 32 hex characters or a UUID, fewer where the column is narrower."""

    cdef Py_ssize_t chars_max
    cdef Py_ssize_t pad_chars
    cdef bint strip_blanks
    cdef bint as_uuid

    def __init__(
        self, bytes key not None, *, chars_max=None, Py_ssize_t pad_chars=0,
        bint strip_blanks=False, bint as_uuid=False,
    ):
        Keyed.__init__(self, key, b"t")
        width = UUID_CHARS if as_uuid else HEX_CHARS
        self.chars_max = width if chars_max is None else min(chars_max, width)
        self.pad_chars = pad_chars
        self.strip_blanks = strip_blanks
        self.as_uuid = as_uuid

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef uint8_t digest[DIGEST_SIZE]
        cdef uint8_t text[UUID_CHARS + 2]
        cdef Py_ssize_t shown = self.chars_max
        if self.strip_blanks:
            # char(5) 'a' and text 'a' are the same value to a reader.
            while size and value[size - 1] == 0x20:
                size -= 1
        self.digest(value, size, digest)
        if self.as_uuid:
            mark_version(digest)
            put_uuid_text(text, digest)
        else:
            put_hex(text, digest, HEX_CHARS // 2)
        out.append(text, self.chars_max)
        while shown < self.pad_chars:
            out.append(b" ", 1)
            shown += 1
        return 0


cdef class KeyedInt(Keyed):
    """Give a non-negative integer of the column's width, from the digest's first bytes."""

    cdef Py_ssize_t width

    def __init__(self, bytes key not None, Py_ssize_t width, *, bint is_binary=False):
        Keyed.__init__(self, key, b"i", is_binary=is_binary)
        self.width = width

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef uint8_t digest[DIGEST_SIZE]
        cdef uint8_t canonical[8]
        cdef uint8_t text[24]
        cdef int64_t number = 0
        cdef uint64_t hashed
        cdef Py_ssize_t digits = 0
        if not self.is_binary:
            number = parse_int(value, size)
        elif size != self.width:
            raise ValueError("integer of wrong size")
        else:
            number = load_be64(value) if size == 8 else load_be32(value)
        store_be32(canonical, <int>(number >> 32))
        store_be32(canonical + 4, <int><unsigned int>number)
        self.digest(canonical, 8, digest)
        digest[0] &= 0x7F
        if self.is_binary:
            return out.append(digest, self.width)
        hashed = <uint64_t>load_be64(digest) if self.width == 8 else <uint64_t>load_be32(digest)
        while hashed or not digits:
            digits += 1
            text[24 - digits] = <uint8_t>(c"0" + hashed % 10)
            hashed //= 10
        return out.append(text + 24 - digits, digits)


cdef int64_t parse_int(const uint8_t *text, Py_ssize_t size) except? -1:
    """Read a decimal integer as int8out writes it."""
    cdef Py_ssize_t pos = 1 if size and text[0] == c"-" else 0
    cdef uint64_t number = 0
    cdef uint64_t limit = 0x8000000000000000 if pos else 0x7FFFFFFFFFFFFFFF
    if not 1 <= size - pos <= 19:
        raise ValueError("not an integer")
    while pos < size:
        if not c"0" <= text[pos] <= c"9":
            raise ValueError("not an integer")
        number = number * 10 + (text[pos] - c"0")
        pos += 1
    if number > limit:
        raise ValueError("integer out of range")
    return <int64_t>(0 - number) if text[0] == c"-" else <int64_t>number


cdef class KeyedUuid(Keyed):
    """Give a UUID for a UUID."""

    def __init__(self, bytes key not None, *, bint is_binary=False):
        Keyed.__init__(self, key, b"u", is_binary=is_binary)

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef uint8_t digest[DIGEST_SIZE]
        cdef uint8_t uuid[UUID_SIZE]
        cdef uint8_t text[UUID_CHARS]
        cdef Py_ssize_t i, at = 0
        if self.is_binary:
            if size != UUID_SIZE:
                raise ValueError("UUID of wrong size")
            memcpy(uuid, value, UUID_SIZE)
        else:
            if size != UUID_CHARS:
                raise ValueError("UUID of wrong size")
            for i in range(UUID_SIZE):
                if i == 4 or i == 6 or i == 8 or i == 10:
                    if value[at] != c"-":
                        raise ValueError("not a UUID")
                    at += 1
                if hex_value(value[at]) < 0 or hex_value(value[at + 1]) < 0:
                    raise ValueError("not a UUID")
                uuid[i] = <uint8_t>(hex_value(value[at]) << 4 | hex_value(value[at + 1]))
                at += 2
        self.digest(uuid, UUID_SIZE, digest)
        mark_version(digest)
        if self.is_binary:
            return out.append(digest, UUID_SIZE)
        put_uuid_text(text, digest)
        return out.append(text, UUID_CHARS)


cdef class KeyedBytea(Keyed):
    """Give 16 bytes. Reads both of the server's text forms (`bytea_output`), writes hex."""

    cdef OutBuf raw

    def __init__(self, bytes key not None, *, bint is_binary=False):
        Keyed.__init__(self, key, b"b", is_binary=is_binary)
        self.raw = OutBuf()

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef uint8_t digest[DIGEST_SIZE]
        cdef uint8_t text[2 + DIGEST_SIZE]
        if self.is_binary:
            self.digest(value, size, digest)
            return out.append(digest, DIGEST_SIZE // 2)
        self.raw.clear()
        decode_bytea(value, size, self.raw)
        self.digest(self.raw.data, self.raw.size, digest)
        text[0] = c"\\"
        text[1] = c"x"
        put_hex(text + 2, digest, DIGEST_SIZE // 2)
        return out.append(text, 2 + DIGEST_SIZE)


cdef int decode_bytea(const uint8_t *text, Py_ssize_t size, OutBuf out) except -1:
    """Append what the hex or the escape form of a bytea means."""
    cdef uint8_t *place = out.reserve(size + 1)
    cdef Py_ssize_t pos = 0, used = 0
    cdef bint is_hex = size >= 2 and text[0] == c"\\" and text[1] == c"x"
    if is_hex:
        if size & 1:
            raise ValueError("odd number of hex digits")
        for pos in range(2, size, 2):
            if hex_value(text[pos]) < 0 or hex_value(text[pos + 1]) < 0:
                raise ValueError("not hex")
            place[used] = <uint8_t>(hex_value(text[pos]) << 4 | hex_value(text[pos + 1]))
            used += 1
        return out.commit(used)
    while pos < size:
        if text[pos] != c"\\":
            place[used] = text[pos]
            pos += 1
        elif size - pos >= 2 and text[pos + 1] == c"\\":
            place[used] = c"\\"
            pos += 2
        elif size - pos >= 4 and c"0" <= text[pos + 1] <= c"3":
            place[used] = <uint8_t>(
                (text[pos + 1] - c"0") << 6 | (text[pos + 2] & 7) << 3 | (text[pos + 3] & 7)
            )
            pos += 4
        else:
            raise ValueError("not an escape")
        used += 1
    return out.commit(used)


cdef class KeyedJson(Keyed):
    """Give a JSON string of 32 hex characters. The value is the document's text."""

    cdef bint is_versioned    # jsonb_send puts a version byte in front

    def __init__(self, bytes key not None, *, bint is_versioned=False):
        Keyed.__init__(self, key, b"j")
        self.is_versioned = is_versioned

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef uint8_t digest[DIGEST_SIZE]
        cdef uint8_t text[HEX_CHARS + 2]
        if self.is_versioned:
            if size < 1 or value[0] != 1:
                raise ValueError("jsonb of an unknown version")
            out.append(value, 1)
            value += 1
            size -= 1
        self.digest(value, size, digest)
        text[0] = text[HEX_CHARS + 1] = c'"'
        put_hex(text + 1, digest, HEX_CHARS // 2)
        return out.append(text, HEX_CHARS + 2)
