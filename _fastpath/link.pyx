"""What the relay knows about one server connection, apart from its socket.

It outlives the sessions that use it: prepared statements and settings stay on the server, so
their bookkeeping stays here. Release rule: `is_idle()`, in one place.
"""
from _fastpath.replies cimport MODE_SKIP, REPLY_QUERY, Expected


SETUP_UNKNOWN = b"?"                  # equals no settings query


cdef class ServerLink:
    """State of one server connection. Created at ReadyForQuery, with nothing owed."""

    def __init__(self):
        self.queue = ReplyQueue()
        self.transaction = c"I"
        self.prepared = {}
        self.need = 0
        self.carry = b""

    cdef bint nothing_owed(self) noexcept:
        return (
            self.owed == 0
            and self.transaction == c"I"
            and self.queue.count == 0
            and not self.sync_pending
            and not self.copy_in
        )

    cdef bint owes_only_setup(self) noexcept:
        """Whether only the gateway's own settings are on their way, outside of a transaction."""
        cdef Py_ssize_t index
        cdef Expected *entry
        if self.transaction != c"I" or self.sync_pending or self.copy_in:
            return False
        for index in range(self.queue.count):
            entry = self.queue.at(index)
            if entry.kind != REPLY_QUERY or entry.mode != MODE_SKIP:
                return False
        return True

    cpdef bint is_setting_up(self):
        """Whether what the server runs now is the gateway's own: a cancel must not hit that.

        The statement behind it would run without the role and the settings it was to have.
        """
        cdef Expected *head = self.queue.head()
        return head != NULL and head.kind == REPLY_QUERY and head.mode == MODE_SKIP

    cpdef bint is_idle(self):
        """Nothing owed, no transaction, no COPY, no open extended batch: another may use it."""
        return (
            self.nothing_owed()
            and self.passing == 0
            and self.need == 0
            and not self.carry
        )

    def forget_session(self):
        """After DISCARD ALL was sent: nothing of the earlier sessions is left on the server."""
        self.prepared.clear()
        self.unnamed = None
        self.setup = None
        self.dirty = False

    @property
    def prepared_count(self):
        return len(self.prepared)
