"""The replies one server connection still owes, in order: the ground for pipelining.

Every message sent to the server that will be answered has one entry; the answer is forwarded,
skipped or replaced by what the entry says. A ring of C structs, so that no Python object is
made per message; `subject` is a counted reference that the ring owns.
"""
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF, PyObject
from libc.stdlib cimport free, malloc
from libc.string cimport memset


cdef enum:
    CAPACITY_START = 16


cdef class ReplyQueue:
    """A growing ring of `Expected`. The sender bounds its length, see `BACKLOG_MAX` in relay."""

    def __cinit__(self):
        self.items = <Expected *>malloc(CAPACITY_START * sizeof(Expected))
        if self.items == NULL:
            raise MemoryError
        self.capacity = CAPACITY_START
        self.first = 0
        self.count = 0

    def __dealloc__(self):
        cdef Py_ssize_t index
        if self.items != NULL:
            for index in range(self.count):
                Py_XDECREF(self.at(index).subject)
            free(self.items)

    cdef Expected *push(self, uint8_t kind, uint8_t mode, object subject) except NULL:
        if self.count == self.capacity:
            self._grow()
        cdef Expected *entry = &self.items[(self.first + self.count) & (self.capacity - 1)]
        memset(entry, 0, sizeof(Expected))
        entry.kind = kind
        entry.mode = mode
        if subject is not None:
            Py_INCREF(subject)
            entry.subject = <PyObject *>subject
        self.count += 1
        return entry

    cdef Expected *head(self) noexcept nogil:
        """The oldest entry, or NULL. Valid until the next push, pop or remove."""
        if self.count == 0:
            return NULL
        return &self.items[self.first]

    cdef Expected *at(self, Py_ssize_t index) noexcept nogil:
        return &self.items[(self.first + index) & (self.capacity - 1)]

    cdef int pop(self) except -1:
        cdef PyObject *subject = self.items[self.first].subject
        self.first = (self.first + 1) & (self.capacity - 1)
        self.count -= 1
        # Last, because a finaliser may run arbitrary code.
        if subject != NULL:
            Py_DECREF(<object>subject)
        return 0

    cdef int remove(self, Py_ssize_t index) except -1:
        """Take out the entry at `index`; those behind it move up. Rare, so a plain copy."""
        cdef PyObject *subject = self.at(index).subject
        cdef Py_ssize_t i
        for i in range(index, self.count - 1):
            self.at(i)[0] = self.at(i + 1)[0]
        self.count -= 1
        if subject != NULL:
            Py_DECREF(<object>subject)
        return 0

    cdef int clear(self) except -1:
        while self.count:
            self.pop()
        return 0

    cdef int _grow(self) except -1:
        cdef Py_ssize_t capacity = self.capacity * 2
        cdef Expected *items = <Expected *>malloc(capacity * sizeof(Expected))
        cdef Py_ssize_t index
        if items == NULL:
            raise MemoryError
        for index in range(self.count):
            items[index] = self.at(index)[0]
        free(self.items)
        self.items = items
        self.capacity = capacity
        self.first = 0
        return 0
