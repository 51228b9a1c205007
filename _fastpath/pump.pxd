from _fastpath.commit cimport CommitGate, CommitMark
from _fastpath.link cimport ServerLink
from _fastpath.plainsocket cimport Receiver
from _fastpath.relay cimport Relay


cdef class PoolGate:
    cdef public int waiting           # sessions that wait for a server connection


cdef class ServerPort(Receiver):
    cdef readonly ServerLink link
    cdef public object transport
    cdef public Pump holder           # the session that uses it, or None
    cdef public int cancelling        # cancel requests under way: reserved until they are through


cdef class Pump(Receiver):
    cdef public Relay relay
    cdef public object transport
    cdef public ServerPort server
    cdef public PoolGate gate
    cdef public object task           # what takes time at the moment, or None
    cdef public bint ended
    cdef readonly long reads          # reads of the client so far: it is there
    cdef public CommitGate commit     # None when what is in the journal may leave at once
    cdef CommitMark mark

    cdef int _send_server(self) except -1
    cdef int _send_client(self) except -1
    cdef int from_server(self, bytes data) except -1
    cpdef pump(self)
