"""What must be settled before more is sent: statements whose limits are known only at their end.

A write is undone when its tag says that it changed too much, so nothing that could commit it may
be on its way by then. Its Execute is followed by a Flush and by nothing else until it is answered;
a Query outside of a transaction gets one, which `Limiting` ends by COMMIT or ROLLBACK. That costs
one more round trip, for statements under such a limit only.
"""
from libc.stdint cimport int64_t, uint8_t

from _fastpath.bounds cimport SPENT_OK, SPENT_OVER, StatementLimits
from _fastpath.actions cimport (
    ACTION_BACKLOG, ACTION_JOURNAL, ACTION_NEXT, ACTION_OVER_BUDGET, ACTION_STALE,
)
from _fastpath.outgoing cimport Outgoing
from _fastpath.relay_state cimport now_ns
from _fastpath.replies cimport GUARD_NONE, GUARD_WAIT, GUARD_WRAPPED, REPLY_EXECUTE, Expected
from _fastpath.statements cimport VERDICT_LOCAL, Verdict
from _fastpath.wire cimport HEADER_SIZE


cdef class Guarding(Outgoing):
    """Base of `ClientSide`: the guards of statements on their way out."""

    cdef int _guard_of(self, Verdict verdict) noexcept:
        """Whether a limit on `verdict` could have to undo something."""
        cdef StatementLimits limits = self.limits
        if limits is None or not limits.enforced:
            return GUARD_NONE
        if limits.max_affected >= 0 and verdict.affects:
            return GUARD_WAIT
        if (limits.max_rows >= 0 or limits.max_bytes >= 0) and verdict.returns_rows and (
            verdict.changes or self.link.changed
        ):
            return GUARD_WAIT
        return GUARD_NONE

    cdef int _guard_query(self, Verdict verdict) except -1:
        """As `_guard_of`, for a Query about to be sent; or a negative action to take instead."""
        cdef int action
        if self._guard_of(verdict) == GUARD_NONE:
            action = self._spend(verdict)
            if action != ACTION_NEXT:
                self._ask_query()
                return -2 - action
            return GUARD_NONE
        if self.link.sync_pending:
            return -2 - self._refuse_with(
                "0A000", "a limited query cannot join a pipeline that was not synchronised"
            )
        if self.link.queue.count and not self.link.owes_only_setup():
            # Whether it stands in a transaction is known once all before it is answered.
            self.held_back = True
            return -2 - ACTION_BACKLOG
        action = self._spend(verdict)
        if action != ACTION_NEXT:
            self._ask_query()
            return -2 - action
        return GUARD_WRAPPED if self.link.transaction == c"I" else GUARD_WAIT

    cdef int _spend(self, Verdict verdict) except -1:
        """Count a statement that is about to be recorded and sent in the principal's windows."""
        cdef int spent
        if self.budget is None or verdict.action == VERDICT_LOCAL:
            return ACTION_NEXT
        spent = self.budget.spend()
        if spent == SPENT_OK:
            return ACTION_NEXT
        self.verdict = verdict
        return ACTION_OVER_BUDGET if spent == SPENT_OVER else ACTION_STALE

    cdef int _ask_query(self) except -1:
        """Say which Query is refused."""
        self.asked_sql = self.input[self.pos + HEADER_SIZE:self.end - 1]
        self.asked_types = self.asked_binds = b""
        self.asked_extended = False
        return 0

    cdef int _not_recorded(self, int64_t statement) except -1:
        """There is no intent, so nothing is sent and nothing was spent."""
        if self.budget is not None:
            self.budget.give_back(-1)
        return ACTION_JOURNAL if statement == 0 else self._unrecorded()

    cdef int _sent_statement(self, Expected *entry, Verdict verdict, int guard) except -1:
        """Note what is on its way, for the limits on it."""
        entry.guard = guard
        if guard != GUARD_NONE:
            self.link.guarding = True
        if self.limits is not None:
            if verdict.changes:
                self.link.changed = True
            if entry.kind == REPLY_EXECUTE:
                entry.started_ns = now_ns()
        return 0

    cdef int _flush_server(self) except -1:
        """Have the server answer what it has, behind what was just sent."""
        return self._inject(b"H\0\0\0\4")

    cdef bint _must_wait(self, const uint8_t *data, Py_ssize_t size) noexcept:
        """Whether the next message is to stay until a guard or a cancel is through."""
        if self.pos >= size:
            return False
        if self.link.held:
            return True
        # The data of a COPY is a part of what is guarded, and so is what the server ignores in it.
        return self.link.guarding and not (self.link.copy_in and not self.link.copy_end_sent)
