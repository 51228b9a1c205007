from _fastpath.from_client cimport ClientSide


cdef class Relay(ClientSide):
    cdef int _stash(self, Py_ssize_t size) except -1
    cpdef feed(self, bytes data)
    cpdef int advance(self) except -1
    cpdef bytes take_server(self)
    cpdef bytes take_client(self)
