from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t


cdef enum ReplyKind:
    REPLY_PARSE = 1
    REPLY_BIND
    REPLY_DESCRIBE_STATEMENT
    REPLY_DESCRIBE_PORTAL
    REPLY_EXECUTE
    REPLY_CLOSE
    REPLY_SYNC
    REPLY_QUERY
    REPLY_COPY_END            # CopyDone or CopyFail: the server answers nothing of its own
    REPLY_LOCAL               # the gateway's own answer, kept in order behind the server's


cdef enum ReplyMode:
    MODE_FORWARD = 0
    MODE_SKIP                 # answer to an injected message: consumed here
    MODE_REPLACE              # answer to a message in place of a refused one: our error goes out
    MODE_FINISH               # the gateway's COMMIT or ROLLBACK behind a guarded Query


cdef enum Guard:
    GUARD_NONE = 0
    GUARD_WAIT                # nothing is sent behind it before its answer is settled
    GUARD_WRAPPED             # ... and the gateway's BEGIN stands before it


cdef struct Expected:
    uint8_t kind
    uint8_t mode
    uint8_t failed            # an ErrorResponse came for this Query
    uint8_t has_plan          # `plan` of the relay belongs to this entry's current result
    uint8_t guard             # a `Guard`
    uint8_t over              # the `OverLimit` it exceeded
    int index                 # statement within a simple-query string
    int64_t statement         # number of the audit intent, 0 when there is none
    int64_t started_ns
    int64_t rows
    int64_t bytes
    int64_t affected          # rows changed, by the tags so far
    PyObject *subject         # owned: Prepared, Portal, Verdict, or bytes of an answer


cdef class ReplyQueue:
    cdef Expected *items
    cdef Py_ssize_t capacity
    cdef Py_ssize_t first
    cdef readonly Py_ssize_t count

    cdef Expected *push(self, uint8_t kind, uint8_t mode, object subject) except NULL
    cdef Expected *head(self) noexcept nogil
    cdef Expected *at(self, Py_ssize_t index) noexcept nogil
    cdef int pop(self) except -1
    cdef int remove(self, Py_ssize_t index) except -1
    cdef int clear(self) except -1
    cdef int _grow(self) except -1
