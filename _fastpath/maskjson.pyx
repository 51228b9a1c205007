"""Mask parts of JSON documents: by path, or wherever `scan` finds something.

The document is walked as text and what stays is copied as it stands: numbers keep every digit,
duplicate keys and spacing survive. What is hidden keeps its JSON type. Malformed text, which a
server never sends, raises and shows nothing.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from _fastpath.cellmask cimport SLACK, CellMasker
from _fastpath.outbuf cimport OutBuf
from _fastpath.scan cimport FIND_NONE, WORDS, WORD_SIZES, Finding, find_next

cdef enum:
    DEPTH_MAX = 512
    PATHS_MAX = 64            # one bit each

    MODE_SHOW = 0
    MODE_PATHS = 1            # hide what a path names
    MODE_KEEP = 2             # hide all but what a path names
    MODE_SCAN = 3


cdef class JsonMasker(CellMasker):
    """Walks one document. Not for use from two threads."""

    cdef bint is_versioned    # jsonb_send puts a version byte in front
    cdef int mode
    cdef list paths
    cdef uint64_t all_paths
    cdef const uint8_t *text
    cdef Py_ssize_t size
    cdef Py_ssize_t pos
    cdef Py_ssize_t copied    # everything before it is in `out`
    cdef OutBuf out
    cdef OutBuf scratch

    def __cinit__(self):
        self.scratch = OutBuf()

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        if self.is_versioned:
            if size < 1 or value[0] != 1:
                raise ValueError("jsonb of an unknown version")
            out.append(value, 1)
            value += 1
            size -= 1
        self.text = value
        self.size = size
        self.pos = self.copied = 0
        self.out = out
        try:
            self.walk(0, self.all_paths, self.mode)
            self.blank()
            if self.pos != size:
                raise ValueError("JSON with text behind it")
            return self.flush(size)
        finally:
            self.text = NULL
            self.out = None

    cdef int flush(self, Py_ssize_t end) except -1:
        self.out.append(self.text + self.copied, end - self.copied)
        self.copied = end
        return 0

    cdef int replace(self, Py_ssize_t start, const char *word, Py_ssize_t word_size) except -1:
        """Let `word` stand for what lies between `start` and the walker."""
        self.flush(start)
        self.out.append(<const uint8_t *>word, word_size)
        self.copied = self.pos
        return 0

    cdef void blank(self) noexcept:
        while self.pos < self.size and (
            self.text[self.pos] == c" " or 9 <= self.text[self.pos] <= 13
        ):
            self.pos += 1

    cdef uint8_t next_byte(self) except? 0:
        self.blank()
        if self.pos >= self.size:
            raise ValueError("JSON cut short")
        return self.text[self.pos]

    cdef int walk(self, Py_ssize_t depth, uint64_t alive, int mode) except -1:
        """Pass one value. `alive` are the paths that led here, all of them one step longer."""
        cdef uint8_t first = self.next_byte()
        cdef Py_ssize_t start = self.pos
        if depth > DEPTH_MAX:
            raise ValueError("JSON nested too deeply")
        if first == c"{" or first == c"[":
            if mode == MODE_KEEP and not alive:
                # Nothing below can be kept, and keys may be data too.
                self.walk(depth, 0, MODE_SHOW)
                return self.replace(start, b"{}" if first == c"{" else b"[]", 2)
            return self.walk_members(depth, alive, mode, first == c"{")
        if first == c'"':
            self.pass_string()
            if mode == MODE_SCAN:
                return self.scan_string(start)
            return self.replace(start, b'"[redacted]"', 12) if mode == MODE_KEEP else 0
        while self.pos < self.size and _is_literal(self.text[self.pos]):
            self.pos += 1
        if self.pos == start:
            raise ValueError("not JSON")
        if mode == MODE_KEEP:
            return self.hide_literal(start, first)
        if mode == MODE_SCAN and first != c"t" and first != c"f" and first != c"n":
            return self.scan_number(start)
        return 0

    cdef int hide_literal(self, Py_ssize_t start, uint8_t first) except -1:
        if first == c"n":
            return 0
        if first == c"t" or first == c"f":
            return self.replace(start, b"false", 5)
        return self.replace(start, b"0", 1)

    cdef int walk_members(
        self, Py_ssize_t depth, uint64_t alive, int mode, bint is_object
    ) except -1:
        cdef uint8_t close = c"}" if is_object else c"]"
        cdef uint8_t byte
        cdef Py_ssize_t key
        self.pos += 1
        if self.next_byte() == close:
            self.pos += 1
            return 0
        while True:
            key = -1
            if is_object:
                if self.next_byte() != c'"':
                    raise ValueError("JSON key missing")
                key = self.pos
                self.pass_string()
                if mode == MODE_SCAN:
                    self.scan_string(key)
                elif mode != MODE_SHOW:
                    self.read_key(key)
                if self.next_byte() != c":":
                    raise ValueError("JSON value missing")
                self.pos += 1
            self.walk_member(depth, alive, mode, key >= 0)
            byte = self.next_byte()
            self.pos += 1
            if byte == close:
                return 0
            if byte != c",":
                raise ValueError("JSON comma missing")

    cdef int walk_member(
        self, Py_ssize_t depth, uint64_t alive, int mode, bint has_key
    ) except -1:
        cdef uint64_t further = 0
        cdef bint named
        cdef Py_ssize_t start
        cdef uint8_t first
        if mode == MODE_SHOW or mode == MODE_SCAN:
            return self.walk(depth + 1, 0, mode)
        named = self.advance(depth, alive, has_key, &further)
        if mode == MODE_KEEP:
            return self.walk(depth + 1, further, MODE_SHOW if named else MODE_KEEP)
        if not named:
            return self.walk(depth + 1, further, MODE_PATHS if further else MODE_SHOW)
        first = self.next_byte()
        start = self.pos
        self.walk(depth + 1, 0, MODE_SHOW)
        if first == c"{" or first == c"[":
            return self.replace(start, b"{}" if first == c"{" else b"[]", 2)
        if first == c'"':
            return self.replace(start, b'"[redacted]"', 12)
        return self.hide_literal(start, first)

    cdef bint advance(
        self, Py_ssize_t depth, uint64_t alive, bint has_key, uint64_t *further
    ) except? True:
        """Whether a path ends at this member; `further` are those that go on below it."""
        cdef Py_ssize_t index
        cdef bint named = False
        cdef bytes key
        for index in range(len(self.paths)):
            if not alive >> index & 1:
                continue
            path = self.paths[index]
            step = path[depth]
            if step is not None:
                key = step
                if not has_key or PyBytes_GET_SIZE(key) != self.scratch.size or memcmp(
                    PyBytes_AS_STRING(key), self.scratch.data, <size_t>self.scratch.size
                ) != 0:
                    continue
            if len(path) == depth + 1:
                named = True
            else:
                further[0] |= <uint64_t>1 << index
        return named

    cdef int pass_string(self) except -1:
        self.pos += 1
        while self.pos < self.size:
            if self.text[self.pos] == c'"':
                self.pos += 1
                return 0
            self.pos += 2 if self.text[self.pos] == c"\\" else 1
        raise ValueError("JSON string does not end")

    cdef int read_key(self, Py_ssize_t start) except -1:
        """Decode the string that begins at `start` into `scratch`: keys can hide in escapes."""
        return self.unescape(start + 1, self.pos - 1)

    cdef int unescape(self, Py_ssize_t at, Py_ssize_t end) except -1:
        cdef uint8_t byte
        cdef uint32_t code, low
        self.scratch.clear()
        self.scratch.reserve(SLACK)
        while at < end:
            byte = self.text[at]
            if byte != c"\\":
                self.scratch.append(self.text + at, 1)
                at += 1
                continue
            byte = self.text[at + 1]
            at += 2
            if byte != c"u":
                byte = _ESCAPES(byte)
                self.scratch.append(&byte, 1)
                continue
            code = _hex4(self.text + at, end - at)
            at += 4
            if 0xD800 <= code < 0xDC00 and end - at >= 6 and self.text[at] == c"\\":
                low = _hex4(self.text + at + 2, end - at - 2)
                if 0xDC00 <= low < 0xE000:
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                    at += 6
            _put_utf8(code, self.scratch)
        return 0

    cdef int scan_number(self, Py_ssize_t start) except -1:
        cdef Py_ssize_t found = 0, end = 0
        if find_next(self.text, self.pos, start, &found, &end) == FIND_NONE:
            return 0
        return self.replace(start, b"0", 1)

    cdef int scan_string(self, Py_ssize_t start) except -1:
        """Scrub the string that begins at `start`; the walker stands behind it."""
        cdef Py_ssize_t at, low = 0, high = 0, end = self.pos - 1
        cdef Finding kind
        cdef bint is_escaped = False
        for at in range(start + 1, end):
            if self.text[at] == c"\\":
                is_escaped = True
                break
        if is_escaped:
            return self.scan_escaped(start, end)
        at = start + 1
        while True:
            kind = find_next(self.text, end, at, &low, &high)
            if kind == FIND_NONE:
                return 0
            self.flush(low)
            self.out.append(<const uint8_t *>WORDS[<int>kind], WORD_SIZES[<int>kind])
            self.copied = at = high

    cdef int scan_escaped(self, Py_ssize_t start, Py_ssize_t end) except -1:
        """An escape may stand for any character of a finding, so the string is decoded first."""
        cdef Py_ssize_t at = 0, low = 0, high = 0
        cdef Finding kind
        cdef bint changed = False
        self.unescape(start + 1, end)
        while True:
            kind = find_next(self.scratch.data, self.scratch.size, at, &low, &high)
            if kind == FIND_NONE:
                break
            if not changed:
                self.flush(start + 1)
                changed = True
            _put_escaped(self.scratch.data + at, low - at, self.out)
            self.out.append(<const uint8_t *>WORDS[<int>kind], WORD_SIZES[<int>kind])
            at = high
        if changed:
            _put_escaped(self.scratch.data + at, self.scratch.size - at, self.out)
            self.copied = end
        return 0


cdef inline bint _is_literal(uint8_t c) noexcept nogil:
    return (
        c"0" <= c <= c"9" or c == c"-" or c == c"+" or c == c"."
        or c"a" <= c <= c"z" or c == c"E"
    )


cdef inline uint8_t _ESCAPES(uint8_t c) noexcept nogil:
    if c == c"n":
        return 10
    if c == c"t":
        return 9
    if c == c"r":
        return 13
    if c == c"b":
        return 8
    return 12 if c == c"f" else c


cdef uint32_t _hex4(const uint8_t *text, Py_ssize_t size) except? 0xFFFFFFFF:
    cdef uint32_t code = 0
    cdef Py_ssize_t i
    cdef uint8_t c
    if size < 4:
        raise ValueError("JSON escape cut short")
    for i in range(4):
        c = text[i] | 0x20
        if c"0" <= text[i] <= c"9":
            code = code << 4 | (text[i] - c"0")
        elif c"a" <= c <= c"f":
            code = code << 4 | (c - c"a" + 10)
        else:
            raise ValueError("JSON escape is not hex")
    return code


cdef int _put_utf8(uint32_t code, OutBuf out) except -1:
    cdef uint8_t buf[4]
    if code < 0x80:
        buf[0] = <uint8_t>code
        return out.append(buf, 1)
    if code < 0x800:
        buf[0] = <uint8_t>(0xC0 | code >> 6)
        buf[1] = <uint8_t>(0x80 | (code & 0x3F))
        return out.append(buf, 2)
    if code < 0x10000:
        buf[0] = <uint8_t>(0xE0 | code >> 12)
        buf[1] = <uint8_t>(0x80 | (code >> 6 & 0x3F))
        buf[2] = <uint8_t>(0x80 | (code & 0x3F))
        return out.append(buf, 3)
    buf[0] = <uint8_t>(0xF0 | code >> 18)
    buf[1] = <uint8_t>(0x80 | (code >> 12 & 0x3F))
    buf[2] = <uint8_t>(0x80 | (code >> 6 & 0x3F))
    buf[3] = <uint8_t>(0x80 | (code & 0x3F))
    return out.append(buf, 4)


cdef int _put_escaped(const uint8_t *text, Py_ssize_t size, OutBuf out) except -1:
    cdef Py_ssize_t i
    cdef uint8_t escape[6]
    for i in range(size):
        if text[i] == c'"' or text[i] == c"\\":
            out.append(b"\\", 1)
            out.append(text + i, 1)
        elif text[i] < 0x20:
            escape[0] = c"\\"
            escape[1] = c"u"
            escape[2] = escape[3] = c"0"
            escape[4] = c"0" + (text[i] >> 4)
            escape[5] = (c"0" if text[i] & 15 < 10 else c"a" - 10) + (text[i] & 15)
            out.append(escape, 6)
        else:
            out.append(text + i, 1)
    return 0


cdef class JsonPaths(JsonMasker):
    """Hide the members that `paths` name, or with `keep` all the others."""

    def __init__(self, paths, *, bint keep=False, bint is_versioned=False):
        self.paths = [list(path) for path in paths]
        if len(self.paths) > PATHS_MAX or not all(self.paths):
            raise ValueError(f"want at most {PATHS_MAX} paths, none of them empty")
        self.all_paths = (<uint64_t>-1) >> (64 - len(self.paths)) if self.paths else 0
        self.mode = MODE_KEEP if keep else MODE_PATHS
        self.is_versioned = is_versioned


cdef class JsonScan(JsonMasker):
    """Replace what `scan` finds in strings, keys and numbers."""

    def __init__(self, *, bint is_versioned=False):
        self.paths = []
        self.mode = MODE_SCAN
        self.is_versioned = is_versioned
