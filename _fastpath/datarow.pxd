from libc.stdint cimport uint8_t

from _fastpath.cellmask cimport Cell
from _fastpath.outbuf cimport OutBuf


cdef class MaskPlan:
    cdef Cell *cells
    cdef Py_ssize_t column_count
    cdef Py_ssize_t growth_max    # bytes a row may gain, coded cells apart
    cdef list maskers             # per column: a CellMasker or None; owns what `cells` points into
    cdef readonly bint is_clear   # no column is masked: rows may pass as they are

    # Append the masked form of complete DataRow messages. FrameError leaves `out` as it was.
    cdef int rewrite(self, const uint8_t *rows, Py_ssize_t size, OutBuf out) except -1
    cdef int append_coded(self, Py_ssize_t column, const uint8_t *value, Py_ssize_t size,
                          OutBuf out) except -1
    # Append one value of a masked column without a length word; 1 when it becomes NULL.
    cdef int put_value(self, Py_ssize_t column, const uint8_t *value, Py_ssize_t size,
                       OutBuf out) except -1
