from libc.stdint cimport uint8_t

from _fastpath.datarow cimport MaskPlan
from _fastpath.relay_state cimport RelayState
from _fastpath.replies cimport Expected
from _fastpath.statements cimport Portal, Verdict


cdef class ServerSide(RelayState):
    cdef const uint8_t *_data         # the read being handled; valid within from_server only
    cdef Py_ssize_t _kept_from        # start of the verbatim span that goes to the client
    cdef Py_ssize_t _kept_to

    cdef uint8_t _tag[64]
    cdef Py_ssize_t _tag_size
    cdef bint held_back               # the client's input waits for the reply queue

    cpdef bytes from_server(self, bytes data)
    cdef int _keep(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _flush_kept(self) except -1
    cdef int _broken(self, object why) except -1
    cdef int _message(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1
    cdef Py_ssize_t _rows(self, Py_ssize_t pos, Py_ssize_t size) except -2
    cdef int _begin_passing(self, Py_ssize_t pos, Py_ssize_t size) except -1
    cdef int _row_description(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _no_data(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _simple_reply(self, int expected, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _complete(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _error(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _discard_to_sync(self) except -1
    cdef int _drop_failed(self, Expected *entry, const uint8_t *sqlstate) except -1
    cdef int _ready(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _copy_begins(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _pop(self) except -1
    cdef int _settle(self) except -1
    cdef bytes _join(self, bytes data)
    cdef Py_ssize_t _walk(self, Py_ssize_t size) except -1
    cdef MaskPlan _plan_of(self, Expected *head)
    cdef int _copy_out(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _parameter_description(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef bint _has_sync(self) noexcept
    cdef void _end_copy(self) noexcept
    cdef int _note_tag(self, const uint8_t *tag, Py_ssize_t size) except -1
    cdef int _end_portals(self) except -1
    cdef int _plan_query(self, Expected *head, Py_ssize_t start, Py_ssize_t end) except -1
    cdef MaskPlan _checked_plan(self, Verdict verdict, bytes shape, bytes formats, int index)
    cdef bytes _payload(self, Py_ssize_t start, Py_ssize_t end)
    cdef int _emit_error(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _emit_filtered(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _plan_portal(self, Portal portal, bytes shape) except -1
