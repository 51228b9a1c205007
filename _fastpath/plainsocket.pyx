"""A socket without TLS, driven from compiled code: recv, handle, send, no buffer in between.

Most of a proxy's time is the kernel's, and of the rest the event loop's streams took half: a
read became a Python call, a write a queue flushed at the end of the loop's pass. Here the loop
only says that some of the sockets are readable; which ones is asked and answered in C. It is the
one module of `_fastpath` that does I/O. A socket looks like an asyncio transport, so that
sessions need not know which one they have.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EEXIST, EINTR, ENOENT, errno
from libc.stdint cimport uint32_t

import os

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_NOSIGNAL
        MSG_DONTWAIT
    Py_ssize_t c_recv "recv"(int fd, void *data, size_t size, int flags)
    Py_ssize_t c_send "send"(int fd, const void *data, size_t size, int flags)

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int count, int timeout)


cdef enum:
    EVENTS_MAX = 64
    READ_SIZE = 131072
    PENDING_HIGH = 262144
    PENDING_LOW = 65536

# One per process: a read is handled before the next one begins.
cdef char read_buffer[READ_SIZE]


cdef class Receiver:
    """Takes what a socket brings."""

    cdef int received(self, bytes data) except -1:
        raise NotImplementedError

    def data_received(self, bytes data not None):
        """Take one read from an asyncio transport (TLS)."""
        self.received(data)


cdef class Poller:
    """The readable sockets of one loop. The loop watches one descriptor for all of them."""

    def __init__(self, loop):
        """Raises OSError when the kernel has no descriptor left."""
        self._loop = loop
        self._fd = epoll_create1(0)
        if self._fd < 0:
            raise OSError(errno, os.strerror(errno))
        os.set_inheritable(self._fd, False)
        self._sockets = []
        loop.add_reader(self._fd, self._ready)

    def close(self):
        """Stop watching. Every socket must be paused or closed before."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    cdef int watch(self, PlainSocket sock) except -1:
        cdef epoll_event event
        event.events = EPOLLIN
        event.data.fd = sock.fd
        while len(self._sockets) <= sock.fd:
            self._sockets.append(None)
        self._sockets[sock.fd] = sock
        if epoll_ctl(self._fd, EPOLL_CTL_ADD, sock.fd, &event) != 0 and errno != EEXIST:
            raise OSError(errno, os.strerror(errno))
        return 0

    cdef int forget(self, PlainSocket sock) except -1:
        cdef epoll_event event
        self._sockets[sock.fd] = None
        if epoll_ctl(self._fd, EPOLL_CTL_DEL, sock.fd, &event) != 0 and errno != ENOENT:
            raise OSError(errno, os.strerror(errno))
        return 0

    def _ready(self):
        """Handle what is readable now; what is left over keeps the loop calling."""
        cdef epoll_event events[EVENTS_MAX]
        cdef int count = epoll_wait(self._fd, events, EVENTS_MAX, 0)
        cdef int index
        for index in range(count):
            # An earlier one of this round may have paused or closed it.
            sock = self._sockets[events[index].data.fd]
            if sock is not None:
                (<PlainSocket>sock)._read()


cdef class PlainSocket:
    """One connected, non-blocking stream socket. Owns `fd`."""

    def __init__(
        self, loop, Poller poller not None, int fd, Receiver receiver not None, dict extra
    ):
        """Starts paused; `extra` answers `get_extra_info`."""
        self._loop = loop
        self._poller = poller
        self.fd = fd
        self._receiver = receiver
        self._pending = []
        self._extra = extra

    def resume_reading(self):
        """Let `receiver` have what comes. Idempotent."""
        if not self._reading and not self._closing:
            self._reading = True
            self._poller.watch(self)

    def pause_reading(self):
        """Leave what comes to the kernel, which slows the peer down. Idempotent."""
        if self._reading:
            self._reading = False
            self._poller.forget(self)

    def set_protocol(self, Receiver receiver not None):
        """Give what comes to `receiver` from now on."""
        self._receiver = receiver

    def write(self, bytes data not None):
        """Send `data`; what the kernel does not take at once is sent when it can."""
        self.send(data)

    def get_write_buffer_size(self):
        """Bytes not yet taken by the kernel."""
        return self._pending_size

    def get_extra_info(self, name, default=None):
        """As asyncio's transports."""
        return self._extra.get(name, default)

    def is_closing(self):
        """Whether close or abort was called, or the peer is gone."""
        return self._closing

    def close(self):
        """Send what is pending, then close. Idempotent."""
        if self._closing:
            return
        self.pause_reading()
        self._closing = True
        if not self._pending:
            self._end(None)

    def abort(self):
        """Close now; what is pending is dropped. Idempotent."""
        self.pause_reading()
        self._closing = True
        self._end(None)

    cdef int _read(self) except -1:
        cdef Py_ssize_t size = c_recv(self.fd, read_buffer, READ_SIZE, MSG_DONTWAIT)
        cdef int failure = errno
        if size > 0:
            try:
                self._receiver.received(PyBytes_FromStringAndSize(read_buffer, size))
            except Exception as error:
                # Our own bug. Whoever waits for an answer must not wait for ever.
                self._loop.call_exception_handler(
                    {"message": "a read could not be handled", "exception": error}
                )
                self._lost(error)
        elif size == 0:
            self._lost(None)
        elif failure != EAGAIN and failure != EINTR:
            self._lost(OSError(failure, os.strerror(failure)))
        return 0

    def _writable(self):
        cdef bytes piece
        cdef Py_ssize_t size
        cdef int failure
        while self._pending:
            piece = <bytes>self._pending[0]
            size = c_send(self.fd, <char *>piece + self._sent, len(piece) - self._sent,
                          MSG_NOSIGNAL | MSG_DONTWAIT)
            failure = errno
            if size < 0:
                if failure != EAGAIN and failure != EINTR:
                    self._lost(OSError(failure, os.strerror(failure)))
                return
            self._pending_size -= size
            self._sent += size
            if self._sent < len(piece):
                break
            self._sent = 0
            del self._pending[0]
        if self._paused_writer and self._pending_size <= PENDING_LOW:
            self._paused_writer = False
            self._receiver.resume_writing()
        if not self._pending:
            self._loop.remove_writer(self.fd)
            if self._closing:
                self._end(None)

    cdef int send(self, bytes data) except -1:
        cdef Py_ssize_t size
        cdef int failure
        if self._ended or not data:
            return 0
        if self._pending:
            return self._queue(data, 0)
        size = c_send(self.fd, <char *>data, len(data), MSG_NOSIGNAL | MSG_DONTWAIT)
        if size == len(data):
            return 0
        failure = errno
        if size < 0:
            if failure != EAGAIN and failure != EINTR:
                # Not within the caller's work: it may hold what the loss would take away.
                self._loop.call_soon(self._lost, OSError(failure, os.strerror(failure)))
                return 0
            size = 0
        self._loop.add_writer(self.fd, self._writable)
        return self._queue(data, size)

    cdef int _queue(self, bytes data, Py_ssize_t sent) except -1:
        if not self._pending:
            self._sent = sent
        self._pending.append(data)
        self._pending_size += len(data) - sent
        if self._pending_size > PENDING_HIGH and not self._paused_writer:
            self._paused_writer = True
            self._receiver.pause_writing()
        return 0

    def _lost(self, reason):
        self.pause_reading()
        self._closing = True
        self._end(reason)

    def _end(self, reason):
        """Close the socket and tell the receiver, once, from the loop."""
        if self._ended:
            return
        self._ended = True
        if self._pending:
            self._loop.remove_writer(self.fd)
            self._pending.clear()
            self._pending_size = 0
        self._loop.call_soon(self._receiver.connection_lost, reason)
        os.close(self.fd)
        self.fd = -1


cdef int write_to(object transport, bytes data) except -1:
    """Write without a Python call where the transport is one of ours."""
    if type(transport) is PlainSocket:
        return (<PlainSocket>transport).send(data)
    transport.write(data)
    return 0
