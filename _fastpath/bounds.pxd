from libc.stdint cimport int64_t


cdef enum OverLimit:
    OVER_NONE = 0
    OVER_ROWS
    OVER_BYTES
    OVER_AFFECTED
    OVER_UNCOUNTED            # a part of a write's result was taken: its tag is not known yet
    OVER_TIME
    OVER_COUNT


cdef class StatementLimits:
    cdef readonly int64_t max_rows    # each -1 where there is none
    cdef readonly int64_t max_bytes
    cdef readonly int64_t max_affected
    cdef readonly int64_t max_ns
    cdef readonly double max_cost     # by the planner's estimate
    cdef readonly bint enforced       # else only recorded
    cdef readonly tuple errors        # per `OverLimit` of limiting.pxd: a whole ErrorResponse
    cdef readonly tuple members       # ... and the members of the result record


cdef enum Spent:
    SPENT_OK = 0
    SPENT_OVER                # `Budget.over` is the window that is used up
    SPENT_LOST                # its counter serves somebody else by now: ask for another


cdef class Budget:
    cdef int64_t[:] slots
    cdef readonly tuple windows       # (first slot, two halves of the key, period in us, most)
    cdef readonly int over
    cdef int spend(self) except -1
    cdef int give_back(self, int count) except -1
