"""Find secrets inside free text: cards, SSNs, e-mail, phones, IBANs, JWTs, keys, IP addresses.

One pass with a table look-up per byte; a detector runs only where a token of its kind may begin
and confirms by check digits, ranges or length. Compiled by hand and not by a regular expression
engine: it needs no object per value, no copy, and a check digit is no regular language. A finding
is replaced by a word that is never longer than itself, so a column's width holds.
"""
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from _fastpath.cellmask cimport CellMasker
from _fastpath.outbuf cimport OutBuf
from _fastpath.scannumbers cimport (
    find_card, find_iban, find_ipv4, find_ipv6, find_phone, find_ssn
)

cdef extern from "scanchars.h" nogil:
    enum:
        DIGIT "PN_DIGIT"
        LETTER "PN_LETTER"
        WORD "PN_WORD"
        LOCAL "PN_LOCAL"
        TOKEN "PN_TOKEN"
        HEXDIGIT "PN_HEX"
        START "PN_START"
        KEY_PREFIX_COUNT "PN_KEY_PREFIX_COUNT"
    bint is_a "pn_is"(uint8_t c, int classes)
    ctypedef struct Prefix "pn_key_prefix_t":
        const char *text
        Py_ssize_t size
        Py_ssize_t least
    const Prefix PREFIXES "pn_key_prefixes"[1]

cdef enum:
    LOCAL_SIZE_MAX = 64
    DOMAIN_SIZE_MAX = 253

FINDINGS = ("card", "ssn", "email", "phone", "iban", "jwt", "key", "ip")


cdef Py_ssize_t find_email(
    const uint8_t *text, Py_ssize_t size, Py_ssize_t at, Py_ssize_t low, Py_ssize_t *start
) noexcept nogil:
    """The end of an address around the `@` at `at`; nothing before `low` belongs to it."""
    cdef Py_ssize_t begin = at, pos = at + 1, label = pos, last_dot = -1
    while begin > low and at - begin < LOCAL_SIZE_MAX and is_a(text[begin - 1], LOCAL):
        begin -= 1
    while begin < at and (text[begin] == c"." or text[begin] == c"'"):
        begin += 1
    if begin == at or text[at - 1] == c".":
        return 0
    while pos < size and pos - at <= DOMAIN_SIZE_MAX:
        if is_a(text[pos], WORD) and text[pos] != c"_":
            pos += 1
        elif (
            (text[pos] == c"." or text[pos] == c"-") and pos > label and size - pos > 1
            and is_a(text[pos + 1], WORD) and text[pos + 1] != c"_"
        ):
            if text[pos] == c".":
                last_dot = pos
            pos += 1
            label = pos
        else:
            break
    if last_dot < 0 or pos - last_dot < 3 or is_a(text[last_dot + 1], DIGIT):
        return 0
    start[0] = begin
    return pos


cdef Py_ssize_t token_end(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    while pos < size and is_a(text[pos], TOKEN):
        pos += 1
    return pos


cdef Py_ssize_t find_jwt(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    """Three base64url parts, the first of which begins as `{"` does."""
    cdef Py_ssize_t first, second
    if size - pos < 20 or text[pos] != c"e" or text[pos + 1] != c"y" or text[pos + 2] != c"J":
        return 0
    first = token_end(text, size, pos)
    if first - pos < 10 or size - first < 6 or text[first] != c".":
        return 0
    second = token_end(text, size, first + 1)
    if second - first < 5:
        return 0
    while second < size and text[second] == c".":
        second = token_end(text, size, second + 1)
    return second


cdef Py_ssize_t find_key(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    cdef Py_ssize_t i, end
    for i in range(KEY_PREFIX_COUNT):
        if (
            text[pos] == <uint8_t>PREFIXES[i].text[0]
            and size - pos >= PREFIXES[i].size + PREFIXES[i].least
            and memcmp(text + pos, PREFIXES[i].text, <size_t>PREFIXES[i].size) == 0
        ):
            end = token_end(text, size, pos + PREFIXES[i].size)
            while size - end > 1 and text[end] == c"." and is_a(text[end + 1], TOKEN):
                end = token_end(text, size, end + 1)
            if end - pos >= PREFIXES[i].size + PREFIXES[i].least:
                return end
    return 0


cdef Py_ssize_t find_private_key(
    const uint8_t *text, Py_ssize_t size, Py_ssize_t pos
) noexcept nogil:
    """A PEM block up to its END line; what has lost its end is hidden to the last byte."""
    cdef Py_ssize_t at = pos + 11, line
    if size - pos < 27 or memcmp(text + pos, b"-----BEGIN ", 11) != 0:
        return 0
    line = at
    while line < size and text[line] != c"-" and line - at < 40:
        line += 1
    if line - at < 11 or memcmp(text + line - 11, b"PRIVATE KEY", 11) != 0:
        return 0
    at = line
    while size - at >= 9:
        if text[at] == c"-" and memcmp(text + at, b"-----END ", 9) == 0:
            at += 9
            while at < size and text[at] != c"-":
                at += 1
            while at < size and text[at] == c"-":
                at += 1
            return at
        at += 1
    return size


cdef Finding at_digit(
    const uint8_t *text, Py_ssize_t size, Py_ssize_t pos, Py_ssize_t *end
) noexcept nogil:
    end[0] = find_ssn(text, size, pos)
    if end[0]:
        return FIND_SSN
    end[0] = find_card(text, size, pos)
    if end[0]:
        return FIND_CARD
    end[0] = find_ipv4(text, size, pos)
    if end[0]:
        return FIND_IP
    end[0] = find_phone(text, size, pos)
    return FIND_PHONE if end[0] else FIND_NONE


cdef inline Py_ssize_t word_end(
    const uint8_t *text, Py_ssize_t size, Py_ssize_t pos
) noexcept nogil:
    while pos < size and is_a(text[pos], WORD):
        pos += 1
    return pos


cdef inline bint is_long(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    """Whether enough token characters follow for the shortest beginning of a key or JWT."""
    cdef Py_ssize_t i
    if size - pos < 20:
        return False
    for i in range(2, 10):
        if not is_a(text[pos + i], TOKEN):
            return i == 2 and text[pos + 2] == c"."       # "SG."
    return True


cdef inline bint has_colon(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    cdef Py_ssize_t i, end = size - pos if size - pos < 5 else 5
    for i in range(end):
        if text[pos + i] == c":":
            return True
    return False


cdef Finding at_letter(
    const uint8_t *text, Py_ssize_t size, Py_ssize_t pos, Py_ssize_t *end, uint8_t before
) noexcept nogil:
    # Only where a run of token characters begins: each is then read once, however long.
    if not is_a(before, TOKEN) and is_long(text, size, pos):
        end[0] = find_jwt(text, size, pos)
        if end[0]:
            return FIND_JWT
        end[0] = find_key(text, size, pos)
        if end[0]:
            return FIND_KEY
    if size - pos < 15 or not is_a(text[pos + 2], DIGIT):
        return FIND_NONE
    end[0] = find_iban(text, size, pos)
    return FIND_IBAN if end[0] else FIND_NONE


cdef Finding find_next(
    const uint8_t *text, Py_ssize_t size, Py_ssize_t pos, Py_ssize_t *start, Py_ssize_t *end
) noexcept nogil:
    cdef Py_ssize_t low = pos, found
    cdef Finding kind
    cdef uint8_t c, before
    while pos < size:
        c = text[pos]
        if not is_a(c, START):
            pos += 1
            continue
        kind = FIND_NONE
        before = text[pos - 1] if pos > low else c" "
        found = 0
        if c == c"@":
            found = find_email(text, size, pos, low, start)
            if found:
                end[0] = found
                return FIND_EMAIL
        elif c == c"-":
            found = find_private_key(text, size, pos) if before != c"-" else 0
            kind = FIND_KEY
        elif is_a(before, WORD):
            # Inside a word nothing begins; to its end there is only an address to find.
            pos = word_end(text, size, pos + 1) if is_a(c, WORD) else pos + 1
            continue
        elif c == c"+" or c == c"(":
            found = find_phone(text, size, pos)
            kind = FIND_PHONE
        elif c == c":" or is_a(c, HEXDIGIT):
            if before != c":" and has_colon(text, size, pos):
                found = find_ipv6(text, size, pos)
            kind = FIND_IP
        if not found and is_a(c, DIGIT) and not (before == c"." or before == c"+"):
            kind = at_digit(text, size, pos, &found)
        elif not found and is_a(c, LETTER):
            kind = at_letter(text, size, pos, &found, before)
        if found and kind != FIND_NONE:
            start[0] = pos
            end[0] = found
            # An address may begin with what looks like a number: the longer one is meant.
            if found < size and text[found] == c"@":
                pos = found
                continue
            return kind
        pos = word_end(text, size, pos + 1) if is_a(c, WORD) else pos + 1
    return FIND_NONE


cdef Py_ssize_t scrub(const uint8_t *text, Py_ssize_t size, OutBuf out) except -1:
    cdef Py_ssize_t pos = 0, start = 0, end = 0, count = 0
    cdef Finding kind
    while True:
        kind = find_next(text, size, pos, &start, &end)
        if kind == FIND_NONE:
            break
        out.append(text + pos, start - pos)
        out.append(<const uint8_t *>WORDS[<int>kind], WORD_SIZES[<int>kind])
        pos = end
        count += 1
    out.append(text + pos, size - pos)
    return count


cdef class TextScan(CellMasker):
    """Replace what is found in a text; the rest stays."""

    cdef Py_ssize_t pad_chars

    def __init__(self, *, Py_ssize_t pad_chars=0):
        self.pad_chars = pad_chars

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef Py_ssize_t before = out.size, lost
        if scrub(value, size, out) and self.pad_chars:
            # A char(n) keeps its width: a finding is ASCII mostly, and blanks are not significant.
            lost = size - (out.size - before)
            while lost > 0:
                out.append(b" ", 1)
                lost -= 1
        return 0


def find_all(bytes text not None):
    """Return (kind, start, end) of every finding: the names of `FINDINGS`, never the text."""
    cdef const uint8_t *data = text
    cdef Py_ssize_t size = len(text), pos = 0, start = 0, end = 0
    cdef Finding kind
    found = []
    while True:
        kind = find_next(data, size, pos, &start, &end)
        if kind == FIND_NONE:
            return found
        found.append((FINDINGS[<int>kind], start, end))
        pos = end
