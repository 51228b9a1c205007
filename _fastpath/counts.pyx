"""What is counted per statement and per read: additions to the process's shared metric slots."""
from libc.stdint cimport int64_t


cdef class Counts:
    """The slots of one worker that compiled code adds to, as `gateway.metrics` lays them out."""

    def __init__(
        self, slots, tuple statements, Py_ssize_t bytes_in, Py_ssize_t bytes_out,
        Py_ssize_t time_first, tuple bounds_s
    ):
        """`statements`: one slot per verdict action; `time_first`: the histogram of `bounds_s`."""
        cdef int index
        if len(statements) != ACTIONS or len(bounds_s) > BOUNDS_MAX:
            raise ValueError("the metric slots are not laid out as compiled")
        self.slots = slots
        for index in range(ACTIONS):
            self.statements[index] = statements[index]
        self.bytes_in = bytes_in
        self.bytes_out = bytes_out
        self.time_first = time_first
        self.bound_count = <int>len(bounds_s)
        for index in range(self.bound_count):
            self.bounds_ns[index] = <int64_t>(bounds_s[index] * 1e9)

    cdef void statement(self, int action) noexcept:
        self.slots[self.statements[action]] += 1

    cdef void received(self, Py_ssize_t size) noexcept:
        self.slots[self.bytes_in] += size

    cdef void sent(self, Py_ssize_t size) noexcept:
        self.slots[self.bytes_out] += size

    cdef void took(self, int64_t duration_ns) noexcept:
        """Buckets are not cumulative; the sum, in microseconds, follows the last one."""
        cdef int index = 0
        while index < self.bound_count and self.bounds_ns[index] < duration_ns:
            index += 1
        self.slots[self.time_first + index] += 1
        self.slots[self.time_first + self.bound_count + 1] += duration_ns // 1000
