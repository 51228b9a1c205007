"""What one statement may return and change, held against what the server sends.

Over a limit the client gets the error in place of the rest, and the server's transaction must
not commit: a Query of its own is wrapped in one, an open one is made to fail. Nothing is looked
at per row: runs of rows are counted anyway, for the record.
"""
from libc.stdint cimport int64_t, uint8_t

from _fastpath.bounds cimport (
    OVER_AFFECTED, OVER_BYTES, OVER_ROWS, OVER_TIME, StatementLimits,
)
from _fastpath.events cimport EVENT_OVER, EVENT_SEND
from _fastpath.relay_state cimport RelayState
from _fastpath.replies cimport (
    GUARD_NONE, GUARD_WRAPPED, MODE_FINISH, MODE_REPLACE, REPLY_EXECUTE, REPLY_PARSE, REPLY_QUERY,
    REPLY_SYNC, Expected,
)
from _fastpath.prepared cimport Portal

# What cannot be parsed: the transaction or pipeline it stands in fails, as `Relay.refuse` has it.
cdef bytes POISON = b"postern refused this statement"
cdef bytes POISON_PARSE = b"P" + (len(POISON) + 8).to_bytes(4, "big") + (
    b"\0" + POISON + b"\0" + b"\0\0"
)


cdef bytes query(bytes sql):
    return b"Q" + (len(sql) + 5).to_bytes(4, "big") + sql + b"\0"


cdef int64_t count_of(const uint8_t *tag, Py_ssize_t size) noexcept nogil:
    """The number a command tag ends in, 0 without one; a NUL ends it."""
    cdef int64_t count = 0
    cdef Py_ssize_t pos
    for pos in range(size):
        if c"0" <= tag[pos] <= c"9":
            count = count * 10 + (tag[pos] - c"0")
        elif tag[pos] == c" ":
            count = 0                 # "INSERT 0 5": the last number is the count
    return count


cdef class Limiting(RelayState):
    """Base of `Settling`: it acts on the entry that is answered at the moment."""

    cdef bint _is_over(self, Expected *head) except -1:
        """Whether the rows or bytes of `head` are too many: nothing more of it goes out then."""
        cdef StatementLimits limits = self.limits
        cdef int64_t rows = head.rows, size = head.bytes
        if head.over:
            return limits.enforced
        if head.kind == REPLY_EXECUTE:
            rows += (<Portal>head.subject).rows
            size += (<Portal>head.subject).bytes
        if 0 <= limits.max_rows < rows:
            return self._over(head, OVER_ROWS)
        if 0 <= limits.max_bytes < size:
            return self._over(head, OVER_BYTES)
        return False

    cdef bint _affects_too_much(
        self, Expected *head, const uint8_t *tag, Py_ssize_t size
    ) except -1:
        """Count what a CommandComplete says was changed; whether that is too much."""
        head.affected += count_of(tag, size)
        if head.over or not 0 <= self.limits.max_affected < head.affected:
            return False
        return self._over(head, OVER_AFFECTED)

    cdef int _over(self, Expected *head, int which) except -1:
        """`head` exceeds a limit: 1 when its answer ends here, 0 when that is only recorded."""
        cdef StatementLimits limits = self.limits
        head.over = which
        if head.kind == REPLY_EXECUTE:
            (<Portal>head.subject).over = which
        self.over = which
        self.events |= EVENT_OVER
        if not limits.enforced:
            return 0
        self._flush_kept()
        error = <bytes>limits.errors[which]
        self.to_client.append(<const uint8_t *><char *>error, len(error))
        self.muted = True
        if head.kind == REPLY_EXECUTE and not self._is_synced():
            # The pipeline is open: what ran in it must not be committed by a Sync.
            self._send(POISON_PARSE)
            self.link.queue.push(REPLY_PARSE, MODE_REPLACE, b"")
            self.link.unnamed = None
            self.link.sync_pending = True
            self.link.failed = True
        return 1

    cdef bint _is_synced(self) noexcept:
        """Whether a Sync or Query ends the pipeline that is being answered."""
        cdef Py_ssize_t index
        cdef int kind
        for index in range(self.link.queue.count):
            kind = self.link.queue.at(index).kind
            if kind == REPLY_SYNC or kind == REPLY_QUERY:
                return True
        return False

    cdef int _send(self, bytes sent) except -1:
        # Between two reads of the client no span is open, so this is in order.
        self.events |= EVENT_SEND
        return self.to_server.append(<const uint8_t *><char *>sent, len(sent))

    cdef bint _close_guarded(self, Expected *head) except -1:
        """At a ReadyForQuery that may not be the last word: end the transaction as it must end.

        True: the gateway's own COMMIT, ROLLBACK or failing statement is on its way, and its
        ReadyForQuery is the one the client gets.
        """
        cdef Expected ended = head[0]
        cdef Expected *entry
        if head.kind == REPLY_QUERY and head.guard == GUARD_WRAPPED and (
            self.link.transaction != c"I"
        ):
            failed = head.failed or self.muted or self.link.transaction == c"E"
            self._send(query(b"ROLLBACK" if failed else b"COMMIT"))
        elif self.muted and self.link.transaction == c"T" and self.link.queue.count == 1:
            # The server was through before it could be stopped; its transaction lives.
            self._send(query(POISON))
        else:
            return False
        entry = self.link.queue.push(REPLY_QUERY, MODE_FINISH, None)
        entry.statement = ended.statement
        entry.started_ns = ended.started_ns
        entry.rows = ended.rows
        entry.bytes = ended.bytes
        entry.over = ended.over
        entry.failed = ended.failed or self.muted
        self.link.owed += 1
        return True

    cdef int _finish(self, Expected *head, const uint8_t *tag, Py_ssize_t size) except -1:
        """The gateway's end of a transaction is through: what waited for it goes out."""
        cdef bytes held = self.held_tag
        self.held_tag = None
        if held is not None and not head.failed:
            self._flush_kept()
            self.to_client.append(<const uint8_t *><char *>held, len(held))
        if head.statement:
            self._name_over(head.over)
            self.write_result(
                head.statement, b"error" if head.failed else b"ok", tag, size, NULL, head.rows,
                head.bytes, head.started_ns
            )
            head.statement = 0
        return 0

    cdef bint _fail_by_time(self, Expected *head, const uint8_t *sqlstate) except -1:
        """Whether an error is that of the gateway's own cancel: the client hears why instead."""
        if not self.over_time or self.limits is None or self.muted or sqlstate == NULL:
            return False
        if sqlstate[:5] != b"57014":
            return False
        self.over_time = False
        head.over = OVER_TIME
        if head.kind == REPLY_EXECUTE:
            (<Portal>head.subject).over = OVER_TIME
        self.over = OVER_TIME
        self.events |= EVENT_OVER
        self._flush_kept()
        error = <bytes>self.limits.errors[OVER_TIME]
        self.to_client.append(<const uint8_t *><char *>error, len(error))
        return True

    cdef int _name_over(self, int which) except -1:
        """Have the next result record say which limit was exceeded."""
        self.over_member = None
        if which and self.limits is not None:
            self.over_member = <bytes>self.limits.members[which]
        return 0

    cdef bint _is_guarding(self) noexcept:
        """Whether something in the queue must be settled before anything follows it."""
        cdef Py_ssize_t index
        cdef Expected *entry
        for index in range(self.link.queue.count):
            entry = self.link.queue.at(index)
            if entry.guard != GUARD_NONE or entry.mode == MODE_FINISH:
                return True
        return False

    cdef int _flush_kept(self) except -1:
        return 0                      # `Settling` knows the span
