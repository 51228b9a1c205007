"""Moments shown as the start of their calendar unit, in UTC, without a Python object per value.

Exact arithmetic on days and microseconds since 2000-01-01, the server's own epoch, so that text
and binary agree and no year is out of reach.
"""
cimport cython
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp, memcpy

from _fastpath.cellmask cimport CellMasker
from _fastpath.digits cimport floor_to, is_digit, put_number
from _fastpath.outbuf cimport OutBuf
from _fastpath.wire cimport load_be32, load_be64, store_be32, store_be64

cdef enum:
    OF_DATE = 0
    OF_TIMESTAMP = 1
    OF_TIMESTAMPTZ = 2
    OF_TIME = 3

    BY_YEAR = 0
    BY_QUARTER = 1
    BY_MONTH = 2
    BY_WEEK = 3

    TEXT_MAX = 48
    YEAR_MAX = 294276         # of a timestamp, and years before Christ: the server's own bounds
    YEAR_BC_MAX = 4714

cdef int64_t DAY_US = 86400000000
cdef int64_t MOMENT_MIN = -211813488000000000
cdef int64_t MOMENT_MAX = 9223371331200000000
cdef int64_t MOMENT_INFINITE = 9223372036854775807
cdef int64_t[7] STEPS_US = [0, 0, 0, 0, 86400000000, 3600000000, 60000000]

UNITS = ("year", "quarter", "month", "week", "day", "hour", "minute")
FAMILIES = ("date", "timestamp", "timestamptz", "time")


@cython.cdivision(True)
cdef int64_t days_from_civil(int64_t year, int64_t month, int64_t day) noexcept nogil:
    """Return days since 2000-01-01 of a proleptic Gregorian date (Hinnant's algorithm)."""
    cdef int64_t era, of_era, of_year
    year -= month <= 2
    era = floor_to(year, 400) // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 730425


@cython.cdivision(True)
cdef void civil_from_days(
    int64_t days, int64_t *year, int64_t *month, int64_t *day
) noexcept nogil:
    cdef int64_t era, of_era, of_year, years, shifted
    days += 730425
    era = floor_to(days, 146097) // 146097
    of_era = days - era * 146097
    years = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    shifted = (5 * of_year + 2) // 153
    day[0] = of_year - (153 * shifted + 2) // 5 + 1
    month[0] = shifted + (3 if shifted < 10 else -9)
    year[0] = years + era * 400 + (month[0] <= 2)


@cython.cdivision(True)
cdef int64_t truncate_days(int64_t days, int unit) noexcept nogil:
    cdef int64_t year, month, day
    if unit == BY_WEEK:
        return floor_to(days + 5, 7) - 5      # 2000-01-01 was a Saturday, weeks begin on Monday
    civil_from_days(days, &year, &month, &day)
    if unit == BY_YEAR:
        month = 1
    elif unit == BY_QUARTER:
        month -= (month - 1) % 3
    return days_from_civil(year, month, 1)


@cython.cdivision(True)
cdef int64_t truncate_us(int64_t moment, int unit) noexcept nogil:
    if STEPS_US[unit]:
        return floor_to(moment, STEPS_US[unit])
    return truncate_days(floor_to(moment, DAY_US) // DAY_US, unit) * DAY_US


cdef Py_ssize_t read_pair(const uint8_t *text, Py_ssize_t size, Py_ssize_t pos) noexcept nogil:
    """Two digits at `pos` as a number, -1 when there are none."""
    if pos < 0 or size - pos < 2 or not is_digit(text[pos]) or not is_digit(text[pos + 1]):
        return -1
    return 10 * (text[pos] - c"0") + (text[pos + 1] - c"0")


cdef class Truncate(CellMasker):
    """The start of a moment's unit, in UTC. `zero` is shown for a text in another DateStyle."""

    cdef int family
    cdef int unit
    cdef bint is_binary
    cdef bytes zero

    def __init__(self, str family not None, str unit not None, bytes zero not None, *,
                 bint is_binary):
        self.family = FAMILIES.index(family)
        self.unit = UNITS.index(unit)
        self.zero = zero
        self.is_binary = is_binary

    cdef int put(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        if self.is_binary:
            return self.put_binary(value, size, out)
        if self.family == OF_TIME:
            return self.put_time(value, size, out)
        if (size == 8 and memcmp(value, b"infinity", 8) == 0) or (
            size == 9 and memcmp(value, b"-infinity", 9) == 0
        ):
            return out.append(value, size)
        if self.put_text(value, size, out):
            return out.append(<const uint8_t *><char *>self.zero, len(self.zero))
        return 0

    cdef int put_binary(self, const uint8_t *value, Py_ssize_t size, OutBuf out) except -1:
        cdef uint8_t shown[8]
        cdef int64_t moment
        if size != (4 if self.family == OF_DATE else 8):
            raise ValueError("moment of wrong size")
        if self.family == OF_DATE:
            moment = load_be32(value)
            if moment == 0x7FFFFFFF or moment == -0x80000000:      # infinities
                return out.append(value, size)
            store_be32(shown, <int>truncate_days(moment, self.unit))
            return out.append(shown, 4)
        moment = load_be64(value)
        if moment == MOMENT_INFINITE or moment == -MOMENT_INFINITE - 1:
            return out.append(value, size)
        if not MOMENT_MIN <= moment <= MOMENT_MAX:
            raise ValueError("moment out of range")
        store_be64(shown, truncate_us(moment, self.unit))
        return out.append(shown, 8)

    cdef int put_time(self, const uint8_t *text, Py_ssize_t size, OutBuf out) except -1:
        cdef uint8_t shown[8]
        cdef Py_ssize_t pos = 8
        if (
            size < 8 or text[2] != c":" or text[5] != c":" or read_pair(text, size, 0) < 0
            or read_pair(text, size, 3) < 0 or read_pair(text, size, 6) < 0
        ):
            raise ValueError("not a time of day")
        if size > pos:
            pos += 1
            while pos < size and is_digit(text[pos]):
                pos += 1
            if text[8] != c"." or pos != size or not 10 <= size <= 15:
                raise ValueError("not a time of day")
        memcpy(shown, text, 3)
        memcpy(shown + 3, b"00:00", 5)
        if STEPS_US[self.unit] < 3600000000:
            memcpy(shown + 3, text + 3, 2)
        return out.append(shown, 8)

    @cython.cdivision(True)
    cdef int put_text(self, const uint8_t *text, Py_ssize_t size, OutBuf out) except -1:
        """Append the truncated form of an ISO text; 1 when it is not one."""
        cdef uint8_t shown[TEXT_MAX]
        cdef uint8_t *end
        cdef int64_t days, year, month, day, minutes
        cdef int64_t moment = 0
        if not read_moment(text, size, self.family, &days, &moment):
            return 1
        if self.family == OF_DATE:
            days = truncate_days(days, self.unit)
        else:
            moment = truncate_us(days * DAY_US + moment, self.unit)
            days = floor_to(moment, DAY_US) // DAY_US
        civil_from_days(days, &year, &month, &day)
        end = put_number(shown, year if year > 0 else 1 - year, 4)
        end[0] = c"-"
        end = put_number(end + 1, month, 2)
        end[0] = c"-"
        end = put_number(end + 1, day, 2)
        if self.family != OF_DATE:
            minutes = (moment - days * DAY_US) // 60000000
            end[0] = c" "
            end = put_number(end + 1, minutes // 60, 2)
            end[0] = c":"
            end = put_number(end + 1, minutes % 60, 2)
            memcpy(end, b":00+00", 6)
            end += 6 if self.family == OF_TIMESTAMPTZ else 3
        if year <= 0:
            memcpy(end, b" BC", 3)
            end += 3
        out.append(shown, end - shown)
        return 0


cdef bint read_moment(
    const uint8_t *text, Py_ssize_t size, int family, int64_t *days, int64_t *moment
) noexcept nogil:
    """Read an ISO date, with the time of day and zone that the family has; false otherwise."""
    cdef Py_ssize_t pos = 0
    cdef int64_t year = 0
    cdef bint is_bc = size > 3 and memcmp(text + size - 3, b" BC", 3) == 0
    if is_bc:
        size -= 3
    while pos < size and pos < 6 and is_digit(text[pos]):
        year = year * 10 + (text[pos] - c"0")
        pos += 1
    if (
        pos < 4 or year > (YEAR_BC_MAX if is_bc else year if family == OF_DATE else YEAR_MAX)
        or size - pos < 6 or text[pos] != c"-" or text[pos + 3] != c"-"
        or read_pair(text, size, pos + 1) < 0 or read_pair(text, size, pos + 4) < 0
    ):
        return False
    days[0] = days_from_civil(
        1 - year if is_bc else year, read_pair(text, size, pos + 1), read_pair(text, size, pos + 4)
    )
    pos += 6
    if pos < size:
        pos = read_time(text, size, pos, moment)
        if pos < 0:
            return False
    elif family != OF_DATE:
        return False
    if pos < size and (text[pos] == c"+" or text[pos] == c"-"):
        pos = read_zone(text, size, pos, moment)
    elif family == OF_TIMESTAMPTZ:
        return False
    return pos == size


@cython.cdivision(True)
cdef Py_ssize_t read_time(
    const uint8_t *text, Py_ssize_t size, Py_ssize_t pos, int64_t *moment
) noexcept nogil:
    """Read " hh:mm:ss.ffffff"; the place behind it, or -1."""
    cdef int64_t unit = 100000
    if (
        size - pos < 9 or text[pos] != c" " or text[pos + 3] != c":" or text[pos + 6] != c":"
        or read_pair(text, size, pos + 1) < 0 or read_pair(text, size, pos + 4) < 0
        or read_pair(text, size, pos + 7) < 0
    ):
        return -1
    moment[0] = 60000000 * (
        60 * read_pair(text, size, pos + 1) + read_pair(text, size, pos + 4)
    ) + 1000000 * read_pair(text, size, pos + 7)
    pos += 9
    if pos < size and text[pos] == c".":
        pos += 1
        if pos >= size or not is_digit(text[pos]):
            return -1
        while pos < size and unit and is_digit(text[pos]):
            moment[0] += unit * (text[pos] - c"0")
            unit //= 10
            pos += 1
    return pos


@cython.cdivision(True)
cdef Py_ssize_t read_zone(
    const uint8_t *text, Py_ssize_t size, Py_ssize_t pos, int64_t *moment
) noexcept nogil:
    """Take an offset such as "+05:30" off the moment; the place behind it, or -1."""
    cdef bint is_west = text[pos] == c"-"
    cdef int64_t offset = 0, unit = 3600000000
    cdef Py_ssize_t part
    while True:
        part = read_pair(text, size, pos + 1)
        if part < 0 or unit == 0:
            return -1
        offset += unit * part
        unit = unit // 60 if unit > 1000000 else 0
        pos += 3
        if pos >= size or text[pos] != c":":
            break
    moment[0] += offset if is_west else -offset
    return pos
