from libc.stdint cimport int64_t

cdef enum:
    ACTIONS = 4
    BOUNDS_MAX = 32


cdef class Counts:
    cdef int64_t[:] slots
    cdef Py_ssize_t statements[ACTIONS]
    cdef Py_ssize_t bytes_in
    cdef Py_ssize_t bytes_out
    cdef Py_ssize_t time_first
    cdef int bound_count
    cdef int64_t bounds_ns[BOUNDS_MAX]

    cdef void statement(self, int action) noexcept
    cdef void received(self, Py_ssize_t size) noexcept
    cdef void sent(self, Py_ssize_t size) noexcept
    cdef void took(self, int64_t duration_ns) noexcept
