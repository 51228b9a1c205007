"""Mask the columns of COPY TO STDOUT in its three formats, text, csv and binary.

A stream: CopyData may cut a row anywhere, so the place within row, cell, quotes and escapes is
kept between calls. A row goes out as one CopyData message, as the server sends it; one larger
than PART_SIZE goes out in parts, so that memory stays bounded. Only a masked cell is held until it
is complete, and of one with a fixed replacement not even that.

What the server would never write (a quote in the middle of a cell, a wrong number of columns) is
refused rather than guessed at.
"""
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from _fastpath.cellmask cimport CELL_CLEAR, CELL_FIXED
from _fastpath.datarow cimport MaskPlan
from _fastpath.outbuf cimport OutBuf
from _fastpath.wire cimport HEADER_SIZE, LENGTH_SIZE, NULL_CELL, load_be16, load_be32, store_be32

from _fastpath.errors import FrameError

cdef enum:
    FORM_TEXT = 0
    FORM_CSV = 1
    FORM_BINARY = 2

    # text and csv
    AT_CELL = 0               # nothing of the cell has come
    IN_CELL = 1
    ESCAPED = 2               # behind an escape character
    IN_QUOTES = 3
    QUOTE_SEEN = 4            # the end of the quotes, or the first of a doubled quote

    # binary
    IN_SIGNATURE = 10
    IN_EXTENSION = 11
    AT_TUPLE = 12
    AT_FIELD = 13
    IN_FIELD = 14
    AT_END = 15

    PART_SIZE = 65536
    CELL_SIZE_MAX = 0x8000000     # of a masked cell that must be whole to be masked
    SIGNATURE_SIZE = 19       # with the flags and the extension's length
    FLAG_OIDS = 0x10000

cdef const uint8_t *SIGNATURE = <const uint8_t *>b"PGCOPY\n\xff\r\n\0"

FORMS = {"text": FORM_TEXT, "csv": FORM_CSV, "binary": FORM_BINARY}


cdef class CopyOut:
    """Masks one COPY. `force_quote` has an entry per column; text and binary ignore it."""

    def __init__(
        self, MaskPlan plan not None, str form not None, *, bytes delimiter=b"\t",
        bytes null=b"\\N", bytes quote=b'"', bytes escape=b'"', bint header=False, force_quote=(),
    ):
        if len(delimiter) != 1 or len(quote) != 1 or len(escape) != 1:
            raise ValueError("delimiter, quote and escape are single bytes")
        self.plan = plan
        self.form = FORMS[form]
        self.delimiter, self.quote, self.escape = delimiter[0], quote[0], escape[0]
        self.null = null
        self.force_quote = bytes(
            1 if column < len(force_quote) and force_quote[column] else 0
            for column in range(plan.column_count)
        )
        self.in_header = header and self.form != FORM_BINARY
        self.state = IN_SIGNATURE if self.form == FORM_BINARY else AT_CELL
        self.row = OutBuf()
        self.cell = OutBuf()
        self.plain = OutBuf()
        self.shown = OutBuf()

    cdef int feed(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1:
        cdef Py_ssize_t pos = 0
        while pos < size:
            if self.form == FORM_TEXT:
                pos += self.feed_text(data + pos, size - pos, out)
            elif self.form == FORM_CSV:
                pos += self.feed_csv(data + pos, size - pos, out)
            else:
                pos += self.feed_binary(data + pos, size - pos, out)
        return 0

    cdef int finish(self, OutBuf out) except -1:
        if self.form == FORM_BINARY:
            if self.state != AT_END:
                raise FrameError("COPY ended without its trailer")
        elif self.state != AT_CELL or self.column or self.row.size:
            raise FrameError("COPY ended within a row")
        return self.emit(out)

    cdef int emit(self, OutBuf out) except -1:
        """Send what the row has so far as one CopyData message."""
        cdef uint8_t head[HEADER_SIZE]
        if self.row.size == 0:
            return 0
        head[0] = c"d"
        store_be32(head + 1, <int>(self.row.size + LENGTH_SIZE))
        out.append(head, HEADER_SIZE)
        out.append(self.row.data, self.row.size)
        self.row.clear()
        return 0

    cdef bint is_masked(self) noexcept:
        return not self.in_header and self.plan.cells[self.column].action != CELL_CLEAR

    cdef int take(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1:
        """Keep raw bytes of the cell: straight to the row where it is clear."""
        cdef Py_ssize_t wanted
        if self.is_masked():
            if self.plan.cells[self.column].action == CELL_FIXED:
                # Enough to tell a NULL from a value; the rest makes no difference.
                wanted = len(self.null) + 1 - self.cell.size
                size = min(size, max(wanted, 0))
            elif self.cell.size + size > CELL_SIZE_MAX:
                raise FrameError("a masked value of COPY is too large", limit=CELL_SIZE_MAX)
            return self.cell.append(data, size)
        self.row.append(data, size)
        return self.emit(out) if self.row.size >= PART_SIZE else 0

    # --- text -----------------------------------------------------------------------------

    cdef Py_ssize_t feed_text(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1:
        """Take the bytes of one cell; return how many."""
        cdef Py_ssize_t pos = 0
        cdef uint8_t byte
        if self.state == ESCAPED:
            self.state = IN_CELL
            pos = 1
        while pos < size:
            byte = data[pos]
            if byte == c"\\":
                self.state = IN_CELL
                if size - pos < 2:
                    self.state = ESCAPED
                    pos = size
                    break
                pos += 2
            elif byte == self.delimiter or byte == c"\n":
                self.take(data, pos, out)
                self.end_cell(byte, out)
                return pos + 1
            else:
                self.state = IN_CELL
                pos += 1
        self.take(data, pos, out)
        return pos

    # --- csv ------------------------------------------------------------------------------

    cdef Py_ssize_t feed_csv(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1:
        cdef Py_ssize_t pos = 0
        cdef uint8_t byte
        while pos < size:
            byte = data[pos]
            if self.state == ESCAPED:
                self.state = IN_QUOTES
            elif self.state == IN_QUOTES:
                if byte == self.quote:
                    self.state = QUOTE_SEEN
                elif byte == self.escape:
                    self.state = ESCAPED
            elif byte == self.delimiter or byte == c"\n":
                self.take(data, pos, out)
                self.end_cell(byte, out)
                return pos + 1
            elif byte == self.quote:
                if self.state == AT_CELL:
                    self.was_quoted = True
                elif self.state != QUOTE_SEEN or self.escape != self.quote:
                    raise FrameError("a quote within a csv cell")
                self.state = IN_QUOTES
            elif self.state == QUOTE_SEEN:
                raise FrameError("text behind the quotes of a csv cell")
            else:
                self.state = IN_CELL
            pos += 1
        self.take(data, pos, out)
        return pos

    # --- cells of text and csv ------------------------------------------------------------

    cdef int end_cell(self, uint8_t end, OutBuf out) except -1:
        cdef bint ends_row = end == c"\n"
        if ends_row != (self.column + 1 == self.plan.column_count):
            raise FrameError("a row of COPY has another number of columns")
        if self.is_masked():
            self.put_cell()
        self.row.append(&end, 1)
        self.state = AT_CELL
        self.was_quoted = False
        self.cell.clear()
        self.column += 1
        if ends_row:
            self.column = 0
            self.in_header = False
            self.emit(out)
        return 0

    cdef bint is_null(self) noexcept:
        cdef Py_ssize_t size = len(self.null)
        return not self.was_quoted and self.cell.size == size and (
            size == 0 or memcmp(self.cell.data, <char *>self.null, <size_t>size) == 0
        )

    cdef int put_cell(self) except -1:
        cdef const uint8_t *null = <const uint8_t *><char *>self.null
        if self.is_null():
            return self.row.append(null, len(self.null))
        self.plain.clear()
        self.plain.reserve(self.cell.size + 1)
        if self.plan.cells[self.column].action != CELL_FIXED:
            if self.form == FORM_CSV:
                self.unescape_csv()
            else:
                self.unescape_text()
        self.shown.clear()
        if self.plan.put_value(self.column, self.plain.data, self.plain.size, self.shown):
            return self.row.append(null, len(self.null))
        return self.escape_csv() if self.form == FORM_CSV else self.escape_text()

    cdef int unescape_text(self) except -1:
        """Undo CopyAttributeOutText; octal and hex escapes are never written by the server."""
        cdef const uint8_t *raw = self.cell.data
        cdef Py_ssize_t pos = 0, used = 0
        cdef uint8_t *place = self.plain.reserve(self.cell.size + 1)
        cdef uint8_t byte
        while pos < self.cell.size:
            byte = raw[pos]
            pos += 1
            if byte == c"\\" and pos < self.cell.size:
                byte = raw[pos]
                pos += 1
                if byte == c"n":
                    byte = 10
                elif byte == c"t":
                    byte = 9
                elif byte == c"r":
                    byte = 13
                elif byte == c"b":
                    byte = 8
                elif byte == c"f":
                    byte = 12
                elif byte == c"v":
                    byte = 11
            place[used] = byte
            used += 1
        return self.plain.commit(used)

    cdef int unescape_csv(self) except -1:
        cdef const uint8_t *raw = self.cell.data
        cdef Py_ssize_t pos = 1, used = 0, end = self.cell.size - 1
        cdef uint8_t *place
        if not self.was_quoted:
            return self.plain.append(raw, self.cell.size)
        place = self.plain.reserve(self.cell.size + 1)
        while pos < end:
            if raw[pos] == self.escape and pos + 1 < end:
                pos += 1
            place[used] = raw[pos]
            used += 1
            pos += 1
        return self.plain.commit(used)

    cdef int escape_text(self) except -1:
        cdef Py_ssize_t i
        cdef uint8_t pair[2]
        cdef uint8_t byte
        pair[0] = c"\\"
        for i in range(self.shown.size):
            byte = self.shown.data[i]
            pair[1] = 0
            if byte == c"\\" or byte == self.delimiter:
                pair[1] = byte
            elif 8 <= byte <= 13:
                pair[1] = b"btnvfr"[byte - 8]
            if pair[1]:
                self.row.append(pair, 2)
            else:
                self.row.append(&byte, 1)
        return 0

    cdef int escape_csv(self) except -1:
        """Quote as CopyAttributeOutCSV does: where asked to, and where it would be misread."""
        cdef const uint8_t *text = self.shown.data
        cdef Py_ssize_t size = self.shown.size, i
        cdef bint quoted = <uint8_t>self.force_quote[self.column] != 0
        if not quoted and size == len(self.null):
            quoted = size == 0 or memcmp(text, <char *>self.null, <size_t>size) == 0
        if not quoted and self.plan.column_count == 1 and size == 2:
            quoted = text[0] == c"\\" and text[1] == c"."
        for i in range(size):
            if quoted:
                break
            quoted = (
                text[i] == self.delimiter or text[i] == self.quote or text[i] == c"\n"
                or text[i] == c"\r"
            )
        if not quoted:
            return self.row.append(text, size)
        self.row.append(&self.quote, 1)
        for i in range(size):
            if text[i] == self.quote or text[i] == self.escape:
                self.row.append(&self.escape, 1)
            self.row.append(text + i, 1)
        return self.row.append(&self.quote, 1)

    # --- binary ---------------------------------------------------------------------------

    cdef Py_ssize_t feed_binary(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1:
        """Take bytes up to the next boundary of the format; return how many."""
        cdef Py_ssize_t wanted
        if self.state == AT_END:
            raise FrameError("COPY goes on behind its trailer")
        if self.state == IN_FIELD or self.state == IN_EXTENSION:
            wanted = min(size, self.left)
            if self.state == IN_FIELD and self.is_masked():
                if self.plan.cells[self.column].action != CELL_FIXED:
                    self.cell.append(data, wanted)
            else:
                self.row.append(data, wanted)
                if self.row.size >= PART_SIZE:
                    self.emit(out)
            self.left -= wanted
            if self.left == 0:
                if self.state == IN_FIELD:
                    self.end_field()
                    self.next_field(out)
                else:
                    self.state = AT_TUPLE
            return wanted
        # The fixed-size parts are collected in `cell`, which no field uses meanwhile.
        wanted = SIGNATURE_SIZE if self.state == IN_SIGNATURE else (
            2 if self.state == AT_TUPLE else LENGTH_SIZE
        )
        wanted = min(size, wanted - self.cell.size)
        self.cell.append(data, wanted)
        self.begin_field(out)
        return wanted

    cdef int begin_field(self, OutBuf out) except -1:
        """Act on a fixed-size part once it is complete."""
        cdef const uint8_t *part = self.cell.data
        if self.state == IN_SIGNATURE:
            if self.cell.size < SIGNATURE_SIZE:
                return 0
            self.left = load_be32(part + 15)
            if memcmp(part, SIGNATURE, 11) != 0 or load_be32(part + 11) & FLAG_OIDS:
                raise FrameError("not the binary format of COPY")
            if self.left < 0:
                raise FrameError("COPY header with a negative length")
            self.row.append(part, SIGNATURE_SIZE)
            self.state = IN_EXTENSION if self.left else AT_TUPLE
        elif self.state == AT_TUPLE:
            if self.cell.size < 2:
                return 0
            self.row.append(part, 2)
            if load_be16(part) == -1:
                self.state = AT_END
                self.emit(out)
            elif load_be16(part) != self.plan.column_count:
                raise FrameError("a row of COPY has another number of columns")
            else:
                self.column = -1
                self.next_field(out)
        else:
            if self.cell.size < LENGTH_SIZE:
                return 0
            self.left = load_be32(part)
            if self.left < NULL_CELL or (
                self.is_masked() and self.plan.cells[self.column].action != CELL_FIXED
                and self.left > CELL_SIZE_MAX
            ):
                raise FrameError("a field of COPY has an impossible length")
            if self.left == NULL_CELL or not self.is_masked():
                self.row.append(part, LENGTH_SIZE)
            self.cell.clear()
            if self.left == NULL_CELL:
                self.next_field(out)
            elif self.left == 0:
                self.end_field()
                self.next_field(out)
            else:
                self.state = IN_FIELD
        self.cell.clear()
        return 0

    cdef int end_field(self) except -1:
        cdef uint8_t word[LENGTH_SIZE]
        if not self.is_masked():
            return 0
        self.shown.clear()
        self.cell.reserve(1)
        if self.plan.put_value(self.column, self.cell.data, self.cell.size, self.shown):
            store_be32(word, NULL_CELL)
        else:
            store_be32(word, <int>self.shown.size)
        self.row.append(word, LENGTH_SIZE)
        self.row.append(self.shown.data, self.shown.size)
        self.cell.clear()
        return 0

    cdef int next_field(self, OutBuf out) except -1:
        self.column += 1
        self.state = AT_FIELD
        if self.column == self.plan.column_count:
            self.column = 0
            self.state = AT_TUPLE
            self.emit(out)
        return 0

    def feed_bytes(self, bytes payload not None):
        """`feed` for Python callers: the CopyData messages that can be sent."""
        cdef OutBuf out = OutBuf()
        self.feed(payload, len(payload), out)
        return out.take()

    def finish_bytes(self):
        """`finish` for Python callers."""
        cdef OutBuf out = OutBuf()
        self.finish(out)
        return out.take()
