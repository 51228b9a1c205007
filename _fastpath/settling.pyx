"""What an answer settles: which message it belongs to, what is recorded, what is owed no more.

The server answers in order. After an error it reads on to the next Sync, so everything before
that is dropped and what was assumed when it was sent is undone.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp

from _fastpath.bounds cimport OVER_UNCOUNTED
from _fastpath.events cimport EVENT_BROKEN, EVENT_DDL, EVENT_SET_UP
from _fastpath.limiting cimport Limiting
from _fastpath.replies cimport (
    GUARD_WRAPPED, MODE_FINISH, MODE_FORWARD, MODE_REPLACE, MODE_SKIP, REPLY_BIND,
    REPLY_COPY_END, REPLY_EXECUTE, REPLY_LOCAL, REPLY_PARSE, REPLY_QUERY, REPLY_SYNC, Expected,
)
from _fastpath.link cimport SETUP_UNKNOWN
from _fastpath.prepared cimport Cursor, Portal, Prepared
from _fastpath.statements cimport (
    CURSOR_CLOSE, CURSOR_DECLARE, CURSOR_FETCH, SETTING_RESET, SETTING_RESET_ALL,
    SETTING_SAVEPOINT, SETTING_SET, Verdict
)
from _fastpath.wire cimport HEADER_SIZE


cdef enum:
    CURSORS_MAX = 1000                # as limits.PORTALS_PER_SESSION_MAX
    NAME_BYTES_MAX = 63               # longer names of portals and cursors are one on the server


cdef class Settling(Limiting):
    """Base of `ServerSide`: the bookkeeping of answers, and the bytes that go to the client."""

    cdef int _simple_reply(self, int expected, Py_ssize_t start, Py_ssize_t end) except -1:
        """ParseComplete, BindComplete or CloseComplete."""
        cdef Expected *head = self.link.queue.head()
        cdef Prepared prepared
        if head == NULL or head.kind != expected:
            return self._broken("the server answered out of turn")
        if head.mode == MODE_REPLACE:
            return self._broken("the server accepted what the gateway made it refuse")
        if expected == REPLY_PARSE:
            prepared = <Prepared>head.subject
            if prepared.server_name in self.link.prepared:
                self.link.prepared[prepared.server_name] = True
        elif expected == REPLY_BIND and (<Portal>head.subject).name:
            self._opened((<Portal>head.subject).name, (<Portal>head.subject).verdict, 0)
        if head.mode == MODE_FORWARD:
            self._keep(start, end)
        return self._pop()

    cdef int _complete(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1:
        """CommandComplete, EmptyQueryResponse or PortalSuspended."""
        cdef Expected *head = self.link.queue.head()
        cdef Verdict verdict
        cdef Py_ssize_t tag_size = end - start - HEADER_SIZE - 1
        if head == NULL or (head.kind != REPLY_EXECUTE and head.kind != REPLY_QUERY):
            return self._broken("the server completed a statement that nothing asked for")
        if kind != c"C" or tag_size < 0:
            tag_size = 0
        if head.kind == REPLY_EXECUTE:
            return self._complete_execute(head, kind, start, end, tag_size)
        if head.mode == MODE_SKIP or head.mode == MODE_FINISH:
            return 0
        if head.mode == MODE_REPLACE:
            return self._broken("the server accepted what the gateway made it refuse")
        verdict = <Verdict>head.subject
        self._settle_cursor(verdict, head.index)
        self._settle_settings(verdict, head.index, self._data + start + HEADER_SIZE, tag_size)
        head.index += 1
        self.ddl_done = self.ddl_done or verdict.ddl
        head.has_plan = False
        if self.limits is not None and verdict.affects:
            self._affects_too_much(head, self._data + start + HEADER_SIZE, tag_size)
        if head.guard == GUARD_WRAPPED and head.index >= verdict.count and not self.muted:
            # As the server does: no word of success before the commit.
            self._flush_kept()
            self.held_tag = PyBytes_FromStringAndSize(<char *>self._data + start, end - start)
        else:
            self._keep(start, end)
        self._end_copy()
        if head.statement and not head.failed:
            # A string of several statements is one record: the tag is the last one's.
            self._note_tag(self._data + start + HEADER_SIZE, tag_size)
        return 0

    cdef int _complete_execute(
        self, Expected *head, uint8_t kind, Py_ssize_t start, Py_ssize_t end, Py_ssize_t tag_size
    ) except -1:
        cdef Portal portal = <Portal>head.subject
        cdef Verdict verdict = portal.verdict
        portal.rows += head.rows
        portal.bytes += head.bytes
        if self.limits is not None and verdict.affects:
            if kind == c"s":
                # The write is done and its tag still to come: it could be committed unseen.
                if self.limits.max_affected >= 0:
                    self._over(head, OVER_UNCOUNTED)
            else:
                self._affects_too_much(head, self._data + start + HEADER_SIZE, tag_size)
        self._keep(start, end)
        if kind != c"s" or self.muted:
            self._settle_cursor(verdict, 0)
            self._settle_settings(verdict, 0, self._data + start + HEADER_SIZE, tag_size)
            self.ddl_done = self.ddl_done or verdict.ddl
            self.finish_portal(
                portal, b"error" if self.muted else b"ok",
                self._data + start + HEADER_SIZE, tag_size, NULL
            )
        if verdict.copy_in:
            self.link.copy_in_flight -= 1
            self._end_copy()
        return self._pop()

    cdef void _end_copy(self) noexcept:
        self.link.copy_in = False
        self.link.copy_end_sent = False

    cdef int _note_tag(self, const uint8_t *tag, Py_ssize_t size) except -1:
        cdef Py_ssize_t index
        if size > <Py_ssize_t>sizeof(self._tag):
            size = sizeof(self._tag)
        for index in range(size):
            self._tag[index] = tag[index]
        self._tag_size = size
        return 0

    cdef int _error(self, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Expected *head = self.link.queue.head()
        cdef uint8_t sqlstate[5]
        cdef bint known = _sqlstate(self._data + start + HEADER_SIZE, end - start - HEADER_SIZE,
                                    sqlstate)
        if head == NULL:
            self._emit_error(start, end)
            return 0
        if self.settings_open:
            self._end_settings(False)
        if head.mode == MODE_FINISH:
            return self._finish_failed(head, start, end, sqlstate if known else NULL)
        if head.mode == MODE_REPLACE:
            if not self.muted:
                self._flush_kept()
                answer = <bytes>head.subject
                self.to_client.append(<const uint8_t *><char *>answer, len(answer))
        elif self._fail_by_time(head, sqlstate if known else NULL):
            pass
        elif head.mode == MODE_SKIP and head.kind == REPLY_QUERY:
            # An injected setup that fails leaves a session on a server in an unknown state.
            return self._broken("the server refused the session's settings")
        else:
            self._emit_error(start, end)
        if head.kind == REPLY_QUERY:
            head.failed = True
            head.has_plan = False
            self._end_copy()
            self._tag_size = 0
            if head.mode == MODE_FORWARD and head.statement:
                self._name_over(head.over)
                self.write_result(
                    head.statement, b"error", NULL, 0, sqlstate if known else NULL,
                    head.rows, head.bytes, head.started_ns
                )
                head.statement = 0
            return 0
        if head.kind == REPLY_SYNC:
            return 0                  # the implicit transaction failed at its commit
        if head.mode == MODE_FORWARD and head.kind == REPLY_EXECUTE:
            (<Portal>head.subject).rows += head.rows
            (<Portal>head.subject).bytes += head.bytes
        self._drop_failed(head, sqlstate if known else NULL)
        self.link.queue.pop()
        return self._discard_to_sync()

    cdef int _finish_failed(
        self, Expected *head, Py_ssize_t start, Py_ssize_t end, const uint8_t *sqlstate
    ) except -1:
        """The gateway's COMMIT failed, and with it the statement; or a ROLLBACK, as it should."""
        if not head.failed:
            self._emit_error(start, end)
            head.failed = True
            self.write_result(
                head.statement, b"error", NULL, 0, sqlstate, head.rows, head.bytes,
                head.started_ns
            )
            head.statement = 0
        return 0

    cdef int _discard_to_sync(self) except -1:
        """The server reads on to the next Sync: what lies before it is never answered."""
        cdef Expected *head
        self.link.failed = True
        self.link.sync_pending = True
        while True:
            head = self.link.queue.head()
            if head == NULL:
                return 0
            if head.kind == REPLY_SYNC:
                self.link.failed = False
                self.link.sync_pending = self._is_open_behind_sync()
                return 0
            if head.kind == REPLY_QUERY:
                # A Query before the Sync is discarded too, its ReadyForQuery with it.
                self.link.owed -= 1
                if head.mode == MODE_FORWARD and (<Verdict>head.subject).copy_in:
                    self.link.copy_in_flight -= 1
                if head.statement:
                    self.write_result(head.statement, b"skipped", NULL, 0, NULL, 0, 0,
                                      head.started_ns)
            else:
                self._drop_failed(head, NULL)
            self.link.queue.pop()

    cdef bint _is_open_behind_sync(self) noexcept:
        """Whether extended messages were sent after the last Sync or Query in the queue."""
        cdef int kind = self.link.queue.at(self.link.queue.count - 1).kind
        return kind != REPLY_SYNC and kind != REPLY_QUERY

    cdef int _drop_failed(self, Expected *entry, const uint8_t *sqlstate) except -1:
        """Undo what was assumed when the message was sent. `sqlstate` NULL: it never ran."""
        cdef Prepared prepared
        cdef Portal portal
        if entry.kind == REPLY_PARSE and entry.mode != MODE_REPLACE:
            prepared = <Prepared>entry.subject
            if entry.mode == MODE_FORWARD and self.statements.get(prepared.name) is prepared:
                del self.statements[prepared.name]
            if prepared.server_name:
                self.link.prepared.pop(prepared.server_name, None)
            elif self.link.unnamed is prepared:
                self.link.unnamed = None
        elif entry.kind == REPLY_BIND or entry.kind == REPLY_EXECUTE:
            portal = <Portal>entry.subject
            if self.portals.get(portal.name) is portal:
                del self.portals[portal.name]
            self.finish_portal(portal, b"error" if sqlstate != NULL else b"skipped", NULL, 0,
                               sqlstate)
            if entry.kind == REPLY_EXECUTE and portal.verdict.copy_in:
                self.link.copy_in_flight -= 1
                self._end_copy()
        return 0

    cdef int _ready(self, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Expected *head
        self._settle()
        head = self.link.queue.head()
        if head == NULL or (head.kind != REPLY_SYNC and head.kind != REPLY_QUERY):
            return self._broken("the server became ready out of turn")
        if end - start != HEADER_SIZE + 1:
            return self._broken("the server sent a malformed ReadyForQuery")
        self.link.transaction = self._data[end - 1]
        self.link.owed -= 1
        if head.mode == MODE_FORWARD and head.kind == REPLY_QUERY:
            if (<Verdict>head.subject).copy_in:
                self.link.copy_in_flight -= 1
        if head.mode == MODE_FORWARD and self._close_guarded(head):
            return self._pop()
        if head.mode == MODE_FINISH:
            if head.failed:
                self._end_settings(False)
            self._finish(head, self._tag, self._tag_size)
            self._tag_size = 0
        elif head.kind == REPLY_QUERY and head.statement:
            self._name_over(head.over)
            self.write_result(
                head.statement, b"error" if self.muted else b"ok", self._tag, self._tag_size,
                NULL, head.rows, head.bytes, head.started_ns
            )
            self._tag_size = 0
        if head.mode != MODE_SKIP:
            self.muted = False
            self._keep(start, end)
        self._pop()
        if self.link.cancel_waits and not self.link.is_setting_up():
            self.link.cancel_waits = False
            self.events |= EVENT_SET_UP
        if self.link.transaction == c"I":
            self._end_settings(True)
            self.link.changed = False
        if self.over_time and self.link.queue.count == 0 and not self.link.held:
            self.over_time = False    # the statement ended before the cancel came
        if self.link.transaction == c"I" and self.ddl_done:
            self.ddl_done = False
            self.events |= EVENT_DDL
        if self.portals and self.link.nothing_owed():
            self._end_portals()
        if self.cursors and self.pin is None and self.link.transaction == c"I":
            self.cursors.clear()      # one WITH HOLD pins
        return 0

    cdef int _end_portals(self) except -1:
        """Portals end with their transaction; one that was not run to its end is recorded so."""
        cdef Portal portal
        for portal in self.portals.values():
            self.finish_portal(portal, b"suspended" if portal.rows else b"skipped", NULL, 0, NULL)
        self.portals.clear()
        return 0

    cdef int _opened(self, bytes name, Verdict verdict, int index) except -1:
        """The server has opened a cursor or a named portal: from now on the name means this one.

        What it meant before is gone on the server, or it would have refused.
        """
        cdef Cursor cursor = Cursor.__new__(Cursor)
        cursor.verdict = verdict
        cursor.index = index
        self.cursors[name[:NAME_BYTES_MAX]] = cursor
        if len(self.cursors) > CURSORS_MAX:
            self._broken("more cursors are open than the gateway follows")
        return 0

    cdef int _settle_cursor(self, Verdict verdict, int index) except -1:
        """A statement is complete: did it open or close a cursor?"""
        if verdict.cursors is None or index >= len(verdict.cursors):
            return 0
        use = verdict.cursors[index]
        if use is not None and use[0] == CURSOR_DECLARE:
            self._opened(use[1], verdict, index)
        elif use is not None and use[0] == CURSOR_CLOSE:
            self.cursors.pop(use[1], None)
        return 0

    cdef int _settle_settings(
        self, Verdict verdict, int index, const uint8_t *tag, Py_ssize_t tag_size
    ) except -1:
        """A statement is complete: did it set something, or end the transaction that did?

        Settings go back with the transaction that set them. How much of them goes back to a
        savepoint is not followed: a transaction that has both keeps its server connection.
        """
        if verdict.settings is not None and index < len(verdict.settings):
            use = verdict.settings[index]
            if use is not None and use[0] == SETTING_SAVEPOINT:
                self.savepoint_open = True
            elif use is not None:
                self.settings_open.append(use)
        if not self.settings_open:
            return 0
        if self.savepoint_open:
            self.settings_open.clear()
            if self.pin is None:
                self.pin = b"settings"
        elif tag_size == 6 and memcmp(tag, b"COMMIT", 6) == 0:
            self._end_settings(True)
        elif tag_size == 8 and memcmp(tag, b"ROLLBACK", 8) == 0:
            self._end_settings(False)
        return 0

    cdef int _end_settings(self, bint committed) except -1:
        """The transaction is over, or has failed: what it set holds, or never did."""
        cdef bytes before = self.setup
        cdef bint was_reset = False
        self.savepoint_open = False
        if not self.settings_open:
            return 0
        changes, self.settings_open = self.settings_open, []
        if not committed:
            return 0
        for use, name, query in changes:
            if use == SETTING_RESET_ALL:
                self.settings.clear()
                was_reset = True
            elif use == SETTING_RESET:
                self.settings.pop(name, None)
                was_reset = True
            elif use == SETTING_SET:
                self.settings.pop(name, None)
                self.settings[name] = query
        parts = [self.setup_at_login] if self.setup_at_login else []
        self.setup = b"; ".join(parts + list(self.settings.values()))
        if was_reset:
            # On the server that is its own default, not what the startup packet said.
            self.link.setup = SETUP_UNKNOWN
        elif self.link.setup == before:
            self.link.setup = self.setup
        return 0

    cdef Cursor _fetched(self, Verdict verdict, int index):
        """The cursor that statement `index` reads; None for another statement.

        None as well for a name that nothing here has opened: a function can. Such rows pass the
        cross-check with the description as the function's own result would.
        """
        if not self._is_fetch(verdict, index):
            return None
        return self.cursors.get(verdict.cursors[index][1])

    cdef bint _is_fetch(self, Verdict verdict, int index) except -1:
        if not verdict.fetches or index >= len(verdict.cursors):
            return False
        use = verdict.cursors[index]
        return use is not None and use[0] == CURSOR_FETCH

    cdef int _pop(self) except -1:
        self.link.queue.pop()
        return self._settle()

    cdef int _settle(self) except -1:
        """Emit the gateway's own answers that are next in line."""
        cdef Expected *head = self.link.queue.head()
        while head != NULL and (head.kind == REPLY_LOCAL or head.kind == REPLY_COPY_END):
            if head.kind == REPLY_LOCAL and not self.muted:
                self._flush_kept()
                answer = <bytes>head.subject
                self.to_client.append(<const uint8_t *><char *>answer, len(answer))
            self.link.queue.pop()
            head = self.link.queue.head()
        return 0

    cdef bytes _payload(self, Py_ssize_t start, Py_ssize_t end):
        return PyBytes_FromStringAndSize(
            <char *>self._data + start + HEADER_SIZE, end - start - HEADER_SIZE
        )

    cdef int _emit_error(self, Py_ssize_t start, Py_ssize_t end) except -1:
        if self.filters_errors:
            return self._emit_filtered(c"E", start, end)
        return self._keep(start, end)

    cdef int _emit_filtered(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1:
        """An error or notice may repeat a value: fixed text per SQLSTATE goes out instead."""
        if self.muted:
            return 0
        cdef bytes filtered = self.error_filter(kind, self._payload(start, end))
        self._flush_kept()
        return self.to_client.append(<const uint8_t *><char *>filtered, len(filtered))

    cdef int _keep(self, Py_ssize_t start, Py_ssize_t end) except -1:
        """Let `data[start:end]` go to the client as it is."""
        if self.muted:
            return 0
        if self._kept_to != start or self._kept_from == self._kept_to:
            self._flush_kept()
            self._kept_from = start
        self._kept_to = end
        return 0

    cdef int _flush_kept(self) except -1:
        if self._kept_from != self._kept_to:
            self.to_client.append(
                self._data + self._kept_from, self._kept_to - self._kept_from
            )
            self._kept_from = self._kept_to
        return 0

    cdef int _broken(self, object why) except -1:
        self.events |= EVENT_BROKEN
        self.fault = why
        return 0


cdef bint _sqlstate(const uint8_t *fields, Py_ssize_t size, uint8_t *out) noexcept nogil:
    """Copy field C of an ErrorResponse; every field is optional and none is trusted."""
    cdef Py_ssize_t pos = 0, index
    cdef const uint8_t *terminator
    while pos < size and fields[pos]:
        terminator = <const uint8_t *>memchr(fields + pos, 0, size - pos)
        if terminator == NULL:
            return False
        if fields[pos] == c"C" and terminator - (fields + pos) == 6:
            for index in range(5):
                out[index] = fields[pos + 1 + index]
            return True
        pos = terminator - fields + 1
    return False
