from _fastpath.from_client cimport ClientSide


cdef class Relay(ClientSide):
    cdef int _stash(self, Py_ssize_t size) except -1
