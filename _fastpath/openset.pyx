"""Statements whose intent is in the trail and whose result is not yet.

The writer marks them `unknown` when their worker died; verifying lists what is left. An intent
and its result are matched by session and statement number, never by place.
"""
from libc.stdint cimport int64_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from _fastpath.terms cimport RECORD_INTENT, RECORD_RESULT, TermScanner

cdef enum:
    CAPACITY_MIN = 1024


cdef uint64_t digest_of(const uint8_t *session, Py_ssize_t size, int64_t number) noexcept nogil:
    # FNV-1a; names are our own session ids, and equality is by all bytes.
    cdef uint64_t digest = <uint64_t>0xCBF29CE484222325 ^ <uint64_t>number
    cdef Py_ssize_t at
    for at in range(size):
        digest = (digest ^ session[at]) * <uint64_t>0x100000001B3
    return digest ^ (digest >> 29) | 1


cdef class OpenStatements:
    """A set of (session, statement number), each with the ring and sequence of its intent."""

    def __cinit__(self) -> None:
        self.capacity = CAPACITY_MIN
        self.slots = <Statement *>calloc(self.capacity, sizeof(Statement))
        if self.slots is NULL:
            raise MemoryError

    def __dealloc__(self) -> None:
        free(self.slots)

    def __len__(self) -> int:
        return self.used

    def note(self, scanner: TermScanner, ring_id: int = 0, ring_sequence: int = 0) -> None:
        """Take in the record that `scanner.scan_one` has just seen."""
        if scanner.record_kind == RECORD_INTENT:
            self.add(scanner.session, scanner.session_size, scanner.number, ring_id, ring_sequence)
        elif scanner.record_kind == RECORD_RESULT:
            self.drop(scanner.session, scanner.session_size, scanner.number)

    def put(self, session: bytes, number: int, ring_id: int, ring_sequence: int) -> None:
        """Take in a statement that an earlier segment left open."""
        self.add(<const uint8_t *>PyBytes_AS_STRING(session), PyBytes_GET_SIZE(session), number,
                 ring_id, ring_sequence)

    def items(self) -> list[tuple[bytes, int, int, int]]:
        """(session, statement number, ring id, ring sequence) of all, oldest first per ring."""
        cdef uint64_t at
        cdef Statement *slot
        cdef list found = []
        for at in range(self.capacity):
            slot = &self.slots[at]
            if slot.digest:
                session = PyBytes_FromStringAndSize(<char *>slot.session, slot.session_size)
                found.append((session, slot.number, slot.ring_id, slot.ring_sequence))
        found.sort(key=_place)
        return found

    cdef int add(
        self, const uint8_t *session, Py_ssize_t size, int64_t number,
        uint64_t ring_id, uint64_t ring_sequence,
    ) except -1:
        cdef uint64_t digest, at
        cdef Statement *slot
        if size > SESSION_SIZE_MAX:
            return 0              # no session id of ours
        if 2 * self.used >= self.capacity:
            self._grow()
        digest = digest_of(session, size, number)
        at = digest & (self.capacity - 1)
        while self.slots[at].digest:
            slot = &self.slots[at]
            if (slot.digest == digest and slot.number == number and slot.session_size == size
                    and memcmp(slot.session, session, size) == 0):
                return 0
            at = (at + 1) & (self.capacity - 1)
        slot = &self.slots[at]
        slot.digest, slot.number, slot.session_size = digest, number, size
        slot.ring_id, slot.ring_sequence = ring_id, ring_sequence
        memcpy(slot.session, session, size)
        self.used += 1
        return 0

    cdef void drop(self, const uint8_t *session, Py_ssize_t size, int64_t number) noexcept nogil:
        cdef uint64_t digest, at, hole, home, mask = self.capacity - 1
        cdef Statement *slot
        if size > SESSION_SIZE_MAX:
            return
        digest = digest_of(session, size, number)
        at = digest & mask
        while True:
            slot = &self.slots[at]
            if slot.digest == 0:
                return
            if (slot.digest == digest and slot.number == number and slot.session_size == size
                    and memcmp(slot.session, session, size) == 0):
                break
            at = (at + 1) & mask
        # Close the gap: what was pushed on past its home moves back, so no tombstones pile up.
        hole = at
        while True:
            at = (at + 1) & mask
            if self.slots[at].digest == 0:
                break
            home = self.slots[at].digest & mask
            if ((at - home) & mask) >= ((at - hole) & mask):
                self.slots[hole] = self.slots[at]
                hole = at
        memset(&self.slots[hole], 0, sizeof(Statement))
        self.used -= 1

    cdef int _grow(self) except -1:
        cdef Statement *old = self.slots
        cdef uint64_t count = self.capacity, at, to
        cdef Statement *slots = <Statement *>calloc(2 * count, sizeof(Statement))
        if slots is NULL:
            raise MemoryError
        self.slots, self.capacity = slots, 2 * count
        for at in range(count):
            if old[at].digest:
                to = old[at].digest & (self.capacity - 1)
                while slots[to].digest:
                    to = (to + 1) & (self.capacity - 1)
                slots[to] = old[at]
        free(old)
        return 0


def _place(item):
    return item[2:]
