from libc.stdint cimport uint8_t


cdef enum:
    RETAINED_SIZE_MAX = 262144    # as limits.RETAINED_BUFFER_BYTES_MAX: what an empty one keeps


cdef class OutBuf:
    # `data[:size]` is the content. Both may be read directly; any call may move `data`.
    cdef uint8_t *data
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity

    cdef int append(self, const uint8_t *data, Py_ssize_t size) except -1
    cdef uint8_t *reserve(self, Py_ssize_t size) except NULL
    cdef int commit(self, Py_ssize_t size) except -1
    cdef int truncate(self, Py_ssize_t size) except -1
    cdef void clear(self) noexcept
    cdef bytes take(self)
