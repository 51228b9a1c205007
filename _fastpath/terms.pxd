# What other .pyx files may cimport from the term scanner.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    DEPTH_MAX = 32
    KEYS_MAX = 32
    KEY_SIZE_MAX = 16
    RECORD_OTHER = 0              # what a record says about a statement
    RECORD_INTENT = 1
    RECORD_RESULT = 2

cdef struct Key:
    uint8_t name[KEY_SIZE_MAX]
    Py_ssize_t size

cdef class TermScanner:
    cdef Key keys[KEYS_MAX]
    cdef int key_count
    # Bit n stands for key n: which have this first byte, this size.
    cdef uint32_t[256] keys_by_first
    cdef uint32_t[KEY_SIZE_MAX + 1] keys_by_size
    cdef Py_ssize_t terms_max
    cdef int *slots               # index into `terms` plus one; 0 is free
    cdef list terms
    cdef int64_t time_min, time_max
    cdef bint is_overflowed
    cdef uint64_t seed            # unknown to those who choose the names
    # Of the record scanned last; `session` points into it.
    cdef int record_kind
    cdef const uint8_t *session
    cdef Py_ssize_t session_size
    cdef int64_t number

    cdef int _clear(self) except -1
    cdef int _find_key(self, const uint8_t *name, Py_ssize_t size) noexcept nogil
    cdef int _enter(self, int key, const uint8_t *value, Py_ssize_t size) except -1
    cdef void _note_key(
        self, const uint8_t *data, Py_ssize_t size, Py_ssize_t start, Py_ssize_t end
    ) noexcept nogil
    # Enter one record; 1 when it is one JSON object, 0 when not.
    cdef int scan_payload(self, const uint8_t *data, Py_ssize_t size) except -1
