"""The growing end of the audit trail: entries laid out, chained and rooted in one pass.

The layout and the hashes are those of `gateway/audit/chain.py`, which stays the readable
reference and what verifying uses; this is what the writer can afford per record. Entries are
*staged* here, written by the caller, and become part of the chain only with `accept`: a write
that failed leaves the chain as it was.
"""
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory

from _fastpath.journal cimport JournalReader
from _fastpath.openset cimport OpenStatements
from _fastpath.terms cimport RECORD_INTENT, RECORD_OTHER, TermScanner

from _fastpath.journal import RingDamaged

cdef extern from "Python.h":
    int PyBUF_READ

cdef extern from "sha256.h":
    ctypedef struct pn_sha256_t:
        pass
    void pn_sha256_use(int portable) noexcept nogil
    void pn_sha256_begin(pn_sha256_t *hash) noexcept nogil
    void pn_sha256_add(pn_sha256_t *hash, const uint8_t *data, size_t size) noexcept nogil
    void pn_sha256_end(pn_sha256_t *hash, uint8_t *digest) noexcept nogil

cdef enum:
    HASH_SIZE = 32
    HEAD_SIZE = 32
    STREAM_SIZE = 16
    TAG_SIZE = 17
    PREFIX_SIZE = TAG_SIZE + STREAM_SIZE
    RING_HEADER = 16              # of a record in the ring
    LENGTH_CUT = 0x80000000
    KIND_RECORD = 1
    LEVELS = 48                   # of the Merkle tree: 2^48 entries in one segment

cdef struct End:
    uint64_t sequence_next
    uint64_t leaves
    uint8_t leaf[HASH_SIZE]
    # Roots of the complete subtrees: one of 2^n leaves where bit n of `leaves` is set.
    uint8_t[LEVELS][HASH_SIZE] subtrees

pn_sha256_use(False)


def sha256(data: bytes, *, portable: bool = False) -> bytes:
    """SHA-256 of `data`; `portable` takes the path of CPUs without the instructions."""
    cdef pn_sha256_t state
    cdef uint8_t[HASH_SIZE] digest
    pn_sha256_use(portable)
    pn_sha256_begin(&state)
    pn_sha256_add(&state, <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    pn_sha256_end(&state, digest)
    pn_sha256_use(False)
    return PyBytes_FromStringAndSize(<char *>digest, HASH_SIZE)


cdef void hash_node(const uint8_t *left, const uint8_t *right, uint8_t *node) noexcept nogil:
    cdef pn_sha256_t state
    cdef uint8_t[1 + 2 * HASH_SIZE] data
    data[0] = 1
    memcpy(data + 1, left, HASH_SIZE)
    memcpy(data + 1 + HASH_SIZE, right, HASH_SIZE)
    pn_sha256_begin(&state)
    pn_sha256_add(&state, data, 1 + 2 * HASH_SIZE)
    pn_sha256_end(&state, node)


cdef void add_leaf(End *end, const uint8_t *leaf) noexcept nogil:
    # RFC 6962, section 2.1: like adding one in binary, a carry joins two equal subtrees.
    cdef uint8_t[HASH_SIZE] node
    cdef int level = 0
    memcpy(node, leaf, HASH_SIZE)
    while end.leaves >> level & 1:
        hash_node(end.subtrees[level], node, node)
        level += 1
    memcpy(end.subtrees[level], node, HASH_SIZE)
    end.leaves += 1


cdef class Trail:
    """The end of one stream and the open segment's tree. One per segment writer."""

    cdef End end, staged
    cdef uint8_t[PREFIX_SIZE] prefix
    cdef uint8_t *out
    cdef Py_ssize_t used, room

    def __cinit__(self, stream: bytes, sequence_next: int, leaf: bytes) -> None:
        """Go on behind the entry before `sequence_next`, which has `leaf`. Raises ValueError."""
        if len(stream) != STREAM_SIZE or len(leaf) != HASH_SIZE:
            raise ValueError("a stream has 16 bytes and a leaf 32")
        memcpy(self.prefix, b"\0postern-audit-v1", TAG_SIZE)
        memcpy(self.prefix + TAG_SIZE, PyBytes_AS_STRING(stream), STREAM_SIZE)
        memcpy(self.end.leaf, PyBytes_AS_STRING(leaf), HASH_SIZE)
        self.end.sequence_next = sequence_next

    def __dealloc__(self) -> None:
        free(self.out)

    @property
    def sequence_next(self) -> int:
        """The sequence that the next accepted entry gets."""
        return self.end.sequence_next

    @property
    def leaf(self) -> bytes:
        """The chain value of the last accepted entry."""
        return PyBytes_FromStringAndSize(<char *>self.end.leaf, HASH_SIZE)

    @property
    def count(self) -> int:
        """How many entries the open segment has."""
        return self.end.leaves

    def add_leaves(self, leaves: list[bytes]) -> None:
        """Take in the leaves of a segment that is gone on with. Raises ValueError."""
        for leaf in leaves:
            if len(leaf) != HASH_SIZE:
                raise ValueError("a leaf has 32 bytes")
            add_leaf(&self.end, <const uint8_t *>PyBytes_AS_STRING(leaf))

    def root(self) -> bytes:
        """The Merkle root over the open segment, which has at least its opening entry."""
        cdef uint8_t[HASH_SIZE] node
        cdef bint is_first = True
        cdef int level
        if not self.end.leaves:
            raise ValueError("a segment without entries has no root")
        for level in range(LEVELS):
            if self.end.leaves >> level & 1:
                if is_first:
                    memcpy(node, self.end.subtrees[level], HASH_SIZE)
                    is_first = False
                else:
                    hash_node(self.end.subtrees[level], node, node)
        return PyBytes_FromStringAndSize(<char *>node, HASH_SIZE)

    def stage(self, payload: bytes, kind: int) -> memoryview:
        """The bytes of one entry of the writer's own, valid until the next call here."""
        self.staged, self.used = self.end, 0
        self._append(
            <const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), kind, 0, 0
        )
        return self._view()

    def stage_lost(self, payload: bytes, ring_id: int, ring_sequence: int) -> memoryview:
        """Likewise an entry that stands for the ring's records up to `ring_sequence`."""
        self.staged, self.used = self.end, 0
        self._append(
            <const uint8_t *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload),
            KIND_RECORD, ring_id, ring_sequence,
        )
        return self._view()

    def stage_run(
        self, reader: JournalReader, scanner: TermScanner, opened: OpenStatements
    ) -> tuple[memoryview, list[int]]:
        """The entries of all records of the reader's run, and which of them are no JSON object.

        Their terms go to `scanner` and their statements to `opened`, also when the write then
        fails: a term too many only makes a search look in vain, and the records come again.
        Raises RingDamaged when a record changed after its check.
        """
        cdef const uint8_t *record = reader.run
        cdef uint64_t left = reader.run_bytes, span, length
        cdef Py_ssize_t number
        cdef uint32_t word
        cdef uint64_t ring_sequence
        cdef const uint8_t *payload
        cdef list malformed = []
        self.staged, self.used = self.end, 0
        for number in range(reader.run_records):
            memcpy(&word, record, 4)
            memcpy(&ring_sequence, record + 8, 8)
            length = word & ~<uint32_t>LENGTH_CUT
            span = (length + RING_HEADER + 7) & ~<uint64_t>7
            # The producer still has these bytes mapped: what was checked is not believed twice.
            if span > left:
                raise RingDamaged(74, f"{reader.path} changed while it was read")
            self._append(record + RING_HEADER, length, KIND_RECORD, reader.ring_id, ring_sequence)
            # Scanned where it was copied to, for the same reason.
            payload = self.out + self.used - length
            if not scanner.scan_payload(payload, length):
                malformed.append(number)
            elif scanner.record_kind == RECORD_INTENT:
                opened.add(scanner.session, scanner.session_size, scanner.number,
                           reader.ring_id, ring_sequence)
            elif scanner.record_kind != RECORD_OTHER:
                opened.drop(scanner.session, scanner.session_size, scanner.number)
            record += span
            left -= span
        return self._view(), malformed

    def accept(self) -> None:
        """What was staged last is in the file: it is part of the chain now."""
        self.end = self.staged

    cdef object _view(self):
        return PyMemoryView_FromMemory(<char *>self.out, self.used, PyBUF_READ)

    cdef int _append(
        self, const uint8_t *payload, uint64_t size, uint32_t kind,
        uint64_t ring_id, uint64_t ring_sequence,
    ) except -1:
        cdef uint8_t[PREFIX_SIZE + 8 + HASH_SIZE + HEAD_SIZE] start
        cdef pn_sha256_t state
        cdef uint8_t *head
        cdef uint32_t word = <uint32_t>size
        cdef uint64_t sequence = self.staged.sequence_next
        cdef Py_ssize_t total = HEAD_SIZE + HASH_SIZE + <Py_ssize_t>size
        cdef int at
        if self.room - self.used < total:
            self._grow(total)
        head = self.out + self.used
        memcpy(head, &sequence, 8)
        memcpy(head + 8, &word, 4)
        memcpy(head + 12, &kind, 4)
        memcpy(head + 16, &ring_id, 8)
        memcpy(head + 24, &ring_sequence, 8)
        memcpy(head + HEAD_SIZE + HASH_SIZE, payload, size)
        memcpy(start, self.prefix, PREFIX_SIZE)
        for at in range(8):
            start[PREFIX_SIZE + at] = <uint8_t>(sequence >> (56 - 8 * at))
        memcpy(start + PREFIX_SIZE + 8, self.staged.leaf, HASH_SIZE)
        memcpy(start + PREFIX_SIZE + 8 + HASH_SIZE, head, HEAD_SIZE)
        pn_sha256_begin(&state)
        pn_sha256_add(&state, start, PREFIX_SIZE + 8 + HASH_SIZE + HEAD_SIZE)
        pn_sha256_add(&state, head + HEAD_SIZE + HASH_SIZE, size)
        pn_sha256_end(&state, self.staged.leaf)
        memcpy(head + HEAD_SIZE, self.staged.leaf, HASH_SIZE)
        add_leaf(&self.staged, self.staged.leaf)
        self.staged.sequence_next += 1
        self.used += total
        return 0

    cdef int _grow(self, Py_ssize_t more) except -1:
        # Kept for good: a fresh buffer per batch would cost a page fault for every 4 kB.
        cdef Py_ssize_t room = max(2 * self.room, self.used + more, 1 << 16)
        cdef uint8_t *out = <uint8_t *>realloc(self.out, room)
        if out is NULL:
            raise MemoryError
        self.out, self.room = out, room
        return 0
