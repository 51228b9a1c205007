from libc.stdint cimport int64_t, uint8_t

from _fastpath.outgoing cimport Outgoing
from _fastpath.replies cimport Expected
from _fastpath.statements cimport Verdict


cdef class Guarding(Outgoing):
    cdef int _guard_of(self, Verdict verdict) noexcept
    cdef int _guard_query(self, Verdict verdict) except -1
    cdef int _spend(self, Verdict verdict) except -1
    cdef int _ask_query(self) except -1
    cdef int _not_recorded(self, int64_t statement) except -1
    cdef int _sent_statement(self, Expected *entry, Verdict verdict, int guard) except -1
    cdef int _flush_server(self) except -1
    cdef bint _must_wait(self, const uint8_t *data, Py_ssize_t size) noexcept
