"""A growing byte buffer for what leaves in one write.

Life cycle: fill (`append`, or `reserve` a worst case then `commit` what was used), then `take`
all of it as bytes. The allocation is kept for the next round up to RETAINED_SIZE_MAX, so that one
big reply does not cost an idle session its memory for ever.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

cdef enum:
    FIRST_CAPACITY = 4096

cdef Py_ssize_t SIZE_MAX_ = <Py_ssize_t>(<size_t>-1 >> 2)


cdef class OutBuf:
    """Bytes to send. Not for use from two threads."""

    def __dealloc__(self):
        free(self.data)

    def __len__(self):
        return self.size

    @property
    def allocated(self):
        """Bytes of memory held, used or not."""
        return self.capacity

    cdef uint8_t *reserve(self, Py_ssize_t size) except NULL:
        """Make room for `size` more bytes and return where they begin. Does not move the end."""
        if size < 0 or size > SIZE_MAX_ - self.size:
            raise MemoryError("output buffer cannot grow that far")
        cdef Py_ssize_t need = self.size + size
        cdef Py_ssize_t capacity
        cdef uint8_t *moved
        if self.data == NULL or need > self.capacity:
            capacity = self.capacity * 2 if self.capacity else FIRST_CAPACITY
            if capacity < need:
                capacity = need
            moved = <uint8_t *>realloc(self.data, <size_t>capacity)
            if moved == NULL:
                raise MemoryError()
            self.data = moved
            self.capacity = capacity
        return self.data + self.size

    cdef int commit(self, Py_ssize_t size) except -1:
        """Count `size` bytes written at the reserved place as content."""
        if size < 0 or size > self.capacity - self.size:
            raise AssertionError("committed more than was reserved")
        self.size += size
        return 0

    cdef int append(self, const uint8_t *data, Py_ssize_t size) except -1:
        """Copy `size` bytes to the end. `data` must not point into this buffer."""
        cdef uint8_t *place = self.reserve(size)
        if size:
            memcpy(place, data, <size_t>size)
            self.size += size
        return 0

    cdef int truncate(self, Py_ssize_t size) except -1:
        """Take back what was written past `size`, as after a refused row."""
        if size < 0 or size > self.size:
            raise AssertionError("truncated to more than there is")
        self.size = size
        return 0

    cdef void clear(self) noexcept:
        self.size = 0
        if self.capacity > RETAINED_SIZE_MAX:
            free(self.data)
            self.data = NULL
            self.capacity = 0

    cdef bytes take(self):
        """Return the content and leave the buffer empty."""
        if self.size == 0:
            return b""
        cdef bytes content = PyBytes_FromStringAndSize(<char *>self.data, self.size)
        self.clear()
        return content

    def append_bytes(self, bytes data not None):
        """`append` for Python callers."""
        self.append(data, len(data))

    def take_bytes(self):
        """`take` for Python callers."""
        return self.take()
