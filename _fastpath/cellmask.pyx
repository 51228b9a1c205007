"""Mask one value: what rows, COPY and arrays share.

A masker is made once per result column. Fixed and partial masks are plain data that the row loop
handles itself; every other kind is a CellMasker with one virtual call per value.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memchr, memcpy, memset

from _fastpath.outbuf cimport OutBuf
from _fastpath.wire cimport LENGTH_SIZE, NULL_CELL, load_be32, store_be32

cdef enum:
    DIMENSIONS_MAX = 6        # MAXDIM of the server
    ARRAY_HEAD_SIZE = 12
    DIMENSION_SIZE = 8


cdef inline Py_ssize_t char_size(const uint8_t *p, Py_ssize_t size) noexcept nogil:
    """Return the size of the UTF-8 character at `p`, 0 when it is not one."""
    cdef Py_ssize_t need, i
    if size < 1:
        return 0
    if p[0] < 0x80:
        return 1
    if 0xC2 <= p[0] < 0xE0:
        need = 2
    elif 0xE0 <= p[0] < 0xF0:
        need = 3
    elif 0xF0 <= p[0] < 0xF5:
        need = 4
    else:
        return 0
    if size < need:
        return 0
    for i in range(1, need):
        if p[i] & 0xC0 != 0x80:
            return 0
    return need


cdef bint find_kept(
    const Cell *cell, const uint8_t *value, Py_ssize_t size, Py_ssize_t *head, Py_ssize_t *tail
) noexcept nogil:
    """Find the sizes of the ends to keep; false when the value must be masked wholly.

    Bytes that are no UTF-8 (a SQL_ASCII database) have no characters to count, so they are masked
    wholly too. Needs 2 * kept characters from the front, so both ends never meet.
    """
    cdef Py_ssize_t pos = 0, count = 0, step, back, _step
    cdef Py_ssize_t need = 2 * (cell.keep_first + cell.keep_last)
    head[0] = 0
    while count < need:
        step = char_size(value + pos, size - pos)
        if step == 0:
            return False
        pos += step
        count += 1
        if count == cell.keep_first:
            head[0] = pos
    pos = size
    for _step in range(cell.keep_last):
        back = 1
        while back < 4 and back < pos and value[pos - back] & 0xC0 == 0x80:
            back += 1
        if back > pos or char_size(value + pos - back, back) != back:
            return False
        pos -= back
    tail[0] = size - pos
    return pos >= head[0]


cdef uint8_t *put_partial(
    const Cell *cell, const uint8_t *value, Py_ssize_t size, uint8_t *place
) noexcept nogil:
    cdef Py_ssize_t head = 0, tail = 0
    cdef uint8_t *start = place
    if cell.strip_blanks:
        while size and value[size - 1] == 0x20:
            size -= 1
    if not find_kept(cell, value, size, &head, &tail):
        memcpy(place, cell.fixed, <size_t>cell.fixed_size)
        return place + cell.fixed_size
    place += LENGTH_SIZE
    memcpy(place, value, <size_t>head)
    place += head
    memcpy(place, cell.filler, <size_t>cell.filler_size)
    place += cell.filler_size
    memcpy(place, value + size - tail, <size_t>tail)
    place += tail
    memset(place, 0x20, <size_t>cell.pad_size)
    place += cell.pad_size
    store_be32(start, <int>(place - start - LENGTH_SIZE))
    return place


cdef class CellMasker:
    """Masks the values of one column. The base class shows nothing."""

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        return 1

    def mask_bytes(self, bytes value not None):
        """`put` for Python callers: the masked value, or None for NULL."""
        cdef OutBuf out = OutBuf()
        if self.put(<const uint8_t *>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), out):
            return None
        return out.take()


cdef class PlainMasker(CellMasker):
    """A fixed replacement, or the ends of the value around a fixed filler (`partial`)."""

    def __init__(
        self, fixed, *, bint is_partial=False, Py_ssize_t keep_first=0, Py_ssize_t keep_last=0,
        bytes filler=b"", Py_ssize_t pad_chars=0, bint strip_blanks=False,
    ):
        length = NULL_CELL if fixed is None else len(fixed)
        cdef bytes stored = length.to_bytes(LENGTH_SIZE, "big", signed=True) + (fixed or b"")
        cdef bytes between = filler + bytes(SLACK)
        self.cell.fixed_size = PyBytes_GET_SIZE(stored)
        stored += bytes(SLACK)
        self.owners = (stored, between)
        self.cell.action = CELL_PARTIAL if is_partial else CELL_FIXED
        self.cell.fixed = <const uint8_t *>PyBytes_AS_STRING(stored)
        if is_partial:
            self.cell.filler = <const uint8_t *>PyBytes_AS_STRING(between)
            self.cell.filler_size = PyBytes_GET_SIZE(filler)
            self.cell.keep_first = keep_first
            self.cell.keep_last = keep_last
            self.cell.strip_blanks = strip_blanks
            self.cell.pad_size = max(
                0, pad_chars - keep_first - keep_last - self.cell.filler_size
            )

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef const Cell *cell = &self.cell
        cdef uint8_t *place
        cdef uint8_t *end
        if cell.action == CELL_FIXED:
            if load_be32(cell.fixed) == NULL_CELL:
                return 1
            out.append(cell.fixed + LENGTH_SIZE, cell.fixed_size - LENGTH_SIZE)
            return 0
        place = out.reserve(size + cell.fixed_size + cell.filler_size + cell.pad_size + SLACK)
        end = put_partial(cell, value, size, place)
        # The length word was written for rows; here the value stands alone.
        memcpy_down(place, end - place - LENGTH_SIZE)
        out.commit(end - place - LENGTH_SIZE)
        return 0


cdef void memcpy_down(uint8_t *place, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        place[i] = place[i + LENGTH_SIZE]


cdef class CallMasker(CellMasker):
    """A kind that is worked out in Python: bytes in, bytes or None out. For rare types."""

    cdef object call

    def __init__(self, call):
        self.call = call

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef bytes shown
        try:
            shown = self.call(PyBytes_FromStringAndSize(<const char *>value, size))
        except (ValueError, OverflowError, ArithmeticError):
            raise ValueError("not a value of its type") from None
        if shown is None:
            return 1
        return out.append(<const uint8_t *><char *>shown, len(shown))


cdef class BinaryArray(CellMasker):
    """Mask each element of an array in binary form (array_send)."""

    cdef CellMasker element

    def __init__(self, CellMasker element not None):
        self.element = element

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef Py_ssize_t begin = out.size, pos, at, dimension, element_size
        cdef Py_ssize_t count = 1, _element
        cdef int32_t dimensions, length
        if size < ARRAY_HEAD_SIZE:
            raise ValueError("array cut short")
        dimensions = load_be32(value)
        if not 0 <= dimensions <= DIMENSIONS_MAX:
            raise ValueError("array with too many dimensions")
        pos = ARRAY_HEAD_SIZE + DIMENSION_SIZE * dimensions
        if size < pos:
            raise ValueError("array cut short")
        for dimension in range(dimensions):
            length = load_be32(value + ARRAY_HEAD_SIZE + DIMENSION_SIZE * dimension)
            # Each element has a length word, so more cannot be there.
            if length < 0 or (length and count > (size - pos) // LENGTH_SIZE // length):
                raise ValueError("array with more elements than bytes")
            count *= length
        if dimensions == 0:
            count = 0
        out.append(value, pos)
        for _element in range(count):
            if size - pos < LENGTH_SIZE:
                raise ValueError("array cut short")
            element_size = load_be32(value + pos)
            pos += LENGTH_SIZE
            at = out.size
            out.append(value + pos - LENGTH_SIZE, LENGTH_SIZE)
            if element_size == NULL_CELL:
                continue
            if element_size < 0 or size - pos < element_size:
                raise ValueError("array element out of bounds")
            if self.element.put(value + pos, element_size, out):
                store_be32(out.data + at, NULL_CELL)
                store_be32(out.data + begin + 4, 1)       # the flag "has NULLs"
            else:
                store_be32(out.data + at, <int32_t>(out.size - at - LENGTH_SIZE))
            pos += element_size
        if pos != size:
            raise ValueError("array has bytes after its last element")
        return 0


cdef class TextArray(CellMasker):
    """Mask each element of an array in text form (array_out); all our types part by commas."""

    cdef CellMasker element
    cdef OutBuf plain
    cdef OutBuf shown

    def __init__(self, CellMasker element not None):
        self.element = element
        self.plain = OutBuf()
        self.shown = OutBuf()

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef Py_ssize_t pos = 0, depth = 0, begin
        cdef const uint8_t *equals
        if size and value[0] == c"[":                     # bounds other than 1
            equals = <const uint8_t *>memchr(value, c"=", <size_t>size)
            if equals == NULL:
                raise ValueError("array without a body")
            pos = equals - value + 1
            out.append(value, pos)
        begin = pos
        while pos < size:
            if pos > begin and depth == 0:
                raise ValueError("array has text behind its end")
            if value[pos] == c"{" or value[pos] == c"}" or value[pos] == c",":
                depth += 1 if value[pos] == c"{" else (-1 if value[pos] == c"}" else 0)
                if depth < 0 or depth > DIMENSIONS_MAX:
                    raise ValueError("array with odd braces")
                out.append(value + pos, 1)
                pos += 1
            else:
                pos = self.put_element(value, pos, size, out)
        if depth != 0 or pos == begin:
            raise ValueError("array cut short")
        return 0

    cdef Py_ssize_t put_element(
        self, const uint8_t *value, Py_ssize_t pos, Py_ssize_t size, OutBuf out
    ) except -1:
        cdef bint is_quoted = value[pos] == c'"'
        cdef Py_ssize_t start = pos
        self.plain.clear()
        self.plain.reserve(SLACK)         # an empty element has an address too
        self.shown.clear()
        self.shown.reserve(SLACK)
        if is_quoted:
            pos += 1
        while True:
            if pos >= size:
                raise ValueError("array element does not end")
            if is_quoted and value[pos] == c'"':
                pos += 1
                break
            if not is_quoted and (value[pos] == c"," or value[pos] == c"}"):
                break
            if value[pos] == c"\\":
                pos += 1
                if pos >= size:
                    raise ValueError("array element does not end")
            self.plain.append(value + pos, 1)
            pos += 1
        if not is_quoted and _is_null(value + start, pos - start):
            out.append(value + start, pos - start)
        elif self.element.put(self.plain.data, self.plain.size, self.shown):
            out.append(b"NULL", 4)
        else:
            _put_quoted(self.shown.data, self.shown.size, out)
        return pos


cdef bint _is_null(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    return (
        size == 4 and (text[0] | 0x20) == c"n" and (text[1] | 0x20) == c"u"
        and (text[2] | 0x20) == c"l" and (text[3] | 0x20) == c"l"
    )


cdef int _put_quoted(const uint8_t *text, Py_ssize_t size, OutBuf out) except -1:
    """Append an element, in quotes where the server would put them."""
    cdef Py_ssize_t i
    cdef uint8_t byte
    cdef bint quoted = size == 0 or _is_null(text, size)
    for i in range(size):
        byte = text[i]
        if (byte == c'"' or byte == c"\\" or byte == c"{" or byte == c"}" or byte == c","
                or byte == c" " or 9 <= byte <= 13):
            quoted = True
            break
    if not quoted:
        return out.append(text, size)
    out.append(b'"', 1)
    for i in range(size):
        if text[i] == c'"' or text[i] == c"\\":
            out.append(b"\\", 1)
        out.append(text + i, 1)
    return out.append(b'"', 1)
