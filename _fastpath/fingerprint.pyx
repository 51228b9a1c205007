"""Reduce SQL text to its token stream without constants."""
from libc.stdint cimport uint8_t

from _fastpath.outbuf cimport OutBuf


cdef int fingerprint_into(const uint8_t *sql, Py_ssize_t size, OutBuf out) except -1:
    return 0
