"""Reduce SQL text to its token stream without constants, as PostgreSQL's lexer (scan.l) sees it.

Two texts with one fingerprint differ only in comments, white space, letter case of unquoted ASCII
names, and in the values of string and number constants. A cached decision may therefore be reused,
provided it does not depend on a constant (the analyzer tells). What servers of different versions
lex differently is not judged at all: 0x1F, 1_000, 12abc and the vertical tab changed in 16.
Presumes standard_conforming_strings = on, which the gateway pins.

Output: per token a tag byte below 0x20, then its text; 0x00 ends it. Text of names, operators
and parameters holds no such byte; quoted names end at a double quote that is not doubled.
"""
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp, memcpy

from _fastpath.outbuf cimport OutBuf

cdef enum:
    # Longer texts rarely come twice, and each would cost twice its size in a cache key.
    SQL_SIZE_MAX = 65536
    # PostgreSQL refuses names of 64 bytes. The bound keeps +++... from costing the square of its
    # length, as each + is a token of its own and the run behind it is looked at again.
    OPERATOR_SIZE_MAX = 64

cdef enum Class:
    OTHER, SPACE, LETTER, DIGIT, OPERATOR, SINGLE, QUOTE, DOUBLE_QUOTE, DOLLAR, COLON, DOT

cdef enum Tag:
    END = 0
    NAME = 1
    QUOTED = 2
    UNICODE_QUOTED = 3
    SYMBOL = 4
    PARAM = 5
    STRING = 6                # '', E'' and $$: all of unknown type until resolved
    UNICODE_STRING = 7
    NATIONAL = 8
    BITS = 14
    HEX = 15
    INT4 = 16                 # the three types that make_const gives a number
    INT8 = 17
    NUMERIC = 18

cdef struct Token:
    Tag tag
    Py_ssize_t start          # what of the text is kept: [start, stop)
    Py_ssize_t stop
    Py_ssize_t end            # where the next token may begin

cdef uint8_t CLASSES[256]
cdef uint8_t IN_NAME[256]     # may continue a name
cdef uint8_t FOLDED[256]


cdef int fill_tables() except -1:
    cdef int byte
    for byte in range(256):
        FOLDED[byte] = <uint8_t>(byte + 32 if 65 <= byte <= 90 else byte)
        # Every byte above ASCII is a letter, U+00A0 with its two bytes included.
        if 97 <= FOLDED[byte] <= 122 or byte == 95 or byte >= 128:
            CLASSES[byte] = <uint8_t>LETTER
        elif 48 <= byte <= 57:
            CLASSES[byte] = <uint8_t>DIGIT
        IN_NAME[byte] = <uint8_t>(
            CLASSES[byte] == LETTER or CLASSES[byte] == DIGIT or byte == 36
        )
    for chars, kind in (
        (b" \t\n\r\f", SPACE), (b"~!@#^&|`?+-*/%<>=", OPERATOR), (b",()[];", SINGLE),
        (b"'", QUOTE), (b'"', DOUBLE_QUOTE), (b"$", DOLLAR), (b":", COLON), (b".", DOT),
    ):
        for byte in chars:
            CLASSES[byte] = <uint8_t><int>kind
    return 0


fill_tables()


cdef Py_ssize_t skip_comment(const uint8_t *sql, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    """Return where the comment at `pos` ends, -1 if never; `pos` itself when there is none."""
    cdef Py_ssize_t depth = 0
    if size - pos < 2:
        return pos
    if sql[pos] == c"-" and sql[pos + 1] == c"-":
        while pos < size and sql[pos] != c"\n" and sql[pos] != c"\r":
            pos += 1
        return pos
    if sql[pos] != c"/" or sql[pos + 1] != c"*":
        return pos
    while size - pos >= 2:
        if sql[pos] == c"/" and sql[pos + 1] == c"*":
            depth += 1
            pos += 2
        elif sql[pos] == c"*" and sql[pos + 1] == c"/":
            depth -= 1
            pos += 2
            if depth == 0:
                return pos
        else:
            pos += 1
    return -1


cdef Py_ssize_t quoted_end(
    const uint8_t *sql, Py_ssize_t size, Py_ssize_t pos, uint8_t quote, bint doubles
) noexcept nogil:
    """Return the offset of the quote that ends the text beginning at `pos`, -1 if none does."""
    cdef const uint8_t *found
    while pos < size:
        found = <const uint8_t *>memchr(sql + pos, quote, <size_t>(size - pos))
        if found == NULL:
            return -1
        pos = found - sql
        if not doubles or size - pos < 2 or sql[pos + 1] != quote:
            return pos
        pos += 2
    return -1


cdef Py_ssize_t escaped_end(const uint8_t *sql, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    """`quoted_end` for E'': a backslash takes the next byte with it."""
    while pos < size:
        if sql[pos] == c"\\":
            pos += 2
        elif sql[pos] != c"'":
            pos += 1
        elif size - pos >= 2 and sql[pos + 1] == c"'":
            pos += 2
        else:
            return pos
    return -1


cdef bint scan_string(
    const uint8_t *sql, Py_ssize_t size, Py_ssize_t quote, uint8_t prefix, Token *token
) noexcept nogil:
    """Read the constant whose opening quote is at `quote`; `prefix` is a small letter or 0."""
    cdef Py_ssize_t end
    if prefix == c"e":
        end = escaped_end(sql, size, quote + 1)
    else:
        # B'' and X'' know no doubled quote: B'1''0' is two constants.
        end = quoted_end(sql, size, quote + 1, c"'", prefix != c"b" and prefix != c"x")
    if prefix == c"b":
        token.tag = BITS
    elif prefix == c"x":
        token.tag = HEX
    elif prefix == c"n":
        token.tag = NATIONAL
    elif prefix == c"u":
        token.tag = UNICODE_STRING
    else:
        token.tag = STRING
    token.end = end + 1
    return end >= 0


cdef bint scan_quoted_name(
    const uint8_t *sql, Py_ssize_t size, Py_ssize_t quote, Tag tag, Token *token
) noexcept nogil:
    cdef Py_ssize_t end = quoted_end(sql, size, quote + 1, c'"', True)
    token.tag = tag
    token.start = quote + 1
    token.stop = token.end = end + 1
    return end > quote + 1


cdef bint scan_name(
    const uint8_t *sql, Py_ssize_t size, Py_ssize_t pos, Token *token
) noexcept nogil:
    """Read what begins with a letter: a name, or a constant or quoted name with a prefix."""
    cdef Py_ssize_t end = pos + 1
    cdef uint8_t first = FOLDED[sql[pos]]
    if size - pos >= 2 and sql[pos + 1] == c"'" and (
        first == c"e" or first == c"b" or first == c"x" or first == c"n"
    ):
        return scan_string(sql, size, pos + 1, first, token)
    if first == c"u" and size - pos >= 3 and sql[pos + 1] == c"&":
        if sql[pos + 2] == c"'":
            return scan_string(sql, size, pos + 2, first, token)
        if sql[pos + 2] == c'"':
            return scan_quoted_name(sql, size, pos + 2, UNICODE_QUOTED, token)
    while end < size and IN_NAME[sql[end]]:
        end += 1
    token.tag = NAME
    token.start = pos
    token.stop = token.end = end
    return True


cdef bint scan_dollar(
    const uint8_t *sql, Py_ssize_t size, Py_ssize_t pos, Token *token
) noexcept nogil:
    """Read a parameter or a dollar-quoted constant."""
    cdef Py_ssize_t end = pos + 1, tag_size
    cdef const uint8_t *found
    if end < size and CLASSES[sql[end]] == DIGIT:
        while end < size and CLASSES[sql[end]] == DIGIT:
            end += 1
        token.tag = PARAM
        token.start = pos + 1
        token.stop = token.end = end
        return end == size or CLASSES[sql[end]] != LETTER
    if end < size and CLASSES[sql[end]] == LETTER:
        while end < size and IN_NAME[sql[end]] and sql[end] != c"$":
            end += 1
    if end >= size or sql[end] != c"$":
        return False
    end += 1
    tag_size = end - pos
    token.tag = STRING
    while size - end >= tag_size:
        found = <const uint8_t *>memchr(sql + end, c"$", <size_t>(size - end - tag_size + 1))
        if found == NULL:
            return False
        end = found - sql
        if memcmp(found, sql + pos, <size_t>tag_size) == 0:
            token.end = end + tag_size
            return True
        end += 1
    return False


cdef Py_ssize_t digits_end(const uint8_t *sql, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    while pos < size and CLASSES[sql[pos]] == DIGIT:
        pos += 1
    return pos


cdef Tag integer_tag(const uint8_t *digits, Py_ssize_t size) noexcept nogil:
    """Tell which type PostgreSQL gives a whole number: it decides which function is called."""
    while size > 1 and digits[0] == c"0":
        digits += 1
        size -= 1
    if size < 10 or (size == 10 and memcmp(digits, b"2147483647", 10) <= 0):
        return INT4
    if size < 19 or (size == 19 and memcmp(digits, b"9223372036854775807", 19) <= 0):
        return INT8
    return NUMERIC


cdef bint is_edge(const uint8_t *digits, Py_ssize_t size) noexcept nogil:
    """True for the numbers whose type depends on a minus sign in front of them."""
    while size > 1 and digits[0] == c"0":
        digits += 1
        size -= 1
    return (size == 10 and memcmp(digits, b"2147483648", 10) == 0) or (
        size == 19 and memcmp(digits, b"9223372036854775808", 19) == 0
    )


cdef bint scan_number(
    const uint8_t *sql, Py_ssize_t size, Py_ssize_t pos, Token *token
) noexcept nogil:
    cdef Py_ssize_t end = digits_end(sql, size, pos)
    cdef Py_ssize_t exponent
    token.tag = integer_tag(sql + pos, end - pos)
    # In 1..10 the dots are a token of their own.
    if end < size and sql[end] == c"." and not (size - end >= 2 and sql[end + 1] == c"."):
        token.tag = NUMERIC
        end = digits_end(sql, size, end + 1)
    if end < size and FOLDED[sql[end]] == c"e":
        exponent = end + 1
        if exponent < size and (sql[exponent] == c"+" or sql[exponent] == c"-"):
            exponent += 1
        end = digits_end(sql, size, exponent)
        if end == exponent:
            return False
        token.tag = NUMERIC
    token.end = end
    if is_edge(sql + pos, end - pos):
        return False
    return end == size or CLASSES[sql[end]] != LETTER


cdef Py_ssize_t operator_end(
    const uint8_t *sql, Py_ssize_t size, Py_ssize_t pos
) noexcept nogil:
    """Return where the operator at `pos` ends, -1 when it goes on for too long.

    It ends before a comment, and without a trailing + or - unless it holds a character that no SQL
    operator has.
    """
    cdef Py_ssize_t end = pos + 1
    cdef bint is_special = False
    while end < size and CLASSES[sql[end]] == OPERATOR:
        if end - pos >= OPERATOR_SIZE_MAX:
            return -1
        if size - end >= 2 and (
            (sql[end] == c"-" and sql[end + 1] == c"-")
            or (sql[end] == c"/" and sql[end + 1] == c"*")
        ):
            break
        end += 1
    if end - pos > 1 and (sql[end - 1] == c"+" or sql[end - 1] == c"-"):
        for i in range(pos, end - 1):
            if memchr(b"~!@#^&|`?%", sql[i], 10) != NULL:
                is_special = True
        while not is_special and end - pos > 1 and (
            sql[end - 1] == c"+" or sql[end - 1] == c"-"
        ):
            end -= 1
    return end


cdef bint scan_token(
    const uint8_t *sql, Py_ssize_t size, Py_ssize_t pos, Token *token
) noexcept nogil:
    """Read the token at `pos`, which is neither white space nor a comment."""
    cdef uint8_t kind = CLASSES[sql[pos]]
    cdef uint8_t after = sql[pos + 1] if size - pos >= 2 else 0
    token.start = token.stop = pos
    if kind == LETTER:
        return scan_name(sql, size, pos, token)
    if kind == DIGIT or (kind == DOT and CLASSES[after] == DIGIT):
        return scan_number(sql, size, pos, token)
    if kind == QUOTE:
        return scan_string(sql, size, pos, 0, token)
    if kind == DOUBLE_QUOTE:
        return scan_quoted_name(sql, size, pos, QUOTED, token)
    if kind == DOLLAR:
        return scan_dollar(sql, size, pos, token)
    if kind == OPERATOR:
        token.end = operator_end(sql, size, pos)
    elif kind == SINGLE:
        token.end = pos + 1
    elif kind == DOT:
        token.end = pos + (2 if after == c"." else 1)
    elif kind == COLON:
        token.end = pos + (2 if after == c":" or after == c"=" else 1)
    else:
        return False
    token.tag = SYMBOL
    token.stop = token.end
    return token.end > pos


cdef bint can_follow(const uint8_t *sql, Tag before, const Token *token) noexcept nogil:
    """Refuse pairs whose meaning spans tokens: continued strings, and UESCAPE."""
    cdef Py_ssize_t i
    if before == UNICODE_STRING or before == UNICODE_QUOTED:
        if token.tag == NAME and token.stop - token.start == 7:
            for i in range(7):
                if FOLDED[sql[token.start + i]] != b"uescape"[i]:
                    return True
            return False
    return not (STRING <= before <= HEX and STRING <= token.tag <= HEX)


cdef Py_ssize_t reduce(const uint8_t *sql, Py_ssize_t size, uint8_t *out) noexcept nogil:
    """Write the fingerprint to `out`, which has room for 2 * size + 1; its size, -1 for none."""
    cdef Py_ssize_t pos = 0, past, i
    cdef uint8_t *place = out
    cdef Tag before = END
    cdef Token token
    while pos < size:
        if CLASSES[sql[pos]] == SPACE:
            pos += 1
            continue
        if sql[pos] == c"-" or sql[pos] == c"/":
            past = skip_comment(sql, size, pos)
            if past < 0:
                return -1
            if past > pos:
                pos = past
                continue
        if not scan_token(sql, size, pos, &token) or not can_follow(sql, before, &token):
            return -1
        place[0] = <uint8_t>token.tag
        place += 1
        if token.tag == NAME:
            for i in range(token.start, token.stop):
                place[i - token.start] = FOLDED[sql[i]]
        else:
            memcpy(place, sql + token.start, <size_t>(token.stop - token.start))
        place += token.stop - token.start
        before = token.tag
        pos = token.end
    place[0] = END
    return place + 1 - out


cdef bint is_text(const uint8_t *sql, Py_ssize_t size) noexcept nogil:
    """True for UTF-8 without zero bytes. Overlong forms and surrogates count as broken."""
    cdef Py_ssize_t pos = 0
    cdef uint8_t a, b
    while pos < size:
        a = sql[pos]
        if 0 < a < 0x80:
            pos += 1
            continue
        b = sql[pos + 1] if size - pos >= 2 else 0
        if b & 0xC0 != 0x80:
            return False
        if 0xC2 <= a < 0xE0:
            pos += 2
            continue
        if size - pos < 3 or sql[pos + 2] & 0xC0 != 0x80:
            return False
        if 0xE0 <= a < 0xF0:
            if (a == 0xE0 and b < 0xA0) or (a == 0xED and b >= 0xA0):
                return False
            pos += 3
            continue
        if not 0xF0 <= a < 0xF5 or size - pos < 4 or sql[pos + 3] & 0xC0 != 0x80:
            return False
        if (a == 0xF0 and b < 0x90) or (a == 0xF4 and b >= 0x90):
            return False
        pos += 4
    return True


cdef int fingerprint_into(const uint8_t *sql, Py_ssize_t size, OutBuf out) except -1:
    cdef Py_ssize_t used
    if size < 0 or size > SQL_SIZE_MAX or not is_text(sql, size):
        return 0
    used = reduce(sql, size, out.reserve(2 * size + 1))
    if used < 0:
        return 0
    out.commit(used)
    return 1


def fingerprint(bytes sql not None):
    """Return the fingerprint of `sql`, None when it is not lexed or not judged."""
    cdef OutBuf out = OutBuf()
    return out.take() if fingerprint_into(sql, len(sql), out) else None
