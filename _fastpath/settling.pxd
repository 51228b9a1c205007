from libc.stdint cimport uint8_t

from _fastpath.limiting cimport Limiting
from _fastpath.replies cimport Expected
from _fastpath.prepared cimport Cursor, Portal
from _fastpath.statements cimport Verdict


cdef class Settling(Limiting):
    cdef const uint8_t *_data         # the read being handled; valid within from_server only
    cdef Py_ssize_t _kept_from        # start of the verbatim span that goes to the client
    cdef Py_ssize_t _kept_to
    cdef uint8_t _tag[64]
    cdef Py_ssize_t _tag_size
    cdef bint held_back               # the client's input waits for the reply queue

    cdef int _keep(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _broken(self, object why) except -1
    cdef int _simple_reply(self, int expected, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _complete(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _complete_execute(
        self, Expected *head, uint8_t kind, Py_ssize_t start, Py_ssize_t end, Py_ssize_t tag_size
    ) except -1
    cdef int _error(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _finish_failed(
        self, Expected *head, Py_ssize_t start, Py_ssize_t end, const uint8_t *sqlstate
    ) except -1
    cdef int _discard_to_sync(self) except -1
    cdef int _drop_failed(self, Expected *entry, const uint8_t *sqlstate) except -1
    cdef bint _is_open_behind_sync(self) noexcept
    cdef int _ready(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _pop(self) except -1
    cdef int _settle(self) except -1
    cdef void _end_copy(self) noexcept
    cdef int _note_tag(self, const uint8_t *tag, Py_ssize_t size) except -1
    cdef int _end_portals(self) except -1
    cdef int _opened(self, bytes name, Verdict verdict, int index) except -1
    cdef int _settle_cursor(self, Verdict verdict, int index) except -1
    cdef int _settle_settings(
        self, Verdict verdict, int index, const uint8_t *tag, Py_ssize_t tag_size
    ) except -1
    cdef int _end_settings(self, bint committed) except -1
    cdef bint _is_fetch(self, Verdict verdict, int index) except -1
    cdef Cursor _fetched(self, Verdict verdict, int index)
    cdef bytes _payload(self, Py_ssize_t start, Py_ssize_t end)
    cdef int _emit_error(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _emit_filtered(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1
