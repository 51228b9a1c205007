"""What one statement may return, change and take, in compiled form."""
from libc.stdint cimport int64_t


cdef class StatementLimits:
    """What one statement of a profile may return, change and take; -1 where there is no limit."""

    def __init__(
        self, int64_t max_rows, int64_t max_bytes, int64_t max_affected, int64_t max_ns,
        *, bint enforced, tuple errors not None, tuple members not None
    ):
        """`errors` and `members` have one entry per `OverLimit` of bounds.pxd."""
        if len(errors) != OVER_COUNT or len(members) != OVER_COUNT:
            raise ValueError("one error and one record member per kind of limit")
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self.max_affected = max_affected
        self.max_ns = max_ns
        self.enforced = enforced
        self.errors = errors
        self.members = members
