from libc.stdint cimport int64_t

from _fastpath.datarow cimport MaskPlan
from _fastpath.statements cimport Verdict, VerdictCache


cdef class Prepared:
    cdef readonly bytes name
    cdef readonly bytes server_name
    cdef readonly bytes sql
    cdef readonly bytes types         # parameter type OIDs as on the wire, count included
    cdef readonly Verdict verdict
    cdef VerdictCache cache           # `verdict` came from it: another one means decide again
    cdef bytes shape                  # RowDescription payload, b"" for NoData, None when unknown


cdef class Cursor:
    cdef Verdict verdict              # of the string that opened it
    cdef int index                    # its statement in there


cdef class Portal:
    cdef readonly bytes name
    cdef readonly Prepared prepared
    cdef readonly Verdict verdict
    cdef VerdictCache cache           # it was bound under: another one means decide again
    cdef bytes formats                # result formats as on the wire, count included
    cdef MaskPlan plan
    cdef Cursor cursor                # whose rows these are, for FETCH
    cdef bint has_plan
    cdef bint describing              # an injected Describe is on its way
    cdef bint finished                # its result record is written
    cdef bint described_to_client
    cdef int over                     # the `OverLimit` it exceeded
    cdef int64_t statement
    cdef int64_t started_ns
    cdef int64_t rows
    cdef int64_t bytes
