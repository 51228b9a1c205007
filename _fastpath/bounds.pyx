"""What a statement may return, change and take, and how many a principal may run.

The counters of windows are shared by all workers: one word each, the window's number above its
count, changed by compare and swap. So counting takes no lock and no system call, and is exact.
"""
from libc.stdint cimport int64_t
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec


cdef extern from *:
    bint __atomic_compare_exchange_n(
        int64_t *at, int64_t *expected, int64_t wanted, bint weak, int success, int failure
    ) noexcept nogil
    int64_t __atomic_load_n(const int64_t *at, int order) noexcept nogil


cdef enum:
    SEQ_CST = 5                       # __ATOMIC_SEQ_CST
    COUNT_BITS = 32
    WORD = 2                          # after the two halves of the key


cdef int64_t now_us() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000


cdef class StatementLimits:
    """What one statement of a profile may return, change and take; -1 where there is no limit."""

    def __init__(
        self, int64_t max_rows, int64_t max_bytes, int64_t max_affected, int64_t max_ns,
        double max_cost, *, bint enforced, tuple errors not None, tuple members not None
    ):
        """`errors` and `members` have one entry per `OverLimit` of bounds.pxd."""
        if len(errors) != OVER_COUNT or len(members) != OVER_COUNT:
            raise ValueError("one error and one record member per kind of limit")
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self.max_affected = max_affected
        self.max_ns = max_ns
        self.max_cost = max_cost
        self.enforced = enforced
        self.errors = errors
        self.members = members


cdef class Budget:
    """The windows of one principal on one target, in slots of the shared table."""

    def __init__(self, int64_t[:] slots, tuple windows not None):
        """`windows`: (first slot, high and low half of the key, period in us, most) each."""
        for first, _high, _low, period_us, most in windows:
            if not 0 <= first <= len(slots) - 4 or period_us <= 0 or most < 0:
                raise ValueError("a window that does not fit the table")
        self.slots = slots
        self.windows = windows

    cdef int spend(self) except -1:
        """Count one statement in every window, or in none; a `Spent`."""
        cdef int64_t first, high, low, period_us, most, word, wanted, window, now = now_us()
        cdef int64_t *at
        cdef int index = 0
        for first, high, low, period_us, most in self.windows:
            at = &self.slots[first]
            if at[0] != high or at[1] != low:
                self.give_back(index)
                return SPENT_LOST
            window = now // period_us
            word = __atomic_load_n(at + WORD, SEQ_CST)
            while True:
                wanted = word + 1
                if word >> COUNT_BITS != window:
                    wanted = (window << COUNT_BITS) + 1
                if wanted - (window << COUNT_BITS) > most:
                    self.over = index
                    self.give_back(index)
                    return SPENT_OVER
                if __atomic_compare_exchange_n(at + WORD, &word, wanted, False, SEQ_CST, SEQ_CST):
                    break
            index += 1
        return SPENT_OK

    cdef int give_back(self, int count) except -1:
        """Undo `spend` in the first `count` windows; -1 for all of them."""
        cdef int64_t first, period_us, word, now = now_us()
        cdef int64_t *at
        cdef int index = 0
        for first, _high, _low, period_us, _most in self.windows:
            if index == count:
                break
            at = &self.slots[first]
            word = __atomic_load_n(at + WORD, SEQ_CST)
            while word >> COUNT_BITS == now // period_us and word & 0xFFFFFFFF:
                if __atomic_compare_exchange_n(at + WORD, &word, word - 1, False, SEQ_CST, SEQ_CST):
                    break
            index += 1
        return 0

    def used(self, int index):
        """(statements counted in the current window, when it ends in us since 1970)."""
        cdef int64_t now = now_us(), window, word
        cdef Py_ssize_t first
        first, _high, _low, period_us, _most = self.windows[index]
        word = self.slots[first + WORD]
        window = now // <int64_t>period_us
        count = word & 0xFFFFFFFF if word >> COUNT_BITS == window else 0
        return count, (window + 1) * period_us
