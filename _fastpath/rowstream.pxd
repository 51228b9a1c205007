from libc.stdint cimport uint8_t

from _fastpath.datarow cimport MaskPlan
from _fastpath.outbuf cimport OutBuf


cdef class RowStream:
    cdef MaskPlan plan
    cdef Py_ssize_t left_in_row   # bytes of the message that are to come
    cdef Py_ssize_t left_in_cell
    cdef Py_ssize_t column
    cdef Py_ssize_t last_masked
    cdef bint released            # the length is known and sent: the rest goes straight out
    cdef int state
    cdef uint8_t part[4]          # a length word or the column count, as far as it came
    cdef Py_ssize_t part_size
    cdef OutBuf held              # the masked row until it can be released
    cdef OutBuf cell

    # Take bytes of the row behind its header, cut anywhere, no more than are left.
    cdef int feed(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1
    cdef Py_ssize_t step(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1
    cdef int begin_cell(self, OutBuf out) except -1
    cdef int end_cell(self, OutBuf out) except -1
    cdef int next_column(self, OutBuf out) except -1
    cdef int put(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1
