"""Collect the distinct `key=value` terms of a run of audit records, for a block index.

The index costs per distinct term of a block instead of per record, so a million equal
statements cost as much as one. Only strings, and strings inside lists, under the chosen keys
count, at any depth; values stay as they are in the JSON text. A value that has an escape is
entered as `key=` with nothing after it, which a search takes as "may be anything".
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

import os

cdef extern from *:
    int __builtin_ctz(uint32_t mask) noexcept nogil
    int __builtin_ctzll(uint64_t mask) noexcept nogil

cdef enum:
    SLOTS = 16384                 # at most half used
    VALUE_SIZE_MAX = 200          # longer values are entered as "may be anything"


cdef Py_ssize_t string_end(
    const uint8_t *data, Py_ssize_t size, Py_ssize_t start, bint *has_escape
) noexcept nogil:
    # Offset of the closing quote, `size` when there is none. Eight bytes at a time: half of a
    # record is inside strings.
    cdef Py_ssize_t pos = start
    cdef uint64_t word, quotes, escapes, ones = <uint64_t>0x0101010101010101, hit
    has_escape[0] = False
    while True:
        hit = 0
        while hit == 0 and size - pos >= 8:
            memcpy(&word, data + pos, 8)
            quotes, escapes = word ^ (ones * 0x22), word ^ (ones * 0x5C)
            hit = ((quotes - ones) & ~quotes) | ((escapes - ones) & ~escapes)
            hit &= ones * 0x80
            # A borrow can mark bytes behind the first match, never one before it. (Little-endian,
            # like the ring.)
            pos += __builtin_ctzll(hit) >> 3 if hit else 8
        while pos < size and data[pos] != 0x22 and data[pos] != 0x5C:
            pos += 1
        if pos >= size:
            return size
        if data[pos] == 0x22:
            return pos
        has_escape[0] = True
        pos += 2


cdef int64_t number_at(const uint8_t *data, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    cdef int64_t value = 0
    cdef int digits = 0
    while pos < size and 0x30 <= data[pos] <= 0x39 and digits < 18:
        value = value * 10 + (data[pos] - 0x30)
        pos += 1
        digits += 1
    return value


cdef class TermScanner:
    """Terms and time range of the records scanned since the last `take`."""

    def __cinit__(self, keys: tuple[str, ...], terms_max: int = 4096) -> None:
        """Raises ValueError for keys that do not fit the fixed tables."""
        if len(keys) > KEYS_MAX or not 0 < terms_max <= SLOTS // 2:
            raise ValueError("too many keys or terms")
        self.slots = <int *>calloc(SLOTS, sizeof(int))
        if self.slots is NULL:
            raise MemoryError
        self.terms_max = terms_max
        self.seed = int.from_bytes(os.urandom(8), "little")
        for key in keys:
            name = key.encode()
            if not 0 < len(name) <= KEY_SIZE_MAX:
                raise ValueError(f"key {key!r} is too long")
            memcpy(self.keys[self.key_count].name, PyBytes_AS_STRING(name), len(name))
            self.keys[self.key_count].size = len(name)
            self.keys_by_first[self.keys[self.key_count].name[0]] |= <uint32_t>1 << self.key_count
            self.keys_by_size[len(name)] |= <uint32_t>1 << self.key_count
            self.key_count += 1
        self._clear()

    def __dealloc__(self) -> None:
        free(self.slots)

    cdef int _clear(self) except -1:
        memset(self.slots, 0, SLOTS * sizeof(int))
        self.terms = []
        self.time_min, self.time_max = 0, 0
        self.is_overflowed = False
        return 0

    def scan_one(self, payload: bytes) -> bool:
        """Enter one record; False when it is not one JSON object."""
        return self.scan_payload(
            <const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload)
        ) != 0

    def is_full(self) -> bool:
        """True when the block should end soon: half of the terms it can hold are in."""
        return len(self.terms) >= self.terms_max // 2

    def take(self) -> tuple[list[bytes], int, int]:
        """(terms, earliest time, latest time) in microseconds, and start over.

        A last term `*` means that not all fitted: the block may hold anything.
        """
        if self.is_overflowed:
            self.terms.append(b"*")
        result = (self.terms, self.time_min, self.time_max)
        self._clear()
        return result

    cdef int _find_key(self, const uint8_t *name, Py_ssize_t size) noexcept nogil:
        cdef uint32_t left
        cdef int at
        if not 0 < size <= KEY_SIZE_MAX:
            return -1
        left = self.keys_by_first[name[0]] & self.keys_by_size[size]
        while left:
            at = __builtin_ctz(left)
            if memcmp(self.keys[at].name, name, size) == 0:
                return at
            left &= left - 1
        return -1

    cdef int _enter(self, int key, const uint8_t *value, Py_ssize_t size) except -1:
        cdef uint8_t term[KEY_SIZE_MAX + 1 + VALUE_SIZE_MAX + 8]
        cdef Py_ssize_t used = self.keys[key].size, at
        cdef uint64_t digest, word
        cdef int slot
        memcpy(term, self.keys[key].name, used)
        term[used] = 0x3D
        used += 1
        if size <= VALUE_SIZE_MAX:
            memcpy(term + used, value, size)
            used += size
        memset(term + used, 0, 8)
        digest, at = self.seed ^ <uint64_t>used, 0
        while at < used:
            memcpy(&word, term + at, 8)
            digest = (digest ^ word) * <uint64_t>0x9E3779B97F4A7C15
            digest ^= digest >> 32
            at += 8
        slot = <int>(digest % SLOTS)
        while self.slots[slot]:
            # Compared in full: a name chosen to collide must not hide another.
            known = <bytes>self.terms[self.slots[slot] - 1]
            if (PyBytes_GET_SIZE(known) == used
                    and memcmp(PyBytes_AS_STRING(known), term, used) == 0):
                return 0
            slot = (slot + 1) % SLOTS
        if len(self.terms) >= self.terms_max:
            self.is_overflowed = True
            return 0
        self.terms.append(PyBytes_FromStringAndSize(<char *>term, used))
        self.slots[slot] = <int>len(self.terms)
        return 0

    cdef int scan_payload(self, const uint8_t *data, Py_ssize_t size) except -1:
        # 1 when the payload is one object: brackets balance and strings end. The reader of a
        # record parses it in full; here only what would hide a term matters.
        cdef Py_ssize_t pos = 0, start, length
        cdef int depth = 0
        cdef int[DEPTH_MAX + 1] key
        cdef bint expects_key = False, has_escape = False
        cdef bint[DEPTH_MAX + 1] is_object
        cdef uint8_t byte
        self.record_kind, self.session_size, self.number = RECORD_OTHER, 0, 0
        if size == 0 or data[0] != 0x7B:
            return 0
        while pos < size:
            byte = data[pos]
            if byte == 0x22:
                start = pos + 1
                pos = string_end(data, size, start, &has_escape)
                if pos >= size or depth == 0:
                    return 0
                if expects_key:
                    key[depth] = -1 if has_escape else self._find_key(data + start, pos - start)
                    if depth == 1:
                        self._note_key(data, size, start, pos)
                    expects_key = False
                elif key[depth] >= 0:
                    length = VALUE_SIZE_MAX + 1 if has_escape else pos - start
                    self._enter(key[depth], data + start, length)
            elif byte == 0x7B or byte == 0x5B:
                if depth == DEPTH_MAX:
                    return 0
                depth += 1
                is_object[depth] = expects_key = byte == 0x7B
                key[depth] = -1 if expects_key else key[depth - 1]
            elif byte == 0x7D or byte == 0x5D:
                if depth == 0 or is_object[depth] != (byte == 0x7D):
                    return 0
                depth -= 1
                expects_key = False
                if depth == 0:
                    return pos + 1 == size
            elif byte == 0x2C:
                expects_key = is_object[depth]
            pos += 1
        return 0

    cdef void _note_key(
        self, const uint8_t *data, Py_ssize_t size, Py_ssize_t start, Py_ssize_t end
    ) noexcept nogil:
        # Keys of the record itself that mean more than a term; `end` is at the closing quote.
        cdef const uint8_t *name = data + start
        cdef Py_ssize_t value = end + 2, stop
        cdef bint has_escape = False
        cdef int64_t number
        if value >= size or data[end + 1] != 0x3A:
            return
        if end - start == 4 and memcmp(name, b"time", 4) == 0:
            number = number_at(data, size, value)
            if number > 0:
                if self.time_min == 0 or number < self.time_min:
                    self.time_min = number
                if number > self.time_max:
                    self.time_max = number
        elif end - start == 4 and memcmp(name, b"stmt", 4) == 0:
            self.number = number_at(data, size, value)
        elif end - start == 4 and memcmp(name, b"kind", 4) == 0:
            if size - value > 18 and memcmp(data + value, b'"statement.intent"', 18) == 0:
                self.record_kind = RECORD_INTENT
            elif size - value > 18 and memcmp(data + value, b'"statement.result"', 18) == 0:
                self.record_kind = RECORD_RESULT
        elif end - start == 7 and memcmp(name, b"session", 7) == 0 and data[value] == 0x22:
            stop = string_end(data, size, value + 1, &has_escape)
            if stop < size and not has_escape:
                self.session, self.session_size = data + value + 1, stop - value - 1
