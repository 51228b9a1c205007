"""Numbers by bucket without a Python object per value.

The rule is that of `maskmath`, which does the rare rest: numbers of more than 18 digits, floats
beyond the whole numbers they hold exactly, fractions of a float.
"""
cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.math cimport fabs, fmod
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t
from libc.string cimport memcpy

from _fastpath.cellmask cimport CellMasker
from _fastpath.digits cimport floor_to, is_digit, put_number
from _fastpath.outbuf cimport OutBuf
from _fastpath.wire cimport load_be16, load_be32, load_be64, store_be32, store_be64

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *text, char **end, object overflow) except? -1

cdef enum:
    DIGITS_MAX = 18           # of a number that is scaled within an int64
    FRACTIONS = 16            # ... behind its point
    TEXT_MAX = 48
    GROUP = 10000             # numeric's base
    NUMERIC_HEAD_SIZE = 8
    NUMERIC_NEGATIVE = 0x4000
    NUMERIC_SPECIAL = 0x8000      # NaN and infinities

cdef int64_t SCALED_MAX = 4000000000000000000      # twice it still fits

STEP_MAX = SCALED_MAX
FRACTION_MAX = FRACTIONS
cdef int64_t[19] TENS
TENS[0] = 1
cdef int _power
for _power in range(1, 19):
    TENS[_power] = 10 * TENS[_power - 1]


cdef bytes copy_of(const uint8_t *value, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char *>value, size)


cdef class Bucket(CellMasker):
    """Base: `slow` is called with a cell that the compiled way does not take."""

    cdef object slow
    cdef bint is_binary

    cdef int put_slow(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef bytes shown
        try:
            shown = self.slow(copy_of(value, size))
        except (ValueError, OverflowError, ArithmeticError):
            raise ValueError("not a value of its type") from None
        return out.append(<const uint8_t *><char *>shown, len(shown))


cdef class IntBucket(Bucket):
    """Whole numbers of 2, 4 or 8 bytes; OIDs with `is_unsigned`."""

    cdef Py_ssize_t width
    cdef int64_t step         # 0: larger than any value
    cdef int64_t lowest
    cdef bint is_unsigned

    def __init__(self, step, Py_ssize_t width, *, bint is_binary, bint is_unsigned=False):
        self.step = step if step < 0x8000000000000000 else 0
        self.width = width
        self.is_binary = is_binary
        self.is_unsigned = is_unsigned
        self.lowest = 0 if is_unsigned else INT64_MIN >> (64 - 8 * width)

    @cython.cdivision(True)
    cdef int64_t floor_of(self, int64_t value) noexcept nogil:
        cdef int64_t rest
        if self.step == 0:
            return 0 if value >= 0 else self.lowest
        if value >= 0:
            return value - value % self.step
        rest = floor_to(value + self.step, self.step)
        # The lowest bucket may begin below the least value of the type.
        return self.lowest if rest < self.lowest + self.step else rest - self.step

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef uint8_t shown[TEXT_MAX]
        cdef uint8_t *end = shown
        cdef int64_t number
        if self.is_binary:
            if size != self.width:
                raise ValueError("integer of wrong size")
            number = load_be64(value) if size == 8 else (
                load_be16(value) if size == 2 else load_be32(value)
            )
            if self.is_unsigned:
                number &= 0xFFFFFFFF
            number = self.floor_of(number)
            store_be64(shown, number)
            return out.append(shown + 8 - size, size)
        number = self.floor_of(parse_whole(value, size))
        if number < 0:
            shown[0] = c"-"
            end = shown + 1
            if number == INT64_MIN:
                return out.append(b"-9223372036854775808", 20)
        end = put_number(end, number if number >= 0 else -number, 1)
        return out.append(shown, end - shown)


cdef int64_t parse_whole(const uint8_t *text, Py_ssize_t size) except? -1:
    """Read a decimal integer as int8out writes it."""
    cdef Py_ssize_t pos = 1 if size and text[0] == c"-" else 0
    cdef Py_ssize_t start = pos
    cdef int64_t number = 0
    if not 1 <= size - pos <= 19:
        raise ValueError("not an integer")
    while pos < size:
        if not is_digit(text[pos]):
            raise ValueError("not an integer")
        # Downwards, since the least value has no positive twin.
        if number < -922337203685477580 or (
            number == -922337203685477580 and text[pos] > c"7" + start
        ):
            raise ValueError("integer out of range")
        number = number * 10 - (text[pos] - c"0")
        pos += 1
    return number if start else -number


cdef class FloatBucket(Bucket):
    """Buckets of a whole size, for values small enough that floats hold every whole number."""

    cdef Py_ssize_t width
    cdef double step
    cdef double limit

    def __init__(self, step, Py_ssize_t width, slow, *, bint is_binary):
        self.step = step
        self.width = width
        self.limit = 16777216.0 if width == 4 else 9007199254740992.0
        self.slow = slow
        self.is_binary = is_binary

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef uint8_t shown[TEXT_MAX]
        cdef uint8_t *end = shown
        cdef double number, rest
        if not self.read(value, size, &number):
            return self.put_slow(value, size, out)
        rest = fmod(number, self.step)
        number = number - rest - (self.step if rest < 0 else 0.0) + 0.0       # no negative zero
        if fabs(number) >= self.limit:
            return self.put_slow(value, size, out)
        if self.is_binary:
            store_float(shown, number, self.width)
            return out.append(shown, self.width)
        if number < 0:
            shown[0] = c"-"
            end = shown + 1
        end = put_number(end, <int64_t>fabs(number), 1)
        return out.append(shown, end - shown)

    cdef bint read(self, const uint8_t *value, Py_ssize_t size, double *number) except -1:
        """Read a value; false for one that is left to Python, NaN and infinity among them."""
        cdef char text[TEXT_MAX]
        cdef char *end = NULL
        cdef Py_ssize_t start
        if self.is_binary:
            if size != self.width:
                raise ValueError("float of wrong size")
            number[0] = load_float(value, size)
        else:
            start = 1 if size and value[0] == c"-" else 0
            if not start < size < TEXT_MAX or not is_digit(value[start]):
                return False
            memcpy(text, value, <size_t>size)
            text[size] = 0
            number[0] = PyOS_string_to_double(text, &end, None)
            if end != text + size:
                return False
            if self.width == 4:
                number[0] = <float>number[0]
        return fabs(number[0]) < self.limit        # false for NaN too


cdef double load_float(const uint8_t *value, Py_ssize_t size) noexcept nogil:
    cdef int64_t wide
    cdef int32_t narrow
    cdef double number
    cdef float single
    if size == 4:
        narrow = load_be32(value)
        memcpy(&single, &narrow, 4)
        return single
    wide = load_be64(value)
    memcpy(&number, &wide, 8)
    return number


cdef void store_float(uint8_t *place, double number, Py_ssize_t size) noexcept nogil:
    cdef int64_t wide
    cdef int32_t narrow
    cdef float single = <float>number
    if size == 4:
        memcpy(&narrow, &single, 4)
        store_be32(place, narrow)
    else:
        memcpy(&wide, &number, 8)
        store_be64(place, wide)


cdef class NumericBucket(Bucket):
    """Numbers of up to 18 digits. `step` is in units of 10 ** -`step_scale`."""

    cdef int64_t step
    cdef int step_scale
    cdef int scale            # of what is shown; at least `step_scale`
    cdef int64_t lowest       # in units of `scale`, 0 for none

    def __init__(self, step, int step_scale, int scale, lowest, slow, *, bint is_binary):
        if not 0 < step <= SCALED_MAX or not 0 <= step_scale <= scale <= FRACTIONS:
            raise ValueError("not a bucket that fits")
        self.step = step
        self.step_scale = step_scale
        self.scale = scale
        self.lowest = lowest
        self.slow = slow
        self.is_binary = is_binary

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef int64_t number = 0
        cdef int scale = 0
        if (
            not (
                read_numeric(value, size, &number, &scale) if self.is_binary
                else read_decimal(value, size, &number, &scale)
            )
            or not self.floor_of(&number, scale)
        ):
            return self.put_slow(value, size, out)
        return self.put_numeric(number, out) if self.is_binary else self.put_text(number, out)

    @cython.cdivision(True)
    cdef bint floor_of(self, int64_t *number, int scale) noexcept nogil:
        """Turn a number of `scale` into the bound of its bucket in `self.scale`; false if large."""
        cdef int common = scale if scale > self.step_scale else self.step_scale
        cdef int64_t step = self.step
        if not scaled(number, common - scale) or not scaled(&step, common - self.step_scale):
            return False
        number[0] = floor_to(number[0], step)
        if common > self.scale:
            number[0] //= TENS[common - self.scale]
        elif not scaled(number, self.scale - common):
            return False
        if self.lowest and number[0] < self.lowest:
            number[0] = self.lowest
        return True

    @cython.cdivision(True)
    cdef int put_text(self, int64_t number, OutBuf out) except -1:
        cdef uint8_t shown[TEXT_MAX]
        cdef uint8_t *end = shown
        if number < 0:
            shown[0] = c"-"
            end = shown + 1
            number = -number
        end = put_number(end, number // TENS[self.scale], 1)
        if self.scale:
            end[0] = c"."
            end = put_number(end + 1, number % TENS[self.scale], self.scale)
        return out.append(shown, end - shown)

    @cython.cdivision(True)
    cdef int put_numeric(self, int64_t number, OutBuf out) except -1:
        """numeric_send: count, weight, sign, scale, then digits in base 10000."""
        cdef int groups[12]
        cdef uint8_t shown[TEXT_MAX]
        cdef int64_t whole, fraction
        cdef int first = 12, last = 12, behind = (self.scale + 3) // 4, weight, count, i, _i
        cdef int sign = NUMERIC_NEGATIVE if number < 0 else 0
        number = -number if number < 0 else number
        whole = number // TENS[self.scale]
        fraction = number % TENS[self.scale] * TENS[4 * behind - self.scale]
        for _i in range(behind):
            first -= 1
            groups[first] = <int>(fraction % GROUP)
            fraction //= GROUP
        while whole:
            first -= 1
            groups[first] = <int>(whole % GROUP)
            whole //= GROUP
        weight = 12 - behind - first - 1
        while first < last and groups[first] == 0:
            first += 1
            weight -= 1
        while last > first and groups[last - 1] == 0:
            last -= 1
        count = last - first
        store_be32(shown, count << 16 | ((weight & 0xFFFF) if count else 0))
        store_be32(shown + 4, sign << 16 | self.scale)
        for i in range(count):
            shown[8 + 2 * i] = <uint8_t>(groups[first + i] >> 8)
            shown[9 + 2 * i] = <uint8_t>(groups[first + i] & 0xFF)
        return out.append(shown, NUMERIC_HEAD_SIZE + 2 * count)


@cython.cdivision(True)
cdef bint scaled(int64_t *number, int by) noexcept nogil:
    """Multiply by 10 ** `by`; false when that may not fit."""
    if by > DIGITS_MAX or not -SCALED_MAX // TENS[by] <= number[0] <= SCALED_MAX // TENS[by]:
        return False
    number[0] *= TENS[by]
    return True


cdef bint read_decimal(
    const uint8_t *text, Py_ssize_t size, int64_t *number, int *scale
) noexcept nogil:
    """Read what numeric_out writes; false for what does not fit, and for NaN and infinity."""
    cdef Py_ssize_t start = 1 if size and text[0] == c"-" else 0
    cdef Py_ssize_t pos = start
    cdef bint in_fraction = False
    cdef int digits = 0
    while pos < size:
        if text[pos] == c"." and not in_fraction and digits:
            in_fraction = True
        elif not is_digit(text[pos]) or digits == DIGITS_MAX:
            return False
        else:
            number[0] = number[0] * 10 + (text[pos] - c"0")
            digits += 1
            scale[0] += in_fraction
        pos += 1
    if start:
        number[0] = -number[0]
    return digits > 0 and text[size - 1] != c"."


cdef bint read_numeric(
    const uint8_t *value, Py_ssize_t size, int64_t *number, int *scale
) noexcept nogil:
    """Read what numeric_send writes; false for what does not fit, is special or malformed."""
    cdef int count, weight, sign, behind, i
    cdef int group
    if size < NUMERIC_HEAD_SIZE:
        return False
    count = load_be16(value)
    weight = load_be16(value + 2)
    sign = load_be16(value + 4) & 0xFFFF
    if not 0 <= count <= 4 or size != NUMERIC_HEAD_SIZE + 2 * count or sign & NUMERIC_SPECIAL:
        return False
    behind = count - 1 - weight           # groups behind the point; fewer than none: zeros before
    if count == 0:
        return True
    if not -4 <= behind <= 4 or count - behind > 4 + count:
        return False
    for i in range(count):
        group = load_be16(value + NUMERIC_HEAD_SIZE + 2 * i)
        if not 0 <= group < GROUP:
            return False
        number[0] = number[0] * GROUP + group
    if behind < 0:
        if not scaled(number, -4 * behind):
            return False
        behind = 0
    scale[0] = 4 * behind
    if sign == NUMERIC_NEGATIVE:
        number[0] = -number[0]
    return True
