from libc.stdint cimport uint8_t

from _fastpath.copyout cimport CopyOut
from _fastpath.datarow cimport MaskPlan
from _fastpath.replies cimport Expected
from _fastpath.rowstream cimport RowStream
from _fastpath.settling cimport Settling
from _fastpath.prepared cimport Cursor, Portal
from _fastpath.statements cimport Verdict


cdef class ServerSide(Settling):
    cdef bint copying                 # CopyOutResponse came, CopyDone did not
    cdef CopyOut copy_mask            # masks the COPY at hand, None where nothing is masked
    cdef RowStream row_mask           # masks the huge row at hand
    cpdef bytes from_server(self, bytes data)
    cdef int _message(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1
    cdef Py_ssize_t _rows(self, Py_ssize_t pos, Py_ssize_t size) except -2
    cdef int _begin_passing(self, Py_ssize_t pos) except -1
    cdef int _row_description(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _no_data(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _copy_begins(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _feed_row(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _feed_copy(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _plan_copy(
        self, Verdict verdict, int index, Py_ssize_t start, Py_ssize_t end) except -1
    cdef bytes _join(self, bytes data)
    cdef Py_ssize_t _walk(self, Py_ssize_t size) except -1
    cdef MaskPlan _plan_of(self, Expected *head)
    cdef int _copy_out(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int _parameter_description(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef bint _has_sync(self) noexcept
    cdef int _plan_query(self, Expected *head, Py_ssize_t start, Py_ssize_t end) except -1
    cdef MaskPlan _result_plan(
        self, Verdict verdict, Cursor cursor, bytes shape, bytes formats, int index)
    cdef MaskPlan _checked_plan(self, Verdict verdict, bytes shape, bytes formats, int index)
    cdef int _plan_portal(self, Portal portal, bytes shape) except -1
