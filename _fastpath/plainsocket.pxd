cdef class Receiver:
    # One read of the socket. Python subclasses give `connection_lost` and the pause pair.
    cdef int received(self, bytes data) except -1


cdef class Poller:
    cdef object _loop
    cdef int _fd
    cdef list _sockets            # by descriptor, None where none is watched

    cdef int watch(self, PlainSocket sock) except -1
    cdef int forget(self, PlainSocket sock) except -1


cdef class PlainSocket:
    cdef readonly int fd
    cdef object _loop
    cdef Poller _poller
    cdef Receiver _receiver
    cdef list _pending            # bytes not yet taken by the kernel
    cdef Py_ssize_t _pending_size
    cdef Py_ssize_t _sent         # of the first pending piece
    cdef bint _reading
    cdef bint _closing
    cdef bint _ended              # connection_lost is scheduled
    cdef bint _paused_writer
    cdef dict _extra

    cdef int _read(self) except -1
    cdef int send(self, bytes data) except -1
    cdef int _queue(self, bytes data, Py_ssize_t sent) except -1


cdef int write_to(object transport, bytes data) except -1
