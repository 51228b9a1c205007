# What other .pyx files may cimport from the set of open statements.
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum:
    SESSION_SIZE_MAX = 64

cdef struct Statement:
    uint64_t digest               # 0: free
    uint64_t ring_id
    uint64_t ring_sequence
    int64_t number
    Py_ssize_t session_size
    uint8_t session[SESSION_SIZE_MAX]

cdef class OpenStatements:
    cdef Statement *slots
    cdef uint64_t capacity, used  # capacity is a power of two, at most half used

    cdef int add(
        self, const uint8_t *session, Py_ssize_t size, int64_t number,
        uint64_t ring_id, uint64_t ring_sequence,
    ) except -1
    cdef void drop(self, const uint8_t *session, Py_ssize_t size, int64_t number) noexcept nogil
    cdef int _grow(self) except -1
