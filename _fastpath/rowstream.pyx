"""Mask one huge DataRow as it comes, without holding it.

A row's length goes first, so nothing can leave before the length of every masked cell is known:
up to the last masked column the masked row is held, and from there on the rest streams. A large
clear column in front of it is therefore held, up to HELD_MAX; one behind it, or a masked one with a
fixed replacement, costs nothing.
"""
from libc.stdint cimport uint8_t

from _fastpath.cellmask cimport CELL_CLEAR, CELL_FIXED
from _fastpath.datarow cimport MaskPlan
from _fastpath.outbuf cimport OutBuf
from _fastpath.wire cimport (
    DATA_ROW, HEADER_SIZE, LENGTH_SIZE, NULL_CELL, load_be16, load_be32, store_be32
)

from _fastpath.errors import FrameError

cdef enum:
    AT_COUNT = 0
    AT_LENGTH = 1
    IN_CELL = 2
    AT_END = 3

    HELD_MAX = 0x8000000


cdef class RowStream:
    """One row of `size` payload bytes, masked by `plan`."""

    def __init__(self, MaskPlan plan not None, Py_ssize_t size):
        cdef uint8_t header[HEADER_SIZE]
        cdef Py_ssize_t column
        self.plan = plan
        self.left_in_row = size
        self.last_masked = -1
        for column in range(plan.column_count):
            if plan.cells[column].action != CELL_CLEAR:
                self.last_masked = column
        self.held = OutBuf()
        self.cell = OutBuf()
        header[0] = DATA_ROW
        store_be32(header + 1, 0)
        self.held.append(header, HEADER_SIZE)

    cdef int feed(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1:
        cdef Py_ssize_t pos = 0, used
        while pos < size:
            used = self.step(data + pos, size - pos, out)
            pos += used
        if self.left_in_row == 0 and self.state != AT_END:
            raise FrameError("DataRow cell lengths do not match the message")
        return 0

    cdef Py_ssize_t step(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1:
        """Take bytes up to the next boundary of the format; return how many."""
        cdef Py_ssize_t wanted, i
        if self.state == AT_END or size > self.left_in_row:
            raise FrameError("DataRow goes on behind its last cell")
        if self.state == IN_CELL:
            wanted = min(size, self.left_in_cell)
            self.left_in_row -= wanted
            self.left_in_cell -= wanted
            if self.plan.cells[self.column].action == CELL_CLEAR:
                self.put(data, wanted, out)
            elif self.plan.cells[self.column].action != CELL_FIXED:
                if self.cell.size + wanted > HELD_MAX:
                    raise FrameError("a masked value is larger than is held", limit=HELD_MAX)
                self.cell.append(data, wanted)
            if self.left_in_cell == 0:
                self.end_cell(out)
            return wanted
        wanted = min(size, (2 if self.state == AT_COUNT else LENGTH_SIZE) - self.part_size)
        for i in range(wanted):
            self.part[self.part_size + i] = data[i]
        self.part_size += wanted
        self.left_in_row -= wanted
        if self.state == AT_COUNT:
            if self.part_size == 2:
                if load_be16(self.part) != self.plan.column_count:
                    raise FrameError("DataRow does not match its result")
                self.put(self.part, 2, out)
                self.column = -1
                self.next_column(out)
        elif self.part_size == LENGTH_SIZE:
            self.begin_cell(out)
        return wanted

    cdef int begin_cell(self, OutBuf out) except -1:
        self.left_in_cell = load_be32(self.part)
        if self.left_in_cell < NULL_CELL or self.left_in_cell > self.left_in_row:
            raise FrameError("DataRow cell lengths do not match the message")
        if self.left_in_cell == NULL_CELL or (
            self.plan.cells[self.column].action == CELL_CLEAR
        ):
            self.put(self.part, LENGTH_SIZE, out)
        self.state = IN_CELL
        if self.left_in_cell == NULL_CELL:
            return self.next_column(out)
        return 0 if self.left_in_cell else self.end_cell(out)

    cdef int end_cell(self, OutBuf out) except -1:
        if self.plan.cells[self.column].action != CELL_CLEAR:
            self.cell.reserve(1)
            self.plan.append_coded(self.column, self.cell.data, self.cell.size, self.held)
            self.cell.clear()
        return self.next_column(out)

    cdef int next_column(self, OutBuf out) except -1:
        cdef Py_ssize_t length
        self.column += 1
        self.part_size = 0
        self.state = AT_LENGTH if self.column < self.plan.column_count else AT_END
        if not self.released and self.column > self.last_masked:
            length = self.held.size - 1 + self.left_in_row
            if length > 0x7FFFFFFF:
                raise FrameError("masked DataRow exceeds the protocol's length")
            store_be32(self.held.data + 1, <int>length)
            out.append(self.held.data, self.held.size)
            self.held.clear()
            self.released = True
        return 0

    cdef int put(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1:
        if self.released:
            return out.append(data, size)
        if self.held.size + size > HELD_MAX:
            raise FrameError("a row is larger than is held before its last masked column",
                             limit=HELD_MAX)
        return self.held.append(data, size)

    def feed_bytes(self, bytes data not None):
        """`feed` for Python callers: what can be sent now."""
        cdef OutBuf out = OutBuf()
        self.feed(data, len(data), out)
        return out.take()
