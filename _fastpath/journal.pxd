# What other .pyx files may cimport from the journal.
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum JournalStatus:
    JOURNAL_FULL = -1
    JOURNAL_OK = 0

cdef class Journal:
    cdef uint8_t *base            # header page(s) of the ring file
    cdef uint8_t *ring            # ring bytes, mapped twice in a row: no record ever wraps
    cdef uint64_t capacity
    cdef uint64_t head            # our own copy of the published head
    cdef uint64_t tail_seen       # last tail we loaded; reloaded only when space seems short
    cdef uint64_t sequence_next
    cdef uint8_t *cursor          # next payload byte of the open record, NULL when none is open
    cdef uint8_t *limit           # one past the reservation
    cdef bint is_cut              # a put did not fit its reservation
    cdef int fd
    cdef readonly str path
    cdef readonly uint64_t ring_id

    cdef int _find_sequence(self) except -1
    # Reserve `reserve` payload bytes; 0, or -1 when the ring has no room (then nothing is open).
    cdef int begin(self, Py_ssize_t reserve) noexcept nogil
    cdef void put(self, const uint8_t *data, Py_ssize_t size) noexcept nogil
    # JSON string escaping without the quotes; reserve 6 bytes per input byte.
    cdef void put_json_text(self, const uint8_t *text, Py_ssize_t size) noexcept nogil
    # Decimal; reserve 20 bytes.
    cdef void put_int(self, int64_t value) noexcept nogil
    # Publish. 0, or -1 when the record was cut to its reservation: refuse the statement then.
    cdef int commit(self) noexcept nogil
    # Whether all records before a ring position are on the disk.
    cdef bint is_durable(self, uint64_t position) noexcept nogil
    # Forget the open record; nothing of it was or becomes visible.
    cdef void abandon(self) noexcept nogil

cdef class JournalReader:
    cdef uint8_t *base
    cdef const uint8_t *ring
    cdef uint64_t capacity, tail, position
    cdef int fd
    cdef object _damage
    cdef readonly str path
    cdef readonly uint64_t ring_id
    cdef readonly uint64_t sequence_next
    # The run of the last `scan`: whole, sound records one after the other, headers included.
    cdef const uint8_t *run
    cdef uint64_t run_bytes
    cdef Py_ssize_t run_records
    cdef readonly uint64_t run_last       # ring sequence of its last record

    cdef int _check(
        self, uint64_t position, uint64_t head, uint64_t *length, uint64_t *sequence
    ) noexcept nogil
    cdef int _resynchronise(self, uint64_t head) except -1
