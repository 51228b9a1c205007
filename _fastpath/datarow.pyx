"""Rewrite masked cells of DataRow messages on their way to the client.

What is not masked moves in spans, whole rows of it where every masked cell is NULL. No Python
object is made per row or cell, except where a rare type is worked out in Python. Every length is
checked against the frame: a server that breaks the format gets nothing through, not even the rows
before.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcpy

from _fastpath.cellmask cimport (
    CELL_CLEAR, CELL_CODED, CELL_FIXED, SLACK, Cell, CellMasker, PlainMasker, put_partial
)
from _fastpath.outbuf cimport OutBuf
from _fastpath.wire cimport (
    DATA_ROW, HEADER_SIZE, LENGTH_SIZE, NULL_CELL, load_be16, load_be32, store_be32
)

from typing import NamedTuple

from _fastpath.errors import FrameError
from _fastpath.maskcells import CellMask, build_cell, fitting_kinds, mask_fits

__all__ = [
    "CellMask", "ColumnDesc", "MaskPlan", "fitting_kinds", "mask_fits", "parse_row_description"
]

cdef enum:
    COLUMNS_MAX = 1664        # MaxTupleAttributeNumber of every supported server
    DESC_TAIL_SIZE = 18       # what follows a column's name in RowDescription
    SHORT_COPY_MAX = 32

cdef enum RowStatus:
    ROW_REFUSED = -1
    ROW_DONE = 0
    ROW_NEEDS_CODE = 1


cdef struct RowCursor:
    const uint8_t *data       # the row's message, header included
    Py_ssize_t size
    Py_ssize_t pos            # next cell's length word
    Py_ssize_t span           # first byte not copied yet
    Py_ssize_t column
    Py_ssize_t value_size     # of the cell at `pos` when a masker is needed


class ColumnDesc(NamedTuple):
    """One column as RowDescription tells it."""

    name: bytes
    table_oid: int
    attnum: int
    type_oid: int
    typlen: int
    typmod: int
    format: int


def parse_row_description(bytes payload not None):
    """Read a RowDescription payload (without its header). Raises FrameError when malformed."""
    cdef const uint8_t *data = payload
    cdef const uint8_t *end
    cdef Py_ssize_t size = len(payload)
    cdef Py_ssize_t pos = 2
    cdef Py_ssize_t name_size
    cdef int count, _column, format_code
    if size < 2:
        raise FrameError("RowDescription too short", 0, 2)
    count = load_be16(data)
    if not 0 <= count <= COLUMNS_MAX:
        raise FrameError("RowDescription column count out of bounds", 0, COLUMNS_MAX)
    columns = []
    for _column in range(count):
        end = <const uint8_t *>memchr(data + pos, 0, <size_t>(size - pos)) if size > pos else NULL
        if end == NULL:
            raise FrameError("RowDescription column name does not end", pos)
        name_size = end - (data + pos)
        name = PyBytes_FromStringAndSize(<const char *>data + pos, name_size)
        pos += name_size + 1
        if size - pos < DESC_TAIL_SIZE:
            raise FrameError("RowDescription column cut short", pos)
        format_code = load_be16(data + pos + 16)
        if format_code != 0 and format_code != 1:
            raise FrameError("RowDescription names an unknown format", pos)
        columns.append(ColumnDesc(
            name, load_be32(data + pos) & 0xFFFFFFFF, load_be16(data + pos + 4),
            load_be32(data + pos + 6) & 0xFFFFFFFF, load_be16(data + pos + 10),
            load_be32(data + pos + 12), format_code,
        ))
        pos += DESC_TAIL_SIZE
    if pos != size:
        raise FrameError("RowDescription has bytes after its last column", pos)
    return columns


cdef inline void copy_short(
    uint8_t *place, const uint8_t *source, Py_ssize_t size
) noexcept nogil:
    """Copy `size` bytes in blocks; may write SLACK bytes past the end and read as far."""
    cdef Py_ssize_t done = 0
    while done < size:
        memcpy(place + done, source + done, SLACK)
        done += SLACK


cdef inline uint8_t *copy_span(
    uint8_t *place, const uint8_t *source, Py_ssize_t size, Py_ssize_t readable
) noexcept nogil:
    if size <= SHORT_COPY_MAX and size + SLACK <= readable:
        copy_short(place, source, size)
    else:
        memcpy(place, source, <size_t>size)
    return place + size


cdef RowStatus advance(
    const Cell *cells, Py_ssize_t column_count, RowCursor *row, uint8_t **out
) noexcept nogil:
    """Go on through the row until its end or the next coded cell, writing to `out`.

    `out` must have room for the rest of the row, the plan's growth and SLACK. `span` stays behind
    while nothing has to be replaced, so clear cells are copied with what precedes them.
    """
    cdef const Cell *cell
    cdef uint8_t *place = out[0]
    cdef Py_ssize_t pos = row.pos, size = row.size, column = row.column
    cdef Py_ssize_t value_size
    while column < column_count:
        if size - pos < LENGTH_SIZE:
            return ROW_REFUSED
        value_size = load_be32(row.data + pos)
        if value_size < 0:
            if value_size != NULL_CELL:
                return ROW_REFUSED
            pos += LENGTH_SIZE
            column += 1
            continue
        if size - pos - LENGTH_SIZE < value_size:
            return ROW_REFUSED
        cell = cells + column
        if cell.action != CELL_CLEAR:
            place = copy_span(place, row.data + row.span, pos - row.span, size - row.span)
            if cell.action == CELL_CODED:
                row.pos = row.span = pos
                row.column = column
                row.value_size = value_size
                out[0] = place
                return ROW_NEEDS_CODE
            if cell.action == CELL_FIXED:
                # The replacement is stored with SLACK bytes behind it.
                copy_short(place, cell.fixed, cell.fixed_size)
                place += cell.fixed_size
            else:
                place = put_partial(cell, row.data + pos + LENGTH_SIZE, value_size, place)
            row.span = pos + LENGTH_SIZE + value_size
        pos += LENGTH_SIZE + value_size
        column += 1
    if pos != size:
        return ROW_REFUSED
    place = copy_span(place, row.data + row.span, size - row.span, size - row.span)
    out[0] = place
    return ROW_DONE


cdef class MaskPlan:
    """How to mask the rows of one result, fixed when its RowDescription is seen."""

    def __cinit__(self, columns):
        cdef Py_ssize_t count = len(columns)
        if count > COLUMNS_MAX:
            raise ValueError(f"more than {COLUMNS_MAX} columns")
        self.cells = <Cell *>calloc(<size_t>(count if count else 1), sizeof(Cell))
        if self.cells == NULL:
            raise MemoryError()
        self.column_count = count
        self.maskers = [None] * count
        self.is_clear = True

    def __init__(self, columns):
        cdef Py_ssize_t column
        cdef Cell *cell
        cdef CellMasker masker
        if len(columns) != self.column_count:
            raise ValueError("columns changed while the plan was built")
        for column, mask in enumerate(columns):
            if mask is None:
                continue
            self.is_clear = False
            masker = build_cell(mask)
            self.maskers[column] = masker
            cell = self.cells + column
            if isinstance(masker, PlainMasker):
                cell[0] = (<PlainMasker>masker).cell
                self.growth_max += cell.fixed_size + cell.filler_size + cell.pad_size
            else:
                cell.action = CELL_CODED

    def __dealloc__(self):
        free(self.cells)

    cdef int put_value(
        self, Py_ssize_t column, const uint8_t *value, Py_ssize_t size, OutBuf out
    ) except -1:
        """Append the masked form of one value of a masked column; 1 when it becomes NULL."""
        try:
            return (<CellMasker>self.maskers[column]).put(value, size, out)
        except (ValueError, OverflowError):
            raise FrameError("a value is not one of its type") from None

    cdef int append_coded(
        self, Py_ssize_t column, const uint8_t *value, Py_ssize_t size, OutBuf out
    ) except -1:
        """Append length word and masked value of one cell. The value is never part of an error."""
        cdef Py_ssize_t start = out.size
        cdef uint8_t word[LENGTH_SIZE]
        store_be32(word, NULL_CELL)
        out.append(word, LENGTH_SIZE)
        if self.put_value(column, value, size, out):
            return 0
        if out.size - start - LENGTH_SIZE > 0x7FFFFFFF:
            raise FrameError("masked value exceeds the protocol's length")
        store_be32(out.data + start, <int>(out.size - start - LENGTH_SIZE))
        return 0

    cdef int rewrite(self, const uint8_t *rows, Py_ssize_t size, OutBuf out) except -1:
        """Append the masked form of `rows`, which must be complete DataRow messages."""
        cdef RowCursor row
        cdef RowStatus status
        cdef Py_ssize_t pos = 0, length, start
        cdef Py_ssize_t keep = out.size
        cdef uint8_t *place
        cdef uint8_t *first
        try:
            while pos < size:
                length = load_be32(rows + pos + 1) if size - pos >= HEADER_SIZE + 2 else -1
                if (
                    rows[pos] != DATA_ROW or length < LENGTH_SIZE + 2 or size - pos - 1 < length
                    or load_be16(rows + pos + HEADER_SIZE) != self.column_count
                ):
                    raise FrameError("DataRow does not match its result", pos)
                row.data = rows + pos
                row.size = length + 1
                row.pos = HEADER_SIZE + 2
                row.span = row.column = row.value_size = 0
                start = out.size
                while True:
                    first = out.reserve(row.size - row.span + self.growth_max + 2 * SLACK)
                    place = first
                    status = advance(self.cells, self.column_count, &row, &place)
                    if status == ROW_REFUSED:
                        raise FrameError("DataRow cell lengths do not match the message", pos)
                    out.commit(place - first)
                    if status == ROW_DONE:
                        break
                    self.append_coded(
                        row.column, row.data + row.pos + LENGTH_SIZE, row.value_size, out
                    )
                    row.pos += LENGTH_SIZE + row.value_size
                    row.span = row.pos
                    row.column += 1
                if out.size - start - 1 > 0x7FFFFFFF:
                    raise FrameError("masked DataRow exceeds the protocol's length", pos)
                store_be32(out.data + start + 1, <int>(out.size - start - 1))
                pos += row.size
        except BaseException:
            out.truncate(keep)
            raise
        return 0

    def rewrite_bytes(self, bytes rows not None):
        """`rewrite` for Python callers. Raises FrameError and returns nothing on malformed rows."""
        cdef OutBuf out = OutBuf()
        self.rewrite(rows, len(rows), out)
        return out.take()
