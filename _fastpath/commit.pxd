# What other .pyx files may cimport from the commit gate.
from libc.stdint cimport int64_t, uint64_t

from _fastpath.journal cimport Journal

cdef class CommitMark:
    cdef int64_t counted          # statements of its session at the last send
    cdef uint64_t position        # ring position behind its newest intent
    cdef Py_ssize_t held          # bytes of it that wait
    cdef bint is_paused           # too many: its client is not read

cdef class CommitGate:
    cdef Journal journal
    cdef object ask
    cdef object waiting           # deque of (ring position, owner, transport, bytes, mark)
    cdef bint has_asked
    cdef uint64_t position_seen   # of the first waiting entry at the last `is_stuck`

    cdef int send(
        self, object owner, object transport, bytes out, CommitMark mark, int64_t statements
    ) except -1
    cdef int _let_go(self, object owner, object transport, bytes out, CommitMark mark) except -1
