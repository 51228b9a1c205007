"""Find secrets in text."""
from _fastpath.cellmask cimport CellMasker

cdef class TextScan(CellMasker):
    """Shows nothing yet."""

    def __init__(self, *, Py_ssize_t pad_chars=0):
        pass
