from libc.stdint cimport uint8_t

from _fastpath.outbuf cimport OutBuf


cdef enum:
    CELL_CLEAR = 0
    CELL_FIXED = 1
    CELL_PARTIAL = 2
    CELL_CODED = 3            # a CellMasker works it out
    SLACK = 16                # short copies move whole blocks into the room behind the end


cdef struct Cell:
    int action                # CELL_*
    const uint8_t *fixed      # replacement with its length word in front, SLACK bytes behind
    Py_ssize_t fixed_size
    const uint8_t *filler     # between the kept ends
    Py_ssize_t filler_size
    Py_ssize_t keep_first     # characters
    Py_ssize_t keep_last
    Py_ssize_t pad_size       # blanks after a partly shown char(n)
    int strip_blanks


# Write length word and masked value; return the place behind them. Needs room for the value,
# `fixed_size`, `filler_size` and `pad_size`.
cdef uint8_t *put_partial(
    const Cell *cell, const uint8_t *value, Py_ssize_t size, uint8_t *place
) noexcept nogil


cdef class CellMasker:
    # Append the masked form of one value that is not NULL, without a length word. 0, or 1 when
    # it becomes NULL. ValueError when the value is not one of its type, never telling it.
    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1


cdef class PlainMasker(CellMasker):
    cdef Cell cell
    cdef tuple owners         # keeps what `cell` points into
