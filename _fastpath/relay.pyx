"""One session of the data plane, without its sockets.

`advance` handles the client's messages until one needs the outside (see `RelayAction`), which
then calls it again: the message it stopped at is looked at anew. `from_server` is the way back.
One call per read and one write per read in each direction; no I/O happens here.
"""
from libc.stdint cimport int64_t, uint8_t

from _fastpath.bounds cimport OVER_TIME, Budget, StatementLimits
from _fastpath.framing cimport FRAME_OK, FRAME_REFUSED, Frame, frame_next
from _fastpath.from_client cimport ClientSide
from _fastpath.actions cimport ACTION_BACKLOG, ACTION_IDLE, ACTION_NEXT
from _fastpath.link cimport ServerLink
from _fastpath.replies cimport (
    MODE_REPLACE, MODE_SKIP, REPLY_EXECUTE, REPLY_PARSE, REPLY_QUERY, REPLY_SYNC, Expected,
)
from _fastpath.prepared cimport Portal
from _fastpath.relay_state cimport now_ns
from _fastpath.statements cimport Verdict, VerdictCache
from _fastpath.wire cimport HEADER_SIZE, load_be32


cdef enum:
    FRAME_SIZE_MAX = 0x4000000        # 64 MiB, as limits.MESSAGE_BYTES_MAX
    BACKLOG_MAX = 4096                # as limits.PIPELINE_MESSAGES_MAX

# What the server gets in place of a refused statement where it must fail too: its transaction
# or pipeline then fails as it would have on an error of its own.
cdef bytes POISON = b"postern refused this statement"
cdef bytes SYNC = b"S\0\0\0\4"
cdef bytes POISON_QUERY = b"Q" + (4 + len(POISON) + 1).to_bytes(4, "big") + POISON + b"\0"
cdef bytes POISON_PARSE = b"P" + (4 + 1 + len(POISON) + 1 + 2).to_bytes(4, "big") + (
    b"\0" + POISON + b"\0" + b"\0\0"
)


cdef inline bint is_frontend(uint8_t kind) noexcept nogil:
    """Whether a client may send this type once it is logged in."""
    return kind in (
        c"Q", c"P", c"B", c"D", c"E", c"C", c"S", c"H", c"X", c"d", c"c", c"f", c"F",
    )


cdef inline bint is_bare(uint8_t kind) noexcept nogil:
    return kind in (c"S", c"H", c"X", c"c")


cdef class Relay(ClientSide):
    """One session: its client's byte stream in, and the server's back."""

    def use_cache(
        self, VerdictCache cache not None, bint filters_errors, int64_t revocation,
        StatementLimits limits=None, Budget budget=None
    ):
        """Decide from `cache` from now on; the identity was checked at generation `revocation`.

        Prepared statements are decided again when they are bound next.
        """
        self.cache = cache
        self.filters_errors = filters_errors
        self.revocation_seen = revocation
        self.limits = limits
        self.budget = budget
        self.given = None
        self.granted = False

    @property
    def would_run_in_transaction(self):
        """Whether the waiting message would join what already ran and is not committed."""
        return self.link is not None and (
            self.link.transaction != c"I" or self.link.bound or self.link.owed > 0
        )

    def end_pipeline(self):
        """End an open pipeline in which nothing was bound yet, unseen by the client.

        The server then holds neither a snapshot nor a lock while the client waits.
        """
        if self.link is not None and self.link.sync_pending and not self.link.failed:
            self._inject(SYNC)
            self.link.queue.push(REPLY_SYNC, MODE_SKIP, None)
            self.link.owed += 1
            self.link.sync_pending = False

    @property
    def is_stale(self):
        """Whether policy, catalog or a revocation moved on since `use_cache`."""
        return self._is_stale()

    cpdef feed(self, bytes data):
        """Take one read of the client. The caller has taken all output before."""
        if self.need:
            self.pieces.append(data)
            self.pieces_size += len(data)
            if self.pieces_size < self.need:
                return
            data = b"".join(self.pieces)
            self.pieces = None
            self.need = 0
        elif self.input is not None and self.pos < len(self.input):
            data = self.input[self.pos:] + data
        self.input = data
        self.pos = self.span_from = self.span_to = 0

    cpdef int advance(self) except -1:
        """Handle messages until one needs the outside; a `RelayAction`."""
        cdef Frame frame
        cdef int action, status
        cdef Py_ssize_t size
        cdef const uint8_t *data
        if self.input is None or self.need:
            return ACTION_IDLE
        data = <const uint8_t *><char *>self.input
        size = len(self.input)
        self.held_back = False
        while True:
            if self.link is not None and (
                self.link.queue.count > BACKLOG_MAX or self._must_wait(data, size)
            ):
                self.held_back = True
                return ACTION_BACKLOG
            status = frame_next(data, size, self.pos, FRAME_SIZE_MAX, &frame)
            if status == FRAME_OK:
                self.end = frame.end
                action = self._dispatch(frame.kind, data, self.pos + HEADER_SIZE, frame.end)
                if action != ACTION_NEXT:
                    return action
                self.pos = frame.end
                self.given = None
                self.granted = self.costed = False
                continue
            if status == FRAME_REFUSED:
                return self._violation("a message has an impossible length")
            if self.pos < size and not is_frontend(data[self.pos]):
                # Not waited for: its length could be anything, and nothing would come of it.
                return self._violation("a message of this type has no place here")
            if size - self.pos >= HEADER_SIZE:
                if is_bare(data[self.pos]):
                    return self._violation("this message carries no data")
                self._stash(size)
            return ACTION_IDLE

    cdef int _stash(self, Py_ssize_t size) except -1:
        """Hold the start of a message that spans reads. What is on its way out is copied."""
        cdef const uint8_t *data = <const uint8_t *><char *>self.input
        self._flush_span()
        self.need = 1 + <Py_ssize_t>load_be32(data + self.pos + 1)
        self.pieces = [self.input[self.pos:]]
        self.pieces_size = size - self.pos
        self.input = None
        self.pos = self.span_from = self.span_to = 0
        return 0

    cpdef bytes take_server(self):
        """Bytes for the server, or None."""
        cdef bytes taken
        if self.to_server.size == 0:
            if self.span_from == self.span_to:
                return None
            if self.span_from == 0 and self.span_to == len(self.input):
                taken = self.input
            else:
                taken = self.input[self.span_from:self.span_to]
            self.span_from = self.span_to
            if self.pos == len(self.input):
                self.input = None     # an idle client holds no buffer
                self.pos = self.span_from = self.span_to = 0
            return taken
        self._flush_span()
        return self.to_server.take()

    cpdef bytes take_client(self):
        """Bytes for the client that `advance` or `refuse` produced, or None."""
        return self.to_client.take() if self.to_client.size else None

    def attach(self, ServerLink link not None):
        """Use `link` from now on; what must be set up on it goes out with the first message."""
        self.link = link
        if link.dirty or link.principal != self.principal:
            if link.principal is not None or link.dirty:
                self._inject_query(b"DISCARD ALL")
            link.forget_session()
            link.principal = self.principal
        if link.setup != self.setup:
            self._set_up()

    def detach(self):
        """Give the link back; it is dirty when the session was pinned to it."""
        cdef ServerLink link = self.link
        self.link = None
        if link is not None:
            link.cancel_waits = False
        self.cursors.clear()
        self.muted = self.over_time = False
        self.held_tag = None
        if self.pin is not None and link is not None:
            link.dirty = True
            self.pin = None
        return link

    def answer(self, Verdict verdict not None):
        """The verdict that ACTION_DECIDE asked for; it holds for the waiting message only."""
        self.given = verdict

    def allow_once(self, bytes approval, object token):
        """The held message was approved: let it through and tell of its end as `token`."""
        self.granted = True
        self.approval = approval
        self.grant_token = token

    def use_limits(self, StatementLimits limits):
        """Hold the next statements against `limits`; `use_cache` sets the session's own again."""
        self.limits = limits

    def refuse(self, bytes error not None):
        """Answer the waiting message with `error` (a whole ErrorResponse), as PostgreSQL would.

        Where the server has an open transaction or pipeline it must fail there as well.
        """
        cdef uint8_t kind = (<const uint8_t *><char *>self.input)[self.pos]
        cdef bint simple = kind == c"Q" or kind == c"F"
        self.given = None
        self.granted = self.costed = False
        if self.link is None or (self.link.nothing_owed()):
            self.to_client.append(<const uint8_t *><char *>error, len(error))
            if simple:
                self.to_client.append(<const uint8_t *>b"Z\0\0\0\5I", 6)
        elif simple:
            self._inject(POISON_QUERY)
            self.link.queue.push(REPLY_QUERY, MODE_REPLACE, error)
            self.link.owed += 1
        else:
            self._inject(POISON_PARSE)
            self.link.queue.push(REPLY_PARSE, MODE_REPLACE, error)
            self.link.sync_pending = True
            self.link.unnamed = None
        if not simple:
            self.discarding = True
        self.pos = self.end

    def abandon(self):
        """The session ends with the server connection in use: record what will stay unknown."""
        cdef Expected *entry
        cdef Py_ssize_t index
        for portal in self.portals.values():
            self.finish_portal(<Portal>portal, b"lost", NULL, 0, NULL)
        self.portals.clear()
        if self.link is None:
            return
        for index in range(self.link.queue.count):
            entry = self.link.queue.at(index)
            if entry.kind == REPLY_QUERY:
                self.write_result(entry.statement, b"lost", NULL, 0, NULL, entry.rows,
                                  entry.bytes, entry.started_ns)
            elif entry.kind == REPLY_EXECUTE:
                self.finish_portal(<Portal>entry.subject, b"lost", NULL, 0, NULL)
        self.link.queue.clear()

    def cost_known(self):
        """What ACTION_COST asked for is known: let the waiting message pass."""
        self.costed = True

    def out_of_time(self):
        """Whether what runs at the server has run for too long; it is to be cancelled then.

        True once per statement: the server's error to the cancel is to say why. Where limits are
        only recorded the statement's record says so and False is returned.
        """
        cdef Expected *entry = NULL
        cdef Py_ssize_t index
        cdef int64_t since
        if self.limits is None or self.limits.max_ns < 0 or self.link is None:
            return False
        for index in range(self.link.queue.count):
            entry = self.link.queue.at(index)
            if entry.started_ns:
                break
        else:
            return False
        # In a pipeline it waits for those before it, whose time is not its own.
        since = entry.started_ns if entry.started_ns > self.settled_ns else self.settled_ns
        if entry.over or self.over_time or now_ns() - since < self.limits.max_ns:
            return False
        if self.limits.enforced:
            self.over_time = True
            return True
        entry.over = OVER_TIME
        if entry.kind == REPLY_EXECUTE:
            (<Portal>entry.subject).over = OVER_TIME
        return False

    def forget_time(self):
        """The cancel after `out_of_time` is through; the answer to it may still be on its way."""
        if self.link is None or self.link.queue.count == 0:
            self.over_time = False

    @property
    def can_release(self):
        """Whether the server connection may serve somebody else now."""
        return self.link is not None and self.pin is None and self.link.is_idle()
