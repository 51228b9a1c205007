"""Hold bytes for the servers until the intents of their statements are on the disk.

Durability `group`: an intent is in the journal as always, and what it covers leaves once the
writer has flushed past it. One flush serves all that wait. Order per server connection is kept,
because bytes that follow waiting ones wait behind them.
"""
from collections import deque

from libc.stdint cimport int64_t, uint64_t

from _fastpath.journal cimport Journal
from _fastpath.plainsocket cimport write_to

cdef enum:
    HELD_MAX = 262144             # bytes of one session, then its client is not read
    SERVER_LOW = 65536            # above it the server's transport has its own reason to pause


cdef class CommitMark:
    """How far the intents of one session reach in the ring."""


cdef class CommitGate:
    """One per worker. `ask` wakes the writer; call `release` whenever it may have flushed."""

    def __cinit__(self, journal: Journal, ask: object) -> None:
        self.journal = journal
        self.ask = ask
        self.waiting = deque()

    def __len__(self) -> int:
        return len(self.waiting)

    cdef int send(
        self, object owner, object transport, bytes out, CommitMark mark, int64_t statements
    ) except -1:
        # Between two sends of a session only its own records follow its intents, if any.
        if statements != mark.counted:
            mark.counted = statements
            mark.position = self.journal.head
        if self.journal.is_durable(mark.position):
            return write_to(transport, out)
        self.waiting.append((mark.position, owner, transport, out, mark))
        mark.held += len(out)
        if mark.held > HELD_MAX and not mark.is_paused:
            mark.is_paused = True
            owner.server_paused(paused=True)
        if not self.has_asked:
            self.has_asked = True
            self.ask()
        return 0

    def release(self) -> int:
        """Send what is durable, in order; how much still waits. An ended session sends nothing."""
        cdef uint64_t position
        while self.waiting:
            position, owner, transport, out, mark = self.waiting[0]
            if not self.journal.is_durable(position):
                break
            self.waiting.popleft()
            self._let_go(owner, transport, out, mark)
        # What came after the writer began its flush needs another one.
        self.has_asked = bool(self.waiting)
        if self.has_asked:
            self.ask()
        return len(self.waiting)

    cdef int _let_go(self, object owner, object transport, bytes out, CommitMark mark) except -1:
        mark.held -= len(out)
        if owner.ended or transport.is_closing():
            return 0
        write_to(transport, out)
        if mark.is_paused and mark.held == 0:
            mark.is_paused = False
            if transport.get_write_buffer_size() < SERVER_LOW:
                owner.server_paused(paused=False)
        return 0

    def is_stuck(self) -> bool:
        """Whether the first that waits is the one that waited at the last call."""
        cdef uint64_t before = self.position_seen
        self.position_seen = self.waiting[0][0] if self.waiting else 0
        return self.position_seen != 0 and self.position_seen == before

    def give_up(self) -> list[object]:
        """Drop everything that waits; the sessions it was of, each once."""
        owners = list(dict.fromkeys([entry[1] for entry in self.waiting]))
        self.waiting.clear()
        self.has_asked = False
        return owners
