from libc.stdint cimport uint8_t

from _fastpath.outbuf cimport OutBuf

# Append the fingerprint of `sql` and return 1; 0 when the text is not judged, `out` as it was.
cdef int fingerprint_into(const uint8_t *sql, Py_ssize_t size, OutBuf out) except -1
