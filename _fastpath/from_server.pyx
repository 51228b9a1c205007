"""The way back: match what a server sends against what it owes, mask rows, record results.

One call per read. Bytes that need no change leave as spans of the read; a read without any
change leaves as the very object that came. Whatever is not expected here breaks the connection:
the server is hostile input too, and bytes that cannot be attributed go to nobody.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t

from _fastpath.framing cimport FRAME_OK, FRAME_REFUSED, Frame, Run
from _fastpath.framing cimport frame_next, frame_run
from _fastpath.events cimport EVENT_BACKLOG, EVENT_BROKEN, EVENT_IDLE
from _fastpath.replies cimport (
    MODE_FORWARD, REPLY_BIND, REPLY_CLOSE, REPLY_COPY_END, REPLY_DESCRIBE_PORTAL,
    REPLY_DESCRIBE_STATEMENT, REPLY_EXECUTE, REPLY_PARSE, REPLY_QUERY, REPLY_SYNC, Expected,
)
from _fastpath.settling cimport Settling
from _fastpath.datarow cimport MaskPlan
from _fastpath.rowstream cimport RowStream
from _fastpath.prepared cimport Cursor, Portal, Prepared
from _fastpath.statements cimport Verdict
from _fastpath.wire cimport HEADER_SIZE, load_be32

from _fastpath.errors import CrossCheckError, FrameError


cdef enum:
    FRAME_SIZE_MAX = 0x40000000       # PostgreSQL's own bound of 1 GB
    # What is held until it is complete: a masked row, a description, an error.
    HELD_SIZE_MAX = 0x8000000
    ROW_STREAMED_MIN = 0x40000
    BACKLOG_RESUME = 1024


cdef class ServerSide(Settling):
    """Handles the server's bytes for the session that holds the connection."""

    cpdef bytes from_server(self, bytes data):
        """Take one read; return what goes to the client (bytes, maybe `data` itself, or None).

        Sets `events`. After EVENT_BROKEN nothing more may be sent to this client from this
        server; `fault` says why.
        """
        cdef bytes source = data
        cdef Py_ssize_t size
        if self.link.need or self.link.carry:
            source = self._join(data)
            if source is None:
                return None
        self._data = <const uint8_t *><char *>source
        size = len(source)
        self._kept_from = self._kept_to = 0
        cdef Py_ssize_t end = self._walk(size)
        if self.events & EVENT_BROKEN:
            # What was judged before the breach may leave; nothing of it is unmasked.
            end = size
        if self.link.guarding:
            self.link.guarding = self._is_guarding()
        if self.held_back and self.link.queue.count < BACKLOG_RESUME and not self.link.held and (
            not self.link.guarding or self.link.copy_in
        ):
            self.events |= EVENT_BACKLOG
        if end < size:
            self.link.carry = PyBytes_FromStringAndSize(<char *>self._data + end, size - end)
        if self.link.is_idle():
            self.events |= EVENT_IDLE
        if self.to_client.size == 0:
            if self._kept_from == self._kept_to:
                return None
            if self._kept_from == 0 and self._kept_to == size:
                return source
            return source[self._kept_from:self._kept_to]
        self._flush_kept()
        return self.to_client.take()

    cdef bytes _join(self, bytes data):
        """Complete the message that an earlier read left unfinished, or hold `data` as well."""
        cdef bytes joined
        if self.link.need == 0:
            joined = self.link.carry + data
            self.link.carry = b""
            return joined
        self.link.chunks.append(data)
        self.link.chunks_size += len(data)
        if self.link.chunks_size < self.link.need:
            return None
        joined = b"".join(self.link.chunks)
        self.link.chunks = None
        self.link.need = 0
        return joined

    cdef Py_ssize_t _walk(self, Py_ssize_t size) except -1:
        """Handle every complete message; the offset of what must wait for more bytes."""
        cdef Frame frame
        cdef int status
        cdef Py_ssize_t pos = 0, wanted
        while pos < size and not self.events & EVENT_BROKEN:
            if self.link.passing:
                wanted = self.link.passing if self.link.passing < size - pos else size - pos
                if self.muted:
                    self.row_mask = None
                elif self.link.passing_kept:
                    self._keep(pos, pos + wanted)
                elif self.row_mask is not None:
                    self._feed_row(pos, pos + wanted)
                elif self.copy_mask is not None:
                    self._feed_copy(pos, pos + wanted)
                self.link.passing -= wanted
                pos += wanted
                continue
            status = frame_next(self._data, size, pos, FRAME_SIZE_MAX, &frame)
            if status == FRAME_OK:
                if frame.kind == c"D":
                    pos = self._rows(pos, size)
                else:
                    self._message(frame.kind, pos, frame.end)
                    pos = frame.end
                continue
            if status == FRAME_REFUSED:
                self._broken("the server sent a message with an impossible length")
                return size
            if size - pos < HEADER_SIZE:
                return pos
            if self._begin_passing(pos):
                pos += HEADER_SIZE
                continue
            wanted = 1 + <Py_ssize_t>load_be32(self._data + pos + 1)
            if wanted > HELD_SIZE_MAX:
                self._broken("the server sent a message larger than the gateway holds")
                return size
            self.link.need = wanted
            self.link.chunks = [PyBytes_FromStringAndSize(<char *>self._data + pos, size - pos)]
            self.link.chunks_size = size - pos
            return size
        return pos

    cdef int _begin_passing(self, Py_ssize_t pos) except -1:
        """Start to stream an incomplete message whose content nobody looks at: 1 when done."""
        cdef Expected *head = self.link.queue.head()
        cdef uint8_t kind = self._data[pos]
        cdef Py_ssize_t size = load_be32(self._data + pos + 1) - 4
        cdef MaskPlan plan = None
        if head == NULL or head.mode != MODE_FORWARD:
            return 0
        if kind == c"D":
            if head.kind != REPLY_EXECUTE and head.kind != REPLY_QUERY:
                return 0
            plan = self._plan_of(head)
            # A row that a few reads complete is cheaper to mask as a whole.
            if not head.has_plan or (plan is not None and size < ROW_STREAMED_MIN):
                return 0
        elif kind != c"d" or not self.copying:
            return 0
        head.rows += 1
        head.bytes += size
        self.link.passing = size
        if self.limits is not None and self._is_over(head):
            return 1
        self.row_mask = RowStream(plan, size) if plan is not None else None
        self.link.passing_kept = plan is None if kind == c"D" else self.copy_mask is None
        if self.link.passing_kept:
            self._keep(pos, pos + HEADER_SIZE)
        return 1

    cdef MaskPlan _plan_of(self, Expected *head):
        """The plan for the rows of `head`; sets `has_plan` when the shape was checked."""
        cdef Portal portal
        if head.kind == REPLY_EXECUTE:
            portal = <Portal>head.subject
            head.has_plan = portal.has_plan
            if portal.verdict.fetches and self.cache.has_masks and portal.rows == 0 and (
                portal.cursor is not self._fetched(portal.verdict, 0)
            ):
                # The name means another cursor by now: what was checked is not what comes.
                head.has_plan = False
            return portal.plan
        return self.query_plan

    cdef Py_ssize_t _rows(self, Py_ssize_t pos, Py_ssize_t size) except -2:
        """Move or mask a run of complete DataRows; the offset behind it."""
        cdef Run run
        cdef Expected *head = self.link.queue.head()
        cdef MaskPlan plan
        frame_run(self._data, size, pos, c"D", FRAME_SIZE_MAX, size, &run)
        if head == NULL or (head.kind != REPLY_EXECUTE and head.kind != REPLY_QUERY):
            self._broken("the server sent rows that nothing asked for")
            return size
        if head.mode != MODE_FORWARD:
            return run.end
        plan = self._plan_of(head)
        if not head.has_plan:
            self._broken("the server sent rows before their description was checked")
            return size
        head.rows += run.count
        head.bytes += run.end - pos
        if self.muted or (self.limits is not None and self._is_over(head)):
            return run.end
        if plan is None:
            self._keep(pos, run.end)
            return run.end
        self._flush_kept()
        try:
            plan.rewrite(self._data + pos, run.end - pos, self.to_client)
        except FrameError as error:
            self._broken(f"the server sent a malformed row: {error}")
            return size
        return run.end

    cdef int _message(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1:
        if kind == c"Z" or kind == c"E":
            self.copying = False
            self.copy_mask = None
        if kind == c"Z":
            return self._ready(start, end)
        if kind == c"C" or kind == c"I" or kind == c"s":
            return self._complete(kind, start, end)
        if kind == c"T":
            return self._row_description(start, end)
        if kind == c"2":
            return self._simple_reply(REPLY_BIND, start, end)
        if kind == c"1":
            return self._simple_reply(REPLY_PARSE, start, end)
        if kind == c"n":
            return self._no_data(start, end)
        if kind == c"3":
            return self._simple_reply(REPLY_CLOSE, start, end)
        if kind == c"E":
            return self._error(start, end)
        if kind == c"t":
            return self._parameter_description(start, end)
        if kind == c"N":
            if self.filters_errors:
                return self._emit_filtered(c"N", start, end)
            return self._keep(start, end)
        if kind == c"A":
            # LISTEN is decided like any statement and pins, so this is the session's own.
            return self._keep(start, end) if self.pin is not None else 0
        if kind == c"S":
            if self.status_observer(self._payload(start, end)):
                if self.muted:
                    self.to_client.append(self._data + start, end - start)
                self._keep(start, end)
            return 0
        if kind == c"d" or kind == c"c":
            return self._copy_out(kind, start, end)
        if kind == c"G" or kind == c"H":
            return self._copy_begins(kind, start, end)
        return self._broken("the server sent a message of a type that has no place here")

    cdef int _copy_out(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Expected *head = self.link.queue.head()
        if head == NULL or (head.kind != REPLY_EXECUTE and head.kind != REPLY_QUERY):
            return self._broken("the server sent COPY data that nothing asked for")
        if not self.copying:
            return self._broken("the server sent COPY data outside a COPY")
        if kind == c"d":
            head.rows += 1
            head.bytes += end - start
            if self.limits is not None:
                self._is_over(head)
        if self.muted:
            self.copying = kind == c"d"
            return 0
        if self.copy_mask is None:
            self.copying = kind == c"d"
            return self._keep(start, end)
        if kind == c"d":
            return self._feed_copy(start + HEADER_SIZE, end)
        self._flush_kept()
        try:
            self.copy_mask.finish(self.to_client)
        except FrameError as error:
            return self._broken(f"the server sent a malformed COPY: {error}")
        self.copying = False
        self.copy_mask = None
        return self._keep(start, end)

    cdef int _feed_row(self, Py_ssize_t start, Py_ssize_t end) except -1:
        """Mask a part of a huge row."""
        self._flush_kept()
        try:
            self.row_mask.feed(self._data + start, end - start, self.to_client)
        except FrameError as error:
            return self._broken(f"the server sent a malformed row: {error}")
        if end - start == self.link.passing:
            self.row_mask = None
        return 0

    cdef int _feed_copy(self, Py_ssize_t start, Py_ssize_t end) except -1:
        """Mask a part of COPY's rows; the masked rows that it completes go to the client."""
        self._flush_kept()
        try:
            return self.copy_mask.feed(self._data + start, end - start, self.to_client)
        except FrameError as error:
            return self._broken(f"the server sent a malformed COPY: {error}")

    cdef int _plan_copy(
        self, Verdict verdict, int index, Py_ssize_t start, Py_ssize_t end
    ) except -1:
        """COPY names no columns: its plan is the decision's, checked against what it begins."""
        self.copy_mask = None
        self.copying = True
        if not self.cache.has_masks:
            return 0
        try:
            self.copy_mask = self.cache.planner.plan_copy(
                self._payload(start, end), verdict, index
            )
        except CrossCheckError as error:
            return self._broken(error)
        return 0

    cdef int _copy_begins(self, uint8_t kind, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Expected *head = self.link.queue.head()
        cdef Py_ssize_t index = 1
        cdef Verdict verdict
        if head == NULL or head.mode != MODE_FORWARD or (
            head.kind != REPLY_EXECUTE and head.kind != REPLY_QUERY
        ):
            return self._broken("the server started a COPY that nothing asked for")
        verdict = (<Portal>head.subject).verdict if head.kind == REPLY_EXECUTE else (
            <Verdict>head.subject
        )
        if not (verdict.copy_in if kind == c"G" else verdict.copy_out):
            return self._broken("the server started a COPY that was not decided")
        if kind == c"G":
            self.link.copy_in = True
            # Until CopyDone or CopyFail the server ignores Sync: those already sent are not
            # answered (protocol-flow, "COPY Operations").
            while index < self.link.queue.count:
                if self.link.queue.at(index).kind == REPLY_COPY_END:
                    break
                if self.link.queue.at(index).kind == REPLY_SYNC:
                    self.link.queue.remove(index)
                    self.link.owed -= 1
                else:
                    index += 1
            self.link.copy_end_sent = index < self.link.queue.count
            if head.kind == REPLY_EXECUTE:
                self.link.sync_pending = not self._has_sync()
            return self._keep(start, end)
        if self._data[start + HEADER_SIZE] == 1:
            head.rows -= 1            # the trailer of a binary COPY is a message like a row's
        self._plan_copy(
            verdict, head.index if head.kind == REPLY_QUERY else 0, start, end
        )
        return 0 if self.events & EVENT_BROKEN else self._keep(start, end)

    cdef bint _has_sync(self) noexcept:
        cdef Py_ssize_t index
        for index in range(self.link.queue.count):
            if self.link.queue.at(index).kind == REPLY_SYNC:
                return True
        return False

    cdef int _parameter_description(self, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Expected *head = self.link.queue.head()
        if head == NULL or head.kind != REPLY_DESCRIBE_STATEMENT:
            return self._broken("the server described parameters that nothing asked for")
        return self._keep(start, end) if head.mode == MODE_FORWARD else 0

    cdef int _row_description(self, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Expected *head = self.link.queue.head()
        cdef Portal portal
        if head == NULL:
            return self._broken("the server described a result that nothing asked for")
        if head.kind == REPLY_QUERY:
            if head.mode == MODE_FORWARD:
                if not self._plan_query(head, start, end):
                    return 0
                return self._keep(start, end)
            return 0
        if head.kind == REPLY_DESCRIBE_STATEMENT:
            (<Prepared>head.subject).shape = self._payload(start, end)
        elif head.kind == REPLY_DESCRIBE_PORTAL:
            # Without a subject it is a cursor of SQL: its rows come by FETCH, decided there.
            if head.subject != NULL:
                portal = <Portal>head.subject
                portal.describing = False
                portal.prepared.shape = self._payload(start, end)
                self._plan_portal(portal, portal.prepared.shape)
                if self.events & EVENT_BROKEN:
                    return 0
        else:
            return self._broken("the server described a result out of turn")
        if head.mode == MODE_FORWARD:
            self._keep(start, end)
        return self._pop()

    cdef int _no_data(self, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Expected *head = self.link.queue.head()
        cdef Portal portal
        if head == NULL or (
            head.kind != REPLY_DESCRIBE_STATEMENT and head.kind != REPLY_DESCRIBE_PORTAL
        ):
            return self._broken("the server sent NoData out of turn")
        if head.kind == REPLY_DESCRIBE_STATEMENT:
            (<Prepared>head.subject).shape = b""
        elif head.subject != NULL:
            # No rows can follow; should some, `has_plan` is not set and they break the session.
            portal = <Portal>head.subject
            portal.describing = False
            portal.prepared.shape = b""
        if head.mode == MODE_FORWARD:
            self._keep(start, end)
        return self._pop()

    cdef int _plan_query(self, Expected *head, Py_ssize_t start, Py_ssize_t end) except -1:
        """Cross-check the description of a simple query's result, 0 when it broke."""
        self.query_plan = None
        head.has_plan = True
        if self.cache.has_masks:
            self.query_plan = self._result_plan(
                <Verdict>head.subject, self._fetched(<Verdict>head.subject, head.index),
                self._payload(start, end), None, head.index
            )
        return not self.events & EVENT_BROKEN

    cdef int _plan_portal(self, Portal portal, bytes shape) except -1:
        """Cross-check a portal's result and fix its plan, from a known RowDescription."""
        if self.cache.has_masks:
            portal.cursor = self._fetched(portal.verdict, 0)
            portal.plan = self._result_plan(
                portal.verdict, portal.cursor, shape, portal.formats, 0
            )
        portal.has_plan = not self.events & EVENT_BROKEN
        return 0

    cdef MaskPlan _result_plan(
        self, Verdict verdict, Cursor cursor, bytes shape, bytes formats, int index
    ):
        """The plan for a result; the rows of a cursor are what was decided when it was opened."""
        if cursor is None:
            return self._checked_plan(verdict, shape, formats, index)
        # Remembered with what opened it: the verdict of FETCH serves every session.
        verdict = cursor.verdict
        if self._is_fetch(verdict, cursor.index) or verdict.cache is None or (
            verdict.cache.policy_generation != self.cache.policy_generation
        ):
            self._broken("a cursor was read that was opened under other rules")
            return None
        return self._checked_plan(verdict, shape, formats, cursor.index)

    cdef MaskPlan _checked_plan(self, Verdict verdict, bytes shape, bytes formats, int index):
        """The plan for one result shape: the last one is remembered with its verdict."""
        if (
            verdict.shape_index != index or verdict.shape is None or verdict.shape != shape
            or verdict.formats != formats
        ):
            try:
                cache = self.cache if verdict.cache is None else verdict.cache
                verdict.plan = cache.planner(shape, formats, verdict, index)
            except CrossCheckError as error:
                self._broken(error)
                return None
            verdict.shape = shape
            verdict.shape_index = index
            verdict.formats = formats
        return verdict.plan
