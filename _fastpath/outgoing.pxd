from libc.stdint cimport int64_t, uint8_t

from _fastpath.bounds cimport Budget
from _fastpath.from_server cimport ServerSide
from _fastpath.statements cimport Verdict


cdef class Outgoing(ServerSide):
    cdef bytes input
    cdef Py_ssize_t pos, end, span_from, span_to    # next message; what leaves of `input` as it is
    cdef list pieces                  # a message larger than its reads
    cdef Py_ssize_t pieces_size, need
    cdef bint granted, discarding     # discarding: after a refusal, until Sync
    cdef bint costed                  # the planner was asked about the message at `pos`
    cdef readonly Budget budget       # None: statements are not counted
    cdef object grant_token           # of the message at `pos`, where it is `granted`
    cdef int64_t revocation_seen
    cdef Verdict given                # answer to ACTION_DECIDE, used once
    cdef readonly Verdict verdict
    cdef readonly bytes asked_sql, asked_types, asked_binds     # binds: formats and values
    cdef readonly bint asked_extended

    cdef int _judge(self, Verdict verdict) except -1
    cdef bint _follow_cursors(self, Verdict verdict) except -1
    cdef Verdict _verdict_for(self, const uint8_t *sql, Py_ssize_t size, const uint8_t *types,
                              Py_ssize_t types_size)
    cdef int _after(self, Verdict verdict) except -1
    cdef int _set_up(self) except -1
    cdef int _forward(self) except -1
    cdef int _flush_span(self) except -1
    cdef int _inject(self, bytes message) except -1
    cdef int _inject_query(self, bytes sql) except -1
    cdef int _local(self, bytes answer) except -1
    cdef int _ask(self, const uint8_t *data, Py_ssize_t start, Py_ssize_t end, bytes types,
                  bint extended) except -1
    cdef bint _is_stale(self) noexcept
    cdef int _started(self, int64_t statement) except -1
    cdef int _unrecorded(self) except -1
    cdef int _refuse_with(self, str sqlstate, str text) except -1
    cdef int _violation(self, str text) except -1


cdef Py_ssize_t string_end(const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) noexcept
cdef bytes text(const uint8_t *data, Py_ssize_t start, Py_ssize_t end)
cdef bytes message(uint8_t kind, bytes payload)
cdef Py_ssize_t count_at(const uint8_t *at) noexcept nogil
cdef Py_ssize_t bind_values_end(const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) noexcept
cdef str show(bytes name)
