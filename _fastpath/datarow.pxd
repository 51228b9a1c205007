from libc.stdint cimport uint8_t

from _fastpath.outbuf cimport OutBuf


cdef struct Cell:
    int action                # CELL_* of datarow.pyx
    const uint8_t *fixed      # replacement with its length word in front
    Py_ssize_t fixed_size
    const uint8_t *filler     # between the kept ends
    Py_ssize_t filler_size
    Py_ssize_t keep_first     # characters
    Py_ssize_t keep_last
    Py_ssize_t pad_size       # blanks after a partly shown char(n)
    int strip_blanks


cdef class MaskPlan:
    cdef Cell *cells
    cdef Py_ssize_t column_count
    cdef Py_ssize_t growth_max    # bytes a row may gain, hash cells apart
    cdef list owners              # keeps what `cells` points into
    cdef list hashers             # per column: a callable or None
    cdef readonly bint is_clear   # no column is masked: rows may pass as they are

    # Append the masked form of complete DataRow messages. FrameError leaves `out` as it was.
    cdef int rewrite(self, const uint8_t *rows, Py_ssize_t size, OutBuf out) except -1
    cdef int append_hashed(self, Py_ssize_t column, const uint8_t *value, Py_ssize_t size,
                           OutBuf out) except -1
