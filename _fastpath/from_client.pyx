"""The way there: judge each message of a client and pass on what its verdict lets through.

Invariant: bytes leave for the server only after a verdict for the statement they belong to and
after its intent is in the journal. Order is the client's; nothing here reorders messages.
"""
from libc.stdint cimport int64_t, uint8_t

from _fastpath.actions cimport (
    ACTION_DECIDE, ACTION_ATTACH, ACTION_REFUSE, ACTION_TERMINATE, ACTION_VIOLATION,
    ACTION_STALE, ACTION_NEXT,
)
from _fastpath.outgoing cimport bind_values_end, count_at, message, show, string_end, text
from _fastpath.guarding cimport Guarding
from _fastpath.events cimport EVENT_BROKEN
from _fastpath.relay_state cimport now_ns
from _fastpath.replies cimport (
    GUARD_NONE, GUARD_WRAPPED, MODE_FORWARD, MODE_SKIP, REPLY_BIND, REPLY_CLOSE,
    REPLY_COPY_END, REPLY_DESCRIBE_PORTAL, REPLY_DESCRIBE_STATEMENT, REPLY_EXECUTE,
    REPLY_PARSE, REPLY_QUERY, REPLY_SYNC, Expected,
)
from _fastpath.prepared cimport Portal, Prepared
from _fastpath.statements cimport VERDICT_APPROVE, VERDICT_DENY, VERDICT_LOCAL, Verdict
from _fastpath.wire cimport HEADER_SIZE, store_be32


cdef enum:
    STATEMENTS_MAX = 10000            # as limits.PREPARED_PER_SESSION_MAX
    PORTALS_MAX = 1000                # as limits.PORTALS_PER_SESSION_MAX

cdef bytes PARSE_COMPLETE = b"1\0\0\0\4"
cdef bytes CLOSE_COMPLETE = b"3\0\0\0\4"


cdef class ClientSide(Guarding):
    """One handler per frontend message."""

    cdef int _dispatch(self, uint8_t kind, const uint8_t *data, Py_ssize_t pos,
                       Py_ssize_t end) except -1:
        if self.discarding and kind != c"S" and kind != c"X":
            return ACTION_NEXT
        if kind == c"Q":
            return self._query(data, pos, end)
        if kind == c"d" or kind == c"c" or kind == c"f":
            return self._copy(kind)
        if kind == c"S":
            return self._sync() if end == pos else self._violation("Sync carries no data")
        if kind == c"X":
            return ACTION_TERMINATE
        if self.link is not None and self.link.failed:
            # The server reads on to Sync and answers nothing; so it need not get these.
            if kind == c"P" or kind == c"B" or kind == c"D" or kind == c"E" or kind == c"C" or (
                kind == c"H"
            ):
                return ACTION_NEXT
        if kind == c"P":
            return self._parse(data, pos, end)
        if kind == c"B":
            return self._bind(data, pos, end)
        if kind == c"D":
            return self._describe(data, pos, end)
        if kind == c"E":
            return self._execute(data, pos, end)
        if kind == c"C":
            return self._close(data, pos, end)
        if kind == c"H":
            if self.link is not None and (self.link.sync_pending or self.link.queue.count):
                self._forward()
            return ACTION_NEXT
        if kind == c"F":
            return self._refuse_with("0A000", "function calls by protocol message are not served")
        return self._violation("a message of this type has no place here")

    cdef int _query(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1:
        cdef Verdict verdict
        cdef Prepared prepared
        cdef int action, guard
        cdef int64_t statement
        if string_end(data, pos, end) != end - 1:
            return self._violation("Query holds one string that ends in a NUL")
        if self.link is not None and self.link.failed:
            return ACTION_NEXT
        if self._is_stale():
            return ACTION_STALE
        verdict = self._verdict_for(data + pos, end - 1 - pos, NULL, 0)
        if verdict is None:
            return self._ask(data, pos, end - 1, b"", False)
        if verdict.resets_role and self.link is not None and not self.link.owes_only_setup():
            return self._refuse_with("25001", "DISCARD ALL cannot run inside a transaction block")
        action = self._judge(verdict)
        if action != ACTION_NEXT:
            self.asked_sql = text(data, pos, end - 1)
            self.asked_types = self.asked_binds = b""
            self.asked_extended = False
            return action
        guard = self._guard_query(verdict)
        if guard < 0:
            return -2 - guard
        statement = self.write_intent(verdict, data + pos, end - 1 - pos, False, NULL, 0, None)
        if statement <= 0:
            return self._not_recorded(statement)
        if guard == GUARD_WRAPPED:
            self._inject_query(b"BEGIN")
        if verdict.deallocate is not None and verdict.deallocate in self.statements:
            # The client's name is not the server's.
            prepared = <Prepared>self.statements.pop(verdict.deallocate)
            self._ensure(prepared)
            self._inject(message(c"Q", b"DEALLOCATE " + prepared.server_name + b"\0"))
            self.link.prepared.pop(prepared.server_name, None)
        elif verdict.action == VERDICT_LOCAL:
            self._inject(message(c"Q", verdict.substitute + b"\0"))
        else:
            self._forward()
        self._sent_query(verdict, statement, guard)
        self.statements.pop(b"", None)
        self.link.unnamed = None      # a simple query ends the unnamed statement
        self._started(statement)
        self._after(verdict)
        return ACTION_NEXT

    cdef int _sent_query(self, Verdict verdict, int64_t statement, int guard) except -1:
        cdef Expected *entry = self.link.queue.push(REPLY_QUERY, MODE_FORWARD, verdict)
        entry.statement = statement
        entry.started_ns = now_ns()
        self.link.owed += 1
        self.link.sync_pending = False    # it ends an open pipeline as Sync does
        self.link.bound = False
        if verdict.copy_in:
            self.link.copy_in_flight += 1
        return self._sent_statement(entry, verdict, guard)

    cdef int _parse(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1:
        cdef Py_ssize_t name_end = string_end(data, pos, end)
        cdef Py_ssize_t sql_end = -1 if name_end < 0 else string_end(data, name_end + 1, end)
        cdef Verdict verdict
        cdef Prepared prepared
        cdef bytes name
        if sql_end < 0 or end - sql_end - 1 < 2 or (
            end - sql_end - 3 != 4 * count_at(data + sql_end + 1)
        ):
            return self._violation("Parse is malformed")
        name = text(data, pos, name_end)
        if self._is_stale():
            return ACTION_STALE
        if name and name in self.statements:
            return self._refuse_with("42P05", f'prepared statement "{show(name)}" already exists')
        if len(self.statements) >= STATEMENTS_MAX:
            return self._refuse_with("53400", "too many prepared statements in one session")
        verdict = self._verdict_for(
            data + name_end + 1, sql_end - name_end - 1, data + sql_end + 1, end - sql_end - 1
        )
        if verdict is None:
            return self._ask(data, name_end + 1, sql_end, text(data, sql_end + 1, end), True)
        if verdict.action == VERDICT_DENY:
            self.verdict = verdict
            self.asked_sql = text(data, name_end + 1, sql_end)
            self.asked_types = text(data, sql_end + 1, end)
            self.asked_extended = True
            return ACTION_REFUSE
        if verdict.action == VERDICT_APPROVE:
            # Nothing of it goes out before it is approved, which is asked for when it is bound:
            # a server that had parsed it would hold locks while a person thinks.
            self._prepared(name, data, name_end, sql_end, end, verdict)
            return self._local(PARSE_COMPLETE)
        if self.link is None:
            return ACTION_ATTACH
        prepared = self._prepared(name, data, name_end, sql_end, end, verdict)
        if name and prepared.server_name in self.link.prepared:
            return self._local(PARSE_COMPLETE)
        if name or verdict.action == VERDICT_LOCAL:
            self._inject(self._parse_message(prepared))
        else:
            self._forward()
        self._sent_parse(prepared, MODE_FORWARD)
        return ACTION_NEXT

    cdef Prepared _prepared(
        self, bytes name, const uint8_t *data, Py_ssize_t name_end, Py_ssize_t sql_end,
        Py_ssize_t end, Verdict verdict
    ):
        """Take a Parse into the client's statements; `data` is as `_parse` has it."""
        cdef Prepared prepared = Prepared.__new__(Prepared)
        prepared.name = name
        prepared.sql = text(data, name_end + 1, sql_end)
        prepared.types = text(data, sql_end + 1, end)
        self._decided(prepared, verdict)
        self.statements[name] = prepared
        return prepared

    cdef int _decided(self, Prepared prepared, Verdict verdict) except -1:
        """Give `prepared` a verdict, and with it its name and text on the servers."""
        prepared.verdict = verdict
        prepared.cache = None if verdict.once else self.cache
        prepared.shape = None
        prepared.server_name = (
            self.cache.server_name(prepared.sql, prepared.types) if prepared.name else b""
        )
        return 0

    cdef int _renew(self, Prepared prepared) except -1:
        """Decide `prepared` again: policy, catalog or identity moved on, or it never lasts."""
        cdef Verdict verdict = self._verdict_for(
            <const uint8_t *><char *>prepared.sql, len(prepared.sql),
            <const uint8_t *><char *>prepared.types, len(prepared.types)
        )
        if verdict is None:
            self.asked_sql = prepared.sql
            self.asked_types = prepared.types
            self.asked_binds = b""
            self.asked_extended = True
            return ACTION_DECIDE
        self._decided(prepared, verdict)
        return ACTION_NEXT

    cdef bytes _parse_message(self, Prepared prepared):
        """The Parse that prepares it on a server: its text under the server's name."""
        cdef Verdict verdict = prepared.verdict
        return message(
            c"P",
            prepared.server_name + b"\0"
            + (verdict.substitute if verdict.action == VERDICT_LOCAL else prepared.sql)
            + b"\0" + prepared.types,
        )

    cdef int _sent_parse(self, Prepared prepared, int mode) except -1:
        self.link.queue.push(REPLY_PARSE, mode, prepared)
        self.link.sync_pending = True
        if prepared.server_name:
            self.link.prepared[prepared.server_name] = False
        else:
            self.link.unnamed = prepared
        return 0

    cdef int _ensure(self, Prepared prepared) except -1:
        """Prepare on this server connection what was prepared on another one."""
        if prepared.server_name:
            if prepared.server_name in self.link.prepared:
                return 0
        elif self.link.unnamed is prepared:
            return 0
        self._inject(self._parse_message(prepared))
        return self._sent_parse(prepared, MODE_SKIP)

    cdef int _bind(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1:
        cdef Py_ssize_t portal_end = string_end(data, pos, end)
        cdef Py_ssize_t name_end = -1 if portal_end < 0 else string_end(data, portal_end + 1, end)
        cdef Py_ssize_t values_end
        cdef Prepared prepared
        cdef Portal portal
        cdef int action
        values_end = -1 if name_end < 0 else bind_values_end(data, name_end + 1, end)
        if values_end < 0:
            return self._violation("Bind is malformed")
        found = self.statements.get(text(data, portal_end + 1, name_end))
        if found is None:
            shown = show(text(data, portal_end + 1, name_end))
            return self._refuse_with("26000", f'prepared statement "{shown}" does not exist')
        prepared = <Prepared>found
        action = self._judge_bind(prepared, data + name_end + 1, values_end - name_end - 1)
        if action != ACTION_NEXT:
            return action
        portal = Portal.__new__(Portal)
        portal.name = text(data, pos, portal_end)
        portal.prepared = prepared
        portal.verdict = prepared.verdict
        portal.cache = self.cache
        if portal.name:
            portal.verdict.cache = self.cache     # FETCH reads a named portal as well
        portal.formats = text(data, values_end, end)
        portal.has_plan = not self.cache.has_masks
        portal.started_ns = now_ns()
        portal.statement = self.write_intent(
            portal.verdict, <const uint8_t *><char *>prepared.sql, len(prepared.sql), True,
            data + name_end + 1, values_end - name_end - 1, prepared.types
        )
        if portal.statement <= 0:
            return self._not_recorded(portal.statement)
        self._ensure(prepared)
        self._forward_bind(data, portal_end, name_end, end, portal)
        self._end_portal(portal.name)
        self.portals[portal.name] = portal
        self._started(portal.statement)
        return ACTION_NEXT

    cdef int _judge_bind(
        self, Prepared prepared, const uint8_t *binds, Py_ssize_t size
    ) except -1:
        """What stands between a prepared statement and its execution with these parameters."""
        cdef Verdict verdict
        cdef int action
        if self._is_stale():
            return ACTION_STALE
        if self.given is not None or prepared.cache is not self.cache:
            action = self._renew(prepared)
            if action != ACTION_NEXT:
                return action
        verdict = prepared.verdict
        action = self._judge(verdict)
        if action != ACTION_NEXT:
            self.asked_sql = prepared.sql
            self.asked_types = prepared.types
            self.asked_binds = text(binds, 0, size)
            self.asked_extended = True
            return action
        if verdict.resets_role:
            return self._refuse_with("0A000", "DISCARD ALL is served as a simple query only")
        if verdict.deallocate is not None and verdict.deallocate in self.statements:
            return self._refuse_with("0A000", "DEALLOCATE is served as a simple query or as Close")
        if len(self.portals) >= PORTALS_MAX:
            return self._refuse_with("53400", "too many portals in one session")
        action = self._spend(verdict)
        if action != ACTION_NEXT:
            self.asked_sql = prepared.sql
            self.asked_types = prepared.types
            self.asked_binds = text(binds, 0, size)
            self.asked_extended = True
        return action

    cdef int _end_portal(self, bytes name) except -1:
        """A portal that is closed or bound anew: its record ends here, if it has not yet."""
        cdef Portal portal
        found = self.portals.pop(name, None)
        if found is None:
            return 0
        portal = <Portal>found
        outcome = b"suspended" if portal.rows else b"skipped"
        return self.finish_portal(portal, outcome, NULL, 0, NULL)

    cdef int _forward_bind(self, const uint8_t *data, Py_ssize_t portal_end,
                           Py_ssize_t name_end, Py_ssize_t end, Portal portal) except -1:
        cdef bytes server_name = portal.prepared.server_name
        cdef uint8_t header[HEADER_SIZE]
        cdef Py_ssize_t start = self.pos + HEADER_SIZE
        if not server_name:
            self._forward()
        else:
            self._flush_span()
            header[0] = c"B"
            store_be32(header + 1, <int>(
                end - start - (name_end - portal_end - 1) + len(server_name) + 4
            ))
            self.to_server.append(header, HEADER_SIZE)
            self.to_server.append(data + start, portal_end + 1 - start)
            self.to_server.append(<const uint8_t *><char *>server_name, len(server_name))
            self.to_server.append(data + name_end, end - name_end)
        self.link.queue.push(REPLY_BIND, MODE_FORWARD, portal)
        self.link.sync_pending = True
        self.link.bound = True
        return 0

    cdef int _describe(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1:
        cdef Prepared prepared
        cdef bytes name
        if pos >= end or string_end(data, pos + 1, end) != end - 1:
            return self._violation("Describe is malformed")
        name = text(data, pos + 1, end - 1)
        if data[pos] == c"S":
            found = self.statements.get(name)
            if found is None:
                return self._refuse_with(
                    "26000", f'prepared statement "{show(name)}" does not exist'
                )
            if self.link is None:
                return ACTION_ATTACH
            prepared = <Prepared>found
            self._ensure(prepared)
            if prepared.server_name:
                self._inject(message(c"D", b"S" + prepared.server_name + b"\0"))
            else:
                self._forward()
            self.link.queue.push(REPLY_DESCRIBE_STATEMENT, MODE_FORWARD, prepared)
        elif data[pos] == c"P":
            if self.link is None:
                return ACTION_ATTACH
            # A name we did not bind may be a cursor of SQL; only its description is served.
            self._forward()
            self.link.queue.push(REPLY_DESCRIBE_PORTAL, MODE_FORWARD, self.portals.get(name))
        else:
            return self._violation("Describe is malformed")
        self.link.sync_pending = True
        return ACTION_NEXT

    cdef int _execute(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1:
        cdef Portal portal
        cdef bytes name
        cdef Expected *entry
        cdef int action, guard
        if string_end(data, pos, end) != end - 5:
            return self._violation("Execute is malformed")
        name = text(data, pos, end - 5)
        found = self.portals.get(name)
        if found is None or self.link is None:
            return self._refuse_with("34000", f'portal "{show(name)}" does not exist')
        portal = <Portal>found
        if self._is_stale():
            return ACTION_STALE
        if portal.cache is not self.cache:
            # Bound under an older policy: what it may do is asked again, its masks too.
            action = self._renew(portal.prepared)
            if action != ACTION_NEXT:
                return action
            portal.cache = self.cache
            portal.verdict = portal.prepared.verdict
            portal.has_plan = not self.cache.has_masks
            portal.plan = None
            if portal.verdict.action == VERDICT_DENY:
                self.verdict = portal.verdict
                return ACTION_REFUSE
        if not portal.has_plan and not portal.describing:
            if portal.prepared.shape and not portal.verdict.fetches:
                self._plan_portal(portal, portal.prepared.shape)
                if self.events & EVENT_BROKEN:
                    return ACTION_VIOLATION
            elif portal.prepared.shape is None or portal.verdict.fetches:
                # Rows go out only under a checked description, so one is asked for unseen. That
                # of a FETCH is asked for each time: its cursor may be another one by now.
                self._inject(message(c"D", b"P" + name + b"\0"))
                self.link.queue.push(REPLY_DESCRIBE_PORTAL, MODE_SKIP, portal)
                portal.describing = True
        guard = self._guard_of(portal.verdict)
        self._forward()
        entry = self.link.queue.push(REPLY_EXECUTE, MODE_FORWARD, portal)
        self._sent_statement(entry, portal.verdict, guard)
        if guard != GUARD_NONE:
            self._flush_server()
        self.link.sync_pending = True
        if portal.verdict.copy_in:
            self.link.copy_in_flight += 1
        self._after(portal.verdict)
        return ACTION_NEXT

    cdef int _close(self, const uint8_t *data, Py_ssize_t pos, Py_ssize_t end) except -1:
        cdef bytes name
        if pos >= end or string_end(data, pos + 1, end) != end - 1:
            return self._violation("Close is malformed")
        name = text(data, pos + 1, end - 1)
        if data[pos] == c"S":
            # It stays prepared on the server, where other sessions of this principal use it.
            self.statements.pop(name, None)
            return self._local(CLOSE_COMPLETE)
        if data[pos] != c"P":
            return self._violation("Close is malformed")
        self._end_portal(name)
        if self.link is None:
            return self._local(CLOSE_COMPLETE)
        self._forward()
        self.link.queue.push(REPLY_CLOSE, MODE_FORWARD, None)
        self.link.sync_pending = True
        return ACTION_NEXT

    cdef int _sync(self) except -1:
        cdef uint8_t ready[6]
        self.discarding = False
        if self.link is not None and self.link.copy_in and not self.link.copy_end_sent:
            return ACTION_NEXT        # the server ignores it in this state
        if self.link is None or not (
            self.link.sync_pending or self.link.queue.count or self.link.failed
        ):
            ready[0] = c"Z"
            store_be32(ready + 1, 5)
            ready[5] = c"I" if self.link is None else <uint8_t>self.link.transaction
            self.to_client.append(ready, 6)
            return ACTION_NEXT
        self._forward()
        self.link.queue.push(REPLY_SYNC, MODE_FORWARD, None)
        self.link.owed += 1
        self.link.sync_pending = False
        self.link.bound = False
        self.link.failed = False
        return ACTION_NEXT

    cdef int _copy(self, uint8_t kind) except -1:
        """CopyData, CopyDone, CopyFail: outside a COPY the server drops them, so we do."""
        if self.link is None or not (self.link.copy_in or self.link.copy_in_flight > 0):
            return ACTION_NEXT
        self._forward()
        if kind != c"d":
            self.link.queue.push(REPLY_COPY_END, MODE_FORWARD, None)
            self.link.copy_end_sent = self.link.copy_in
            if self.link.guarding:
                self._flush_server()  # its tag is waited for
        return ACTION_NEXT
