from libc.stdint cimport uint8_t

from _fastpath.datarow cimport MaskPlan
from _fastpath.outbuf cimport OutBuf


cdef class CopyOut:
    cdef MaskPlan plan
    cdef int form             # FORM_* of copyout.pyx
    cdef uint8_t delimiter
    cdef uint8_t quote
    cdef uint8_t escape
    cdef bytes null
    cdef bytes force_quote    # a byte per column, 1 to force
    cdef bint in_header       # the line of column names is being passed
    cdef int state
    cdef Py_ssize_t column
    cdef Py_ssize_t left      # binary: bytes of the field that are to come
    cdef bint was_quoted
    cdef OutBuf row           # of the row at hand, masked, not sent yet
    cdef OutBuf cell          # raw bytes of the masked cell at hand
    cdef OutBuf plain         # ... unescaped
    cdef OutBuf shown         # ... masked

    # Take payload bytes of CopyData messages, cut anywhere; append CopyData messages for the
    # client. FrameError when the bytes are not what COPY sends: then nothing more may be sent.
    cdef int feed(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1
    # CopyDone came: FrameError inside a row.
    cdef int finish(self, OutBuf out) except -1

    cdef int emit(self, OutBuf out) except -1
    cdef bint is_masked(self) noexcept
    cdef int take(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1
    cdef Py_ssize_t feed_text(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1
    cdef Py_ssize_t feed_csv(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1
    cdef Py_ssize_t feed_binary(self, const uint8_t *data, Py_ssize_t size, OutBuf out) except -1
    cdef int end_cell(self, uint8_t end, OutBuf out) except -1
    cdef int put_cell(self) except -1
    cdef int unescape_text(self) except -1
    cdef int unescape_csv(self) except -1
    cdef int escape_text(self) except -1
    cdef int escape_csv(self) except -1
    cdef bint is_null(self) noexcept
    cdef int begin_field(self, OutBuf out) except -1
    cdef int end_field(self) except -1
    cdef int next_field(self, OutBuf out) except -1
