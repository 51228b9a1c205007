"""Mask parts of JSON documents."""
from _fastpath.cellmask cimport CellMasker


cdef class JsonPaths(CellMasker):
    """Shows nothing yet."""

    def __init__(self, paths, *, bint keep=False, bint is_versioned=False):
        pass


cdef class JsonScan(CellMasker):
    """Shows nothing yet."""

    def __init__(self, *, bint is_versioned=False):
        pass
