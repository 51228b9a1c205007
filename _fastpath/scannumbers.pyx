"""Numbers that mean something: cards, SSNs, phones, IP addresses, IBANs. For `scan`.

Each function says where such a number that begins at `pos` ends, or 0. What a check digit or a
range rules out is none, and a number without either needs a word before it that explains it.
"""
from libc.stdint cimport uint8_t

cdef extern from "scanchars.h" nogil:
    enum:
        DIGIT "PN_DIGIT"
        LETTER "PN_LETTER"
        WORD "PN_WORD"
        LOCAL "PN_LOCAL"
        TOKEN "PN_TOKEN"
        HEXDIGIT "PN_HEX"
        START "PN_START"
    bint is_a "pn_is"(uint8_t c, int classes)

cdef enum:
    CARD_DIGITS_MAX = 19
    CONTEXT_SIZE = 24         # how far before a number a word may explain it

    TOPIC_SSN = 0
    TOPIC_PHONE = 1
    TOPIC_VERSION = 2


cdef inline bint ends_word(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    return pos >= size or not is_a(text[pos], WORD)


cdef inline bint is_word(
    const uint8_t *text, Py_ssize_t size, const char *word, Py_ssize_t word_size
) noexcept nogil:
    """Whether `text` begins with `word`, which is in lower case."""
    cdef Py_ssize_t i
    if size < word_size:
        return False
    for i in range(word_size):
        if (text[i] | 0x20) != <uint8_t>word[i]:
            return False
    return True


cdef bint explains(const uint8_t *text, Py_ssize_t pos, int topic) noexcept nogil:
    """Whether a word of the topic stands shortly before `pos`. One pass over those bytes."""
    cdef Py_ssize_t at = pos - CONTEXT_SIZE if pos > CONTEXT_SIZE else 0
    cdef const uint8_t *word
    cdef Py_ssize_t size
    while at < pos:
        # A word behind a bracket is one of ours, from an earlier pass.
        if not is_a(text[at], LETTER) or (
            at > 0 and (is_a(text[at - 1], LETTER) or text[at - 1] == c"[")
        ):
            at += 1
            continue
        word = text + at
        size = pos - at
        if topic == TOPIC_PHONE and (
            is_word(word, size, b"phone", 5) or is_word(word, size, b"tel", 3)
            or is_word(word, size, b"mobile", 6) or is_word(word, size, b"fax", 3)
            or is_word(word, size, b"call", 4) or is_word(word, size, b"cell", 4)
        ):
            return True
        if topic == TOPIC_SSN and (
            is_word(word, size, b"ssn", 3) or is_word(word, size, b"social security", 15)
        ):
            return True
        if topic == TOPIC_VERSION and (
            is_word(word, size, b"version", 7) or is_word(word, size, b"release", 7)
        ):
            return True
        at += 1
    return False


cdef Py_ssize_t read_digits(
    const uint8_t *text, Py_ssize_t size, Py_ssize_t pos, uint8_t *digits, Py_ssize_t most,
    Py_ssize_t *ends, Py_ssize_t *groups
) noexcept nogil:
    """Read digits with single blanks, dashes or dots between; `ends[n]` is where n digits end."""
    cdef Py_ssize_t count = 0
    groups[0] = 1
    while pos < size:
        if is_a(text[pos], DIGIT):
            if count == most:
                return most + 1
            digits[count] = text[pos] - c"0"
            count += 1
            pos += 1
            ends[count] = pos
        elif (
            count and size - pos > 1 and is_a(text[pos + 1], DIGIT)
            and (text[pos] == c" " or text[pos] == c"-" or text[pos] == c".")
        ):
            groups[0] += 1
            pos += 1
        else:
            break
    return count


cdef bint luhn(const uint8_t *digits, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    cdef int total = 0, digit
    for i in range(count):
        digit = digits[count - 1 - i]
        if i & 1:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total % 10 == 0


cdef bint is_issued(const uint8_t *d, Py_ssize_t count) noexcept nogil:
    """Whether a card number of this length may begin so (ISO/IEC 7812 ranges in use)."""
    cdef int two = d[0] * 10 + d[1]
    cdef int four = two * 100 + d[2] * 10 + d[3]
    if d[0] == 4:
        return count == 13 or count == 16 or count == 19
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return count == 16
    if two == 34 or two == 37:
        return count == 15
    if two == 36 or two == 38 or two == 39 or 3000 <= four <= 3059:
        return count == 14 or count == 16
    if 3528 <= four <= 3589:
        return count == 16
    if four == 6011 or two == 65 or 6440 <= four <= 6499 or two == 62 or two == 60:
        return 16 <= count <= 19
    return (two == 50 or 56 <= two <= 58 or two == 67 or two == 63) and 12 <= count <= 19


cdef Py_ssize_t find_card(
    const uint8_t *text, Py_ssize_t size, Py_ssize_t pos
) noexcept nogil:
    """The end of a card number that begins at `pos`, or 0."""
    cdef uint8_t digits[CARD_DIGITS_MAX]
    cdef Py_ssize_t ends[CARD_DIGITS_MAX + 1]
    cdef Py_ssize_t groups = 0, count, length
    count = read_digits(text, size, pos, digits, CARD_DIGITS_MAX, ends, &groups)
    if count > CARD_DIGITS_MAX and groups == 1:
        return 0
    length = CARD_DIGITS_MAX if count > CARD_DIGITS_MAX else count
    # A date or a CVC may follow after a blank: the longest prefix of whole groups that checks.
    while length >= 12:
        if (length == count or not is_a(text[ends[length]], DIGIT)) and (
            is_issued(digits, length) and luhn(digits, length)
            and ends_word(text, size, ends[length])
        ):
            return ends[length]
        length -= 1
    return 0


cdef Py_ssize_t find_ssn(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    cdef uint8_t digits[10]
    cdef Py_ssize_t ends[11]
    cdef Py_ssize_t groups = 0, i
    cdef int area, group, serial
    if read_digits(text, size, pos, digits, 9, ends, &groups) < 9:
        return 0
    if not ends_word(text, size, ends[9]) and not is_a(text[ends[9] - 1], DIGIT):
        return 0
    if groups >= 3:
        # ddd-dd-dddd with one kind of separator and nothing numeric behind.
        if ends[3] != pos + 3 or ends[5] != pos + 6 or ends[9] != pos + 11:
            return 0
        if text[pos + 3] != text[pos + 6] or text[pos + 3] == c".":
            return 0
        if not ends_word(text, size, ends[9]) or (
            size - ends[9] > 1 and text[ends[9]] == c"-" and is_a(text[ends[9] + 1], DIGIT)
        ):
            return 0
    elif groups != 1 or not ends_word(text, size, ends[9]) or not (
        explains(text, pos, TOPIC_SSN)
    ):
        return 0
    for i in range(9):
        if digits[i] > 9:
            return 0
    area = digits[0] * 100 + digits[1] * 10 + digits[2]
    group = digits[3] * 10 + digits[4]
    serial = digits[5] * 1000 + digits[6] * 100 + digits[7] * 10 + digits[8]
    if area == 0 or area == 666 or area >= 900 or group == 0 or serial == 0:
        return 0
    return ends[9]


cdef Py_ssize_t find_phone(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    """International numbers, North American ones, and others that a word announces."""
    cdef Py_ssize_t at = pos, digits = 0, end = pos, groups = 1, first_group = 0
    cdef uint8_t d[16]
    cdef bint international = text[pos] == c"+"
    cdef bint bracket = False
    if international:
        at += 1
    elif text[pos] == c"0" and size - pos > 3 and text[pos + 1] == c"0" and (
        c"1" <= text[pos + 2] <= c"9"
    ):
        international = True
        at += 2
    while at < size:
        if is_a(text[at], DIGIT):
            if digits == 15:
                return 0
            d[digits] = text[at] - c"0"
            digits += 1
            end = at + 1
        elif text[at] == c"(" and not bracket and size - at > 1 and is_a(text[at + 1], DIGIT):
            bracket = True
            groups += 1 if digits else 0
        elif text[at] == c")" and bracket and digits:
            first_group = first_group if first_group else digits
            if size - at > 1 and (text[at + 1] == c" " or text[at + 1] == c"-"):
                at += 1
            groups += 1
        elif (
            (text[at] == c" " or text[at] == c"-" or text[at] == c"." or text[at] == c"/")
            and digits and size - at > 1
            and (is_a(text[at + 1], DIGIT) or (text[at + 1] == c"(" and not bracket))
        ):
            first_group = first_group if first_group else digits
            groups += 1
        else:
            break
        at += 1
    if digits < 7 or not ends_word(text, size, end):
        return 0
    if international:
        return end if (text[pos] == c"+" or groups > 1) and d[0] != 0 else 0
    if groups >= 3 and first_group == 3 and digits == 10 and d[0] >= 2 and d[3] >= 2:
        return end
    if groups >= 4 and first_group == 1 and digits == 11 and d[0] == 1 and d[1] >= 2:
        return end
    if explains(text, pos, TOPIC_PHONE):
        return end
    return 0


cdef Py_ssize_t find_ipv4(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    cdef Py_ssize_t at = pos, part, start
    cdef int value
    for part in range(4):
        start = at
        value = 0
        while at < size and at - start < 3 and is_a(text[at], DIGIT):
            value = value * 10 + text[at] - c"0"
            at += 1
        if at == start or value > 255 or (at - start > 1 and text[start] == c"0"):
            return 0
        if part < 3:
            if at >= size or text[at] != c".":
                return 0
            at += 1
    if not ends_word(text, size, at) or (
        size - at > 1 and text[at] == c"." and is_a(text[at + 1], DIGIT)
    ):
        return 0
    if explains(text, pos, TOPIC_VERSION):
        return 0
    return at


cdef Py_ssize_t find_ipv6(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    """Eight groups, or fewer around one `::`, at least one digit in all."""
    cdef Py_ssize_t at = pos, groups = 0, start
    cdef bint gap = False, digit = False
    while at < size and groups <= 8:
        start = at
        while at < size and at - start < 4 and is_a(text[at], HEXDIGIT):
            digit = digit or is_a(text[at], DIGIT)
            at += 1
        if at > start:
            groups += 1
        elif not (size - at > 1 and text[at] == c":" and text[at + 1] == c":" and at == pos):
            break
        if size - at > 1 and text[at] == c":" and text[at + 1] == c":":
            if gap:
                return 0
            gap = True
            at += 2
            if at >= size or not is_a(text[at], HEXDIGIT):
                break
        elif size - at > 1 and text[at] == c":" and is_a(text[at + 1], HEXDIGIT):
            at += 1
        else:
            break
    if not ends_word(text, size, at) or not digit or at - pos < 6:
        return 0
    return at if groups == 8 or (gap and 2 <= groups < 8) else 0


cdef Py_ssize_t find_iban(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    """Country, check digits, 11 to 30 characters, in fours or together; remainder 1 modulo 97."""
    cdef uint8_t found[34]
    cdef Py_ssize_t at = pos, count = 0, i, end = 0, length
    cdef Py_ssize_t ends[35]
    cdef int rest
    cdef uint8_t c
    if size - pos < 15 or not (
        c"A" <= (text[pos] & 0xDF) <= c"Z" and c"A" <= (text[pos + 1] & 0xDF) <= c"Z"
        and is_a(text[pos], LETTER) and is_a(text[pos + 1], LETTER)
        and is_a(text[pos + 2], DIGIT) and is_a(text[pos + 3], DIGIT)
    ):
        return 0
    while at < size and count < 34:
        if is_a(text[at], DIGIT | LETTER):
            found[count] = text[at]
            count += 1
            ends[count] = at + 1
        elif not (
            (text[at] == c" " or text[at] == c"-") and count & 3 == 0 and size - at > 1
            and is_a(text[at + 1], DIGIT | LETTER)
        ):
            break
        at += 1
    length = count
    # A word may follow in the place of one more group: try the shorter ones too.
    while length >= 15:
        if length == count or ends[length + 1] != ends[length] + 1:
            if ends_word(text, size, ends[length]):
                rest = 0
                for i in range(length):
                    c = found[i + 4 if i < length - 4 else i + 4 - length]
                    if is_a(c, DIGIT):
                        rest = (rest * 10 + c - c"0") % 97
                    else:
                        rest = (rest * 100 + (c & 0xDF) - 55) % 97
                if rest == 1:
                    end = ends[length]
                    break
        length -= 1
    return end
