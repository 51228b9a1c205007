from libc.stdint cimport uint8_t

from _fastpath.outbuf cimport OutBuf

cdef extern from "scanchars.h" nogil:
    # What stands for a finding, by its kind.
    const char *WORDS "pn_scan_words"[8]
    Py_ssize_t WORD_SIZES "pn_scan_word_sizes"[8]


cdef enum Finding:
    FIND_NONE = -1
    FIND_CARD = 0
    FIND_SSN = 1
    FIND_EMAIL = 2
    FIND_PHONE = 3
    FIND_IBAN = 4
    FIND_JWT = 5
    FIND_KEY = 6
    FIND_IP = 7
    FINDING_COUNT = 8


# The next finding at or after `pos`: its kind and span, FIND_NONE when there is none.
cdef Finding find_next(
    const uint8_t *text, Py_ssize_t size, Py_ssize_t pos, Py_ssize_t *start, Py_ssize_t *end
) noexcept nogil

# Append `text` with its findings replaced; the number of them.
cdef Py_ssize_t scrub(const uint8_t *text, Py_ssize_t size, OutBuf out) except -1
