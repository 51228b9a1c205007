from libc.stdint cimport int64_t, uint8_t

from _fastpath.relay_state cimport RelayState
from _fastpath.replies cimport Expected


cdef class Limiting(RelayState):
    cdef bint muted                   # an error was sent in place of the rest of the answer
    cdef bytes held_tag               # CommandComplete that waits for the gateway's COMMIT
    cdef int over_time                # the gateway cancelled what runs: its error is to say why

    cdef bint _is_over(self, Expected *head) except -1
    cdef bint _affects_too_much(self, Expected *head, const uint8_t *tag, Py_ssize_t size) except -1
    cdef int _over(self, Expected *head, int which) except -1
    cdef bint _is_synced(self) noexcept
    cdef int _send(self, bytes sent) except -1
    cdef bint _close_guarded(self, Expected *head) except -1
    cdef int _finish(self, Expected *head, const uint8_t *tag, Py_ssize_t size) except -1
    cdef bint _fail_by_time(self, Expected *head, const uint8_t *sqlstate) except -1
    cdef int _name_over(self, int which) except -1
    cdef bint _is_guarding(self) noexcept
    cdef int _flush_kept(self) except -1
