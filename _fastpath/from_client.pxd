from libc.stdint cimport int64_t, uint8_t

from _fastpath.guarding cimport Guarding
from _fastpath.prepared cimport Portal, Prepared
from _fastpath.statements cimport Verdict


cdef class ClientSide(Guarding):
    cdef int _dispatch(self, uint8_t kind, const uint8_t *data, Py_ssize_t pos,
                       Py_ssize_t end) except -1
    cdef int _query(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int _sent_query(self, Verdict verdict, int64_t statement, int guard) except -1
    cdef int _parse(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int _bind(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int _judge_bind(
        self, Prepared prepared, const uint8_t *binds, Py_ssize_t size) except -1
    cdef int _end_portal(self, bytes name) except -1
    cdef int _forward_bind(self, const uint8_t *data, Py_ssize_t portal_end,
                           Py_ssize_t name_end, Py_ssize_t end, Portal portal) except -1
    cdef int _describe(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int _execute(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int _close(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1
    cdef int _sync(self) except -1
    cdef int _copy(self, uint8_t kind) except -1
    cdef int _ensure(self, Prepared prepared) except -1
    cdef int _decided(self, Prepared prepared, Verdict verdict) except -1
    cdef bytes _parse_message(self, Prepared prepared)
    cdef Prepared _prepared(
        self, bytes name, const uint8_t *data, Py_ssize_t name_end, Py_ssize_t sql_end,
        Py_ssize_t end, Verdict verdict
    )
    cdef int _renew(self, Prepared prepared) except -1
    cdef int _sent_parse(self, Prepared prepared, int mode) except -1
