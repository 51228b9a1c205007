"""What stands between a judged message and the server: verdicts, spans, injections.

Bytes of a read that leave as they came are one span of it; whatever is injected or rewritten goes
through `to_server` in order. Both are taken in one write.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memchr

from _fastpath.link cimport SETUP_UNKNOWN
from _fastpath.actions cimport (
    ACTION_ATTACH, ACTION_COST, ACTION_DECIDE, ACTION_HOLD, ACTION_NEXT, ACTION_REFUSE,
    ACTION_VIOLATION,
)
from _fastpath.from_server cimport ServerSide
from _fastpath.replies cimport MODE_FORWARD, MODE_SKIP, REPLY_LOCAL, REPLY_QUERY
from _fastpath.prepared cimport Cursor
from _fastpath.statements cimport VERDICT_APPROVE, VERDICT_DENY, Verdict
from _fastpath.wire cimport HEADER_SIZE, load_be32, store_be32


cdef enum:
    SLOT_POLICY = 0                   # as ipc.epochs
    SLOT_CATALOG = 1
    SLOT_REVOCATION = 2

cdef str CURSOR_OUTDATED = "the cursor was opened under an older policy; open it again"


cdef Py_ssize_t string_end(const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) noexcept:
    """Offset of the NUL that ends the string at `pos`, or -1."""
    cdef const uint8_t *found
    if pos >= end:
        return -1
    found = <const uint8_t *>memchr(data + pos, 0, end - pos)
    return -1 if found == NULL else found - data


cdef bytes text(const uint8_t *data, Py_ssize_t start, Py_ssize_t end):
    return PyBytes_FromStringAndSize(<const char *>data + start, end - start)


cdef bytes message(uint8_t kind, bytes payload):
    cdef uint8_t header[HEADER_SIZE]
    header[0] = kind
    store_be32(header + 1, <int>len(payload) + 4)
    return PyBytes_FromStringAndSize(<char *>header, HEADER_SIZE) + payload


cdef Py_ssize_t count_at(const uint8_t *at) noexcept nogil:
    # PostgreSQL reads the counts of Parse and Bind as unsigned 16-bit numbers.
    return (<Py_ssize_t>at[0] << 8) | at[1]


cdef Py_ssize_t bind_values_end(const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) noexcept:
    """Offset of Bind's result formats, or -1 when any count or length does not fit."""
    cdef Py_ssize_t count, length, _index
    if end - pos < 2:
        return -1
    count = count_at(data + pos)
    pos += 2
    if end - pos < 2 * count + 2:
        return -1
    pos += 2 * count
    count = count_at(data + pos)
    pos += 2
    for _index in range(count):
        if end - pos < 4:
            return -1
        length = load_be32(data + pos)
        pos += 4
        if length < -1 or (length > 0 and end - pos < length):
            return -1
        if length > 0:
            pos += length
    if end - pos < 2 or end - pos - 2 != 2 * count_at(data + pos):
        return -1
    return pos


cdef str show(bytes name):
    return name.decode("utf-8", "replace").replace('"', '""')


cdef class Outgoing(ServerSide):
    """Common ground of the message handlers. `self.pos` and `self.end` bound the current one."""

    cdef int _judge(self, Verdict verdict) except -1:
        """What stands between a decided message and the server."""
        self.verdict = verdict
        if verdict.action == VERDICT_DENY:
            return ACTION_REFUSE
        if verdict.action == VERDICT_APPROVE and not self.granted:
            return ACTION_HOLD
        if verdict.plannable and not self.costed and self.limits is not None and (
            self.limits.max_cost >= 0
        ):
            return ACTION_COST
        if verdict.cursors is not None and not self._follow_cursors(verdict):
            return self._refuse_with("24000", CURSOR_OUTDATED)
        if self.link is None:
            return ACTION_ATTACH
        if self.link.setup is SETUP_UNKNOWN and self.link.nothing_owed():
            self._set_up()
        return ACTION_NEXT

    cdef int _set_up(self) except -1:
        """Make the settings of the link those of this session."""
        if self.link.setup is not None:
            # Of the same principal, with other settings; RESET ALL leaves the role alone.
            self._inject_query(b"RESET ALL; " + self.setup)
        elif self.setup:
            self._inject_query(self.setup)
        self.link.setup = self.setup
        return 0

    cdef bint _follow_cursors(self, Verdict verdict) except -1:
        """Note what `verdict` is sent under; false when it reads a cursor of an older policy."""
        cdef Cursor cursor
        cdef Py_ssize_t index
        verdict.cache = self.cache
        for index in range(len(verdict.cursors)):
            cursor = self._fetched(verdict, <int>index)
            if cursor is not None and (
                cursor.verdict.cache.policy_generation != self.cache.policy_generation
            ):
                return False
        return True

    cdef bint _is_stale(self) noexcept:
        return (
            self.epochs[SLOT_POLICY] != self.cache.policy_generation
            or self.epochs[SLOT_CATALOG] != self.cache.catalog_generation
            or self.epochs[SLOT_REVOCATION] != self.revocation_seen
        )

    cdef Verdict _verdict_for(self, const uint8_t *sql, Py_ssize_t size, const uint8_t *types,
                              Py_ssize_t types_size):
        if self.given is not None:
            return self.given
        return self.cache.find(sql, size, types, types_size)

    cdef int _ask(self, const uint8_t *data, Py_ssize_t start, Py_ssize_t end, bytes types,
                  bint extended) except -1:
        self.asked_sql = text(data, start, end)
        self.asked_types = types
        self.asked_binds = b""
        self.asked_extended = extended
        return ACTION_DECIDE

    cdef int _started(self, int64_t statement) except -1:
        if self.granted:
            self.watched[statement] = self.grant_token
            self.granted = False
            self.grant_token = None
        return 0

    cdef int _after(self, Verdict verdict) except -1:
        """What a statement changes in the session, from the moment it is sent."""
        if verdict.pin is not None and self.pin is None:
            self.pin = verdict.pin
        if verdict.deallocate is not None and verdict.deallocate == b"*":
            self.statements.clear()
            self.link.prepared.clear()
        if verdict.resets_role:
            # DISCARD ALL ends SET ROLE too: it is set again before anything else can run.
            self.statements.clear()
            self.settings.clear()
            self.setup = self.setup_at_login
            self.link.forget_session()
            self.link.principal = self.principal
            if self.setup:
                self._inject_query(self.setup)
            self.link.setup = self.setup
            self.pin = None
        elif verdict.resets_settings:
            self.link.setup = SETUP_UNKNOWN
        return 0

    cdef int _forward(self) except -1:
        """Pass the message being handled on as it is."""
        if self.span_to != self.pos or self.span_from == self.span_to:
            self._flush_span()
            self.span_from = self.pos
        self.span_to = self.end
        return 0

    cdef int _flush_span(self) except -1:
        if self.span_from != self.span_to:
            self.to_server.append(
                <const uint8_t *><char *>self.input + self.span_from,
                self.span_to - self.span_from
            )
            self.span_from = self.span_to
        return 0

    cdef int _inject(self, bytes sent) except -1:
        self._flush_span()
        return self.to_server.append(<const uint8_t *><char *>sent, len(sent))

    cdef int _inject_query(self, bytes sql) except -1:
        self._inject(message(c"Q", sql + b"\0"))
        self.link.queue.push(REPLY_QUERY, MODE_SKIP, None)
        self.link.owed += 1
        return 0

    cdef int _local(self, bytes answer) except -1:
        """Answer in the server's place, behind what it still owes."""
        if self.link is None or self.link.queue.count == 0:
            self.to_client.append(<const uint8_t *><char *>answer, len(answer))
        else:
            self.link.queue.push(REPLY_LOCAL, MODE_FORWARD, answer)
        return ACTION_NEXT

    cdef int _unrecorded(self) except -1:
        """The intent did not fit what was reserved for it: without a whole one nothing runs."""
        return self._refuse_with("58030", "the statement could not be recorded, so it was not run")

    cdef int _refuse_with(self, str sqlstate, str reason) except -1:
        self.verdict = None
        self.fault = (sqlstate, reason)
        return ACTION_REFUSE

    cdef int _violation(self, str reason) except -1:
        self.fault = reason
        return ACTION_VIOLATION
