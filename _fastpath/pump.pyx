"""The hot path of a session: read, judge, send; read, mask, send.

Nothing here decides or waits. Whatever is not the plain course of a statement is a call of
`handle` or `on_events`, which the session gives. A server connection stays with its session
between transactions as long as nobody waits for one: it is taken away when somebody does
(`gateway.upstream.pool`), so an uncontended statement touches no pool at all.
"""
from _fastpath.commit cimport CommitMark
from _fastpath.actions cimport ACTION_IDLE
from _fastpath.link cimport ServerLink
from _fastpath.plainsocket cimport Receiver, write_to
from _fastpath.events cimport EVENT_IDLE


cdef class PoolGate:
    """The one word of a pool that sessions read after every transaction."""


cdef class ServerPort(Receiver):
    """A server connection's bytes on their way to the session that holds it."""

    def __init__(self, transport):
        self.transport = transport
        self.link = ServerLink()

    cdef int received(self, bytes data) except -1:
        if self.holder is None or self.is_parked:
            self.unasked(data)
            return 0
        return self.holder.from_server(data)

    @property
    def is_parked(self):
        """Whether no session needs it now: nothing owed, no transaction, no pin."""
        return self.cancelling == 0 and self.link.is_idle() and (
            self.holder is None or self.holder.relay.pin is None
        )


cdef class Pump(Receiver):
    """Base of a session: moves bytes, and calls the session for everything else."""

    cdef int received(self, bytes data) except -1:
        """Take one read of the client."""
        self.reads += 1
        self.relay.counts.received(len(data))
        if self.task is not None:
            self.hold_input(data)
            return 0
        self.relay.feed(data)
        self.pump()
        return 0

    cpdef pump(self):
        """Run the relay until it has nothing to do or something takes time."""
        cdef int action
        while not self.ended:
            action = self.relay.advance()
            self._send_server()
            self._send_client()
            if action == ACTION_IDLE:
                if self.server is not None and self.gate.waiting and self.relay.can_release:
                    self.release()
                return
            if not self.handle(action):
                return

    def flush(self):
        """Send what the relay has for either side."""
        self._send_server()
        self._send_client()

    cdef int _send_server(self) except -1:
        cdef bytes out = self.relay.take_server()
        if out is not None and self.server is not None:
            if self.commit is not None:
                if self.mark is None:
                    self.mark = CommitMark()
                return self.commit.send(
                    self, self.server.transport, out, self.mark, self.relay.statement_count
                )
            write_to(self.server.transport, out)
        return 0

    cdef int _send_client(self) except -1:
        cdef bytes out = self.relay.take_client()
        if out is not None:
            write_to(self.transport, out)
        return 0

    cdef int from_server(self, bytes data) except -1:
        """Take one read of the server connection this session holds."""
        cdef Relay relay = self.relay
        cdef bytes out = relay.from_server(data)
        if out is not None:
            relay.counts.sent(len(out))
            write_to(self.transport, out)
        if relay.events:
            if relay.events == EVENT_IDLE and self.gate.waiting == 0:
                relay.events = 0
            else:
                self.on_events()
        return 0
