"""Decimal digits and division that rounds down. Inline, so that loops never call out."""
cimport cython
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy


cdef inline bint is_digit(uint8_t byte) noexcept nogil:
    return c"0" <= byte <= c"9"


@cython.cdivision(True)
cdef inline int64_t floor_to(int64_t value, int64_t step) noexcept nogil:
    cdef int64_t rest = value % step
    return value - rest - (step if rest < 0 else 0)


# Write a number that is not negative with at least `width` digits; the place behind it.
@cython.cdivision(True)
cdef inline uint8_t *put_number(uint8_t *place, int64_t value, int width) noexcept nogil:
    cdef uint8_t digits[20]
    cdef int count = 0
    while value or count < width:
        digits[19 - count] = <uint8_t>(c"0" + value % 10)
        value //= 10
        count += 1
    memcpy(place, digits + 20 - count, <size_t>count)
    return place + count
