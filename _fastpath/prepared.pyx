"""Prepared statements and portals of a client, with the verdicts they carry."""
cimport cython


cdef class Prepared:
    """A prepared statement as its client knows it."""


cdef class Cursor:
    """What a name means on the server: a cursor of SQL or a named portal. FETCH reads both."""


@cython.freelist(64)
cdef class Portal:
    """A bound statement: the unit that is executed, recorded and masked."""
