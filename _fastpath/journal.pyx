"""A ring of records in a memory-mapped file: one producer, one consumer, either may be killed.

A record is visible only once `head` is stored with release order, after its bytes, its
length and its CRC; a producer killed before that leaves nothing. `tail` moves only when the
consumer says that the records are safe elsewhere. The file outlives both, so whoever comes
next continues where the last one stopped. The ring is mapped twice in a row: records are
contiguous in memory wherever they lie, and there is no padding to get wrong.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_FromStringAndSize

import errno
import fcntl
import os
import secrets

cdef extern from "ring.h":
    void pn_crc_init() noexcept nogil
    uint32_t pn_crc32c(uint32_t crc, const uint8_t *data, size_t size) noexcept nogil
    uint32_t pn_crc_soft8(uint32_t crc, const uint8_t *data, size_t size) noexcept nogil
    uint64_t pn_load(const uint8_t *at) noexcept nogil
    void pn_store(uint8_t *at, uint64_t value) noexcept nogil
    uint8_t *pn_map(int fd, size_t header, size_t capacity) noexcept nogil
    void pn_unmap(uint8_t *base, size_t header, size_t capacity) noexcept nogil
    void pn_populate(uint8_t *base, size_t size) noexcept nogil

# 64 kB header: a multiple of every page size Linux uses, so the ring can be mapped at it.
cdef enum:
    HEADER_SIZE = 65536
    VERSION = 1
    AT_VERSION = 8
    AT_CAPACITY = 16
    AT_RING_ID = 24
    AT_CHECK = 32
    AT_HEAD = 128                 # producer's cache lines
    AT_SEQUENCE_NEXT = 136
    AT_LIFE_FIRST = 144           # first sequence of the producer that has the ring now
    AT_TAIL = 256                 # consumer's
    AT_SEQUENCE_READ = 264
    RECORD_HEADER = 16            # u32 length, u32 crc, u64 sequence
    LENGTH_CUT = 0x80000000       # flag in the length word: cut to its reservation

_MAGIC = b"PSTNRNG\x01"
_RING_SIZE_MIN = HEADER_SIZE
pn_crc_init()


class RingDamaged(OSError):
    """A ring file whose header or positions cannot be believed. Not for a single bad record."""


def crc32c(data: bytes, *, software: bool = False) -> int:
    """CRC-32C of `data`; `software` picks the table version that other CPUs use."""
    cdef const uint8_t *start = data
    cdef size_t size = len(data)
    if software:
        return <uint32_t>~pn_crc_soft8(<uint32_t>0xFFFFFFFF, start, size)
    return pn_crc32c(0, start, size)


cdef inline uint64_t span_of(uint64_t payload) noexcept nogil:
    return (payload + RECORD_HEADER + 7) & ~<uint64_t>7


cdef inline uint32_t record_crc(const uint8_t *record, uint64_t payload) noexcept nogil:
    # The length word and the sequence are covered too: a record cannot be moved or resized.
    cdef uint32_t crc = pn_crc32c(0, record, 4)
    return pn_crc32c(crc, record + 8, 8 + payload)


cdef inline uint64_t load_u64(const uint8_t *at) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return value


cdef inline uint32_t load_u32(const uint8_t *at) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return value


def _create(path: str, capacity: int) -> None:
    """Make an empty ring under its final name, or nothing (a kill in between leaves a .new)."""
    fixed = _MAGIC + VERSION.to_bytes(8, "little") + capacity.to_bytes(8, "little")
    fixed += (secrets.randbits(63) | 1).to_bytes(8, "little")
    header = fixed + crc32c(fixed).to_bytes(4, "little")
    fd = os.open(path + ".new", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        # Blocks now: a store to an unbacked page of a full disk would be a SIGBUS later.
        os.posix_fallocate(fd, 0, HEADER_SIZE + capacity)
        os.pwrite(fd, header, 0)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(path + ".new", path)


def _open(path: str) -> tuple[int, int, int]:
    """Open a ring: (fd, capacity, ring id). Raises RingDamaged."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        header = os.pread(fd, AT_CHECK + 4, 0)
        fixed, check = header[:AT_CHECK], header[AT_CHECK:]
        if fixed[:8] != _MAGIC or crc32c(fixed).to_bytes(4, "little") != check:
            raise RingDamaged(errno.EBADMSG, f"{path} is not a journal ring")
        if int.from_bytes(fixed[AT_VERSION:AT_CAPACITY], "little") != VERSION:
            raise RingDamaged(errno.EBADMSG, f"{path} was written by another version")
        capacity = int.from_bytes(fixed[AT_CAPACITY:AT_RING_ID], "little")
        if os.fstat(fd).st_size != HEADER_SIZE + capacity:
            raise RingDamaged(errno.EBADMSG, f"{path} does not have the size its header names")
        return fd, capacity, int.from_bytes(fixed[AT_RING_ID:AT_CHECK], "little")
    except BaseException:
        os.close(fd)
        raise


cdef class Journal:
    """The producing end. One per process; a second producer is refused by a file lock."""

    def __cinit__(self, path: str, size_bytes: int) -> None:
        """Open `path` or make it with at least `size_bytes`; an existing ring keeps its size.

        Raises BlockingIOError while another producer lives, RingDamaged for an unsound header.
        """
        self.fd = -1
        if not os.path.exists(path):
            _create(path, max(-(-size_bytes // _RING_SIZE_MIN), 1) * _RING_SIZE_MIN)
        self.path = path
        self.fd, self.capacity, self.ring_id = _open(path)
        fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.base = pn_map(self.fd, HEADER_SIZE, self.capacity)
        if self.base is NULL:
            raise OSError(errno.ENOMEM, f"cannot map {path}")
        pn_populate(self.base, HEADER_SIZE + self.capacity)
        self.ring = self.base + HEADER_SIZE
        self.head = pn_load(self.base + AT_HEAD)
        self.tail_seen = pn_load(self.base + AT_TAIL)
        if self.head - self.tail_seen > self.capacity or self.head % 8:
            raise RingDamaged(errno.EBADMSG, f"{path} has impossible positions")
        self._find_sequence()
        pn_store(self.base + AT_LIFE_FIRST, self.sequence_next)

    cdef int _find_sequence(self) except -1:
        # A kill between the stores of `head` and of the sequence leaves the latter behind;
        # the unread records or, if all were read, the consumer's own count then say better.
        cdef uint64_t sequence = pn_load(self.base + AT_SEQUENCE_NEXT)
        cdef uint64_t position = self.tail_seen, length
        cdef const uint8_t *record
        sequence = max(sequence, pn_load(self.base + AT_SEQUENCE_READ), <uint64_t>1)
        while position < self.head:
            record = self.ring + position % self.capacity
            length = load_u32(record) & ~<uint32_t>LENGTH_CUT
            if (span_of(length) > self.head - position
                    or record_crc(record, length) != load_u32(record + 4)):
                break             # the consumer will report it; our sequence stays above it
            sequence = max(sequence, load_u64(record + 8) + 1)
            position += span_of(length)
        self.sequence_next = sequence
        return 0

    def __dealloc__(self) -> None:
        if self.base is not NULL:
            pn_unmap(self.base, HEADER_SIZE, self.capacity)
        if self.fd >= 0:
            os.close(self.fd)

    cdef int begin(self, Py_ssize_t reserve) noexcept nogil:
        self.cursor = NULL
        if reserve < 0 or reserve >= <Py_ssize_t>LENGTH_CUT:
            return JOURNAL_FULL
        cdef uint64_t span = span_of(<uint64_t>reserve)
        if span > self.capacity - (self.head - self.tail_seen):
            self.tail_seen = pn_load(self.base + AT_TAIL)
            # A tail beyond head would be a broken consumer: refuse rather than overwrite.
            if self.tail_seen > self.head or span > self.capacity - (self.head - self.tail_seen):
                return JOURNAL_FULL
        self.cursor = self.ring + self.head % self.capacity + RECORD_HEADER
        self.limit = self.cursor + reserve
        self.is_cut = False
        return JOURNAL_OK

    cdef void put(self, const uint8_t *data, Py_ssize_t size) noexcept nogil:
        if self.cursor is NULL or size <= 0:
            return
        if size > self.limit - self.cursor:
            self.is_cut = True
            size = self.limit - self.cursor
        memcpy(self.cursor, data, size)
        self.cursor += size

    cdef void put_json_text(self, const uint8_t *text, Py_ssize_t size) noexcept nogil:
        cdef Py_ssize_t pos = 0, clean = 0, width
        cdef uint8_t byte
        cdef uint8_t escape[6]
        while pos < size:
            byte = text[pos]
            if 0x20 <= byte < 0x80 and byte != 0x22 and byte != 0x5C:
                pos += 1
                continue
            if byte >= 0x80:
                width = utf8_width(text + pos, size - pos)
                if width > 0:
                    pos += width
                    continue
            self.put(text + clean, pos - clean)
            if byte >= 0x80:
                self.put(b"\xef\xbf\xbd", 3)
            elif byte == 0x22 or byte == 0x5C:
                escape[0] = 0x5C
                escape[1] = byte
                self.put(escape, 2)
            else:
                memcpy(escape, b"\\u00", 4)
                escape[4] = 0x30 + (byte >> 4)
                escape[5] = (0x30 if byte & 15 < 10 else 0x57) + (byte & 15)
                self.put(escape, 6)
            pos += 1
            clean = pos
        self.put(text + clean, size - clean)

    cdef void put_int(self, int64_t value) noexcept nogil:
        cdef uint8_t digits[20]
        cdef int at = 20
        # Negating in unsigned arithmetic: the most negative value has no signed opposite.
        cdef uint64_t rest = <uint64_t>value if value >= 0 else <uint64_t>0 - <uint64_t>value
        while True:
            at -= 1
            digits[at] = <uint8_t>(0x30 + rest % 10)
            rest //= 10
            if rest == 0:
                break
        if value < 0:
            at -= 1
            digits[at] = 0x2D
        self.put(digits + at, 20 - at)

    cdef int commit(self) noexcept nogil:
        if self.cursor is NULL:
            return JOURNAL_FULL
        cdef uint8_t *record = self.ring + self.head % self.capacity
        cdef uint64_t length = <uint64_t>(self.cursor - record - RECORD_HEADER)
        cdef uint32_t word = <uint32_t>length
        if self.is_cut:
            word |= <uint32_t>LENGTH_CUT
        memcpy(record, &word, 4)
        memcpy(record + 8, &self.sequence_next, 8)
        word = record_crc(record, length)
        memcpy(record + 4, &word, 4)
        self.head += span_of(length)
        self.sequence_next += 1
        self.cursor = NULL
        pn_store(self.base + AT_HEAD, self.head)
        pn_store(self.base + AT_SEQUENCE_NEXT, self.sequence_next)
        return JOURNAL_FULL if self.is_cut else JOURNAL_OK

    cdef bint is_durable(self, uint64_t position) noexcept nogil:
        # The consumer gives space back only after its flush.
        return pn_load(self.base + AT_TAIL) >= position

    cdef void abandon(self) noexcept nogil:
        self.cursor = NULL

    def append(self, record: bytes) -> bool:
        """Publish one record; False when the ring has no room."""
        cdef Py_ssize_t size = len(record)
        if self.begin(size) != JOURNAL_OK:
            return False
        self.put(record, size)
        return self.commit() == JOURNAL_OK

    def append_many(self, record: bytes, count: int) -> int:
        """Publish `record` up to `count` times at the speed compiled callers see; how many fit."""
        cdef const uint8_t *data = record
        cdef Py_ssize_t size = len(record), done = 0, wanted = count
        with nogil:
            while done < wanted and self.begin(size) == JOURNAL_OK:
                self.put(data, size)
                self.commit()
                done += 1
        return done

    def append_json(self, prefix: bytes, number: int, text: bytes, suffix: bytes, *,
                    reserve: int, commit: bool = True) -> int:
        """Build one record the way compiled callers do: prefix, number, escaped text, suffix."""
        if self.begin(reserve) != JOURNAL_OK:
            return JOURNAL_FULL
        self.put(prefix, len(prefix))
        self.put_int(number)
        self.put_json_text(text, len(text))
        self.put(suffix, len(suffix))
        return self.commit() if commit else JOURNAL_OK

    def free_bytes(self) -> int:
        """Bytes a record (with its 16-byte header) can still take."""
        return self.capacity - (self.head - pn_load(self.base + AT_TAIL))

    def lag_bytes(self) -> int:
        """Bytes published and not yet released by the consumer."""
        return self.head - pn_load(self.base + AT_TAIL)


cdef inline bint is_tail(uint8_t byte) noexcept nogil:
    return byte & 0xC0 == 0x80


cdef Py_ssize_t utf8_width(const uint8_t *at, Py_ssize_t size) noexcept nogil:
    # 0 for anything RFC 3629 does not allow: overlong forms, surrogates, above U+10FFFF.
    cdef uint8_t lead = at[0]
    if 0xC2 <= lead <= 0xDF:
        return 2 if size >= 2 and is_tail(at[1]) else 0
    if 0xE0 <= lead <= 0xEF:
        if size < 3 or not is_tail(at[1]) or not is_tail(at[2]):
            return 0
        if (lead == 0xE0 and at[1] < 0xA0) or (lead == 0xED and at[1] > 0x9F):
            return 0
        return 3
    if 0xF0 <= lead <= 0xF4:
        if size < 4 or not is_tail(at[1]) or not is_tail(at[2]) or not is_tail(at[3]):
            return 0
        if (lead == 0xF0 and at[1] < 0x90) or (lead == 0xF4 and at[1] > 0x8F):
            return 0
        return 4
    return 0


cdef class JournalReader:
    """The consuming end. Records stay in the ring until `release` says they are safe elsewhere."""

    def __cinit__(self, path: str, sequence_next: int = 0) -> None:
        """Open an existing ring at its tail.

        Records below `sequence_next` are skipped as already stored (the last consumer died
        between storing and releasing). Raises FileNotFoundError, RingDamaged.
        """
        self.fd = -1
        self.path = path
        self.fd, self.capacity, self.ring_id = _open(path)
        self.base = pn_map(self.fd, HEADER_SIZE, self.capacity)
        if self.base is NULL:
            raise OSError(errno.ENOMEM, f"cannot map {path}")
        self.ring = self.base + HEADER_SIZE
        self.tail = self.position = pn_load(self.base + AT_TAIL)
        self.resume(sequence_next)

    def resume(self, sequence_next: int) -> None:
        """Read again from the last release, skipping what is stored: below `sequence_next`."""
        self.position = self.tail
        self.sequence_next = sequence_next
        self._damage = None
        self.run, self.run_bytes, self.run_records = NULL, 0, 0

    def __dealloc__(self) -> None:
        if self.base is not NULL:
            pn_unmap(self.base, HEADER_SIZE, self.capacity)
        if self.fd >= 0:
            os.close(self.fd)

    cdef int _check(
        self, uint64_t position, uint64_t head, uint64_t *length, uint64_t *sequence
    ) noexcept nogil:
        # 1 sound, 0 damaged. Lengths come from shared memory: believed only after the CRC.
        cdef const uint8_t *record = self.ring + position % self.capacity
        if head - position < RECORD_HEADER:
            return 0
        length[0] = load_u32(record) & ~<uint32_t>LENGTH_CUT
        if (span_of(length[0]) > head - position
                or record_crc(record, length[0]) != load_u32(record + 4)):
            return 0
        sequence[0] = load_u64(record + 8)
        return 1

    def scan(self, max_bytes: int) -> int:
        """Find the next run of records, about `max_bytes` at most; how many it has.

        The run stays in the ring for `_fastpath.trail`. It ends before a damaged or missing
        record; `take_damage` then has the facts. Raises RingDamaged.
        """
        cdef uint64_t head = pn_load(self.base + AT_HEAD)
        cdef uint64_t length = 0, sequence = 0, limit = max_bytes
        cdef const uint8_t *record
        self.run, self.run_bytes, self.run_records = NULL, 0, 0
        if head < self.position or head - self.tail > self.capacity or head % 8:
            raise RingDamaged(errno.EBADMSG, f"{self.path} has impossible positions")
        while self.position < head and self.run_bytes < limit and self._damage is None:
            if not self._check(self.position, head, &length, &sequence):
                self._resynchronise(head)
                break
            if self.sequence_next and sequence > self.sequence_next:
                self._damage = ("missing", self.sequence_next, sequence - 1, self.position, 0)
                self.sequence_next = sequence
                break
            if sequence < self.sequence_next:
                if self.run_records:      # a run has no holes: skipped by the next call
                    break
                self.position += span_of(length)
                continue
            record = self.ring + self.position % self.capacity
            if not self.run_records:
                self.run = record
            self.run_records += 1
            self.run_bytes += span_of(length)
            self.run_last = sequence
            if load_u32(record) & <uint32_t>LENGTH_CUT:
                self._damage = ("cut", sequence, sequence, self.position, length)
            self.position += span_of(length)
            self.sequence_next = sequence + 1
        return self.run_records

    def read_batch(self, max_bytes: int) -> list[tuple[int, bytes]]:
        """The same as (sequence, payload) pairs; [] when there is none."""
        cdef list batch = []
        cdef Py_ssize_t _number
        cdef uint64_t length
        self.scan(max_bytes)
        cdef const uint8_t *record = self.run
        for _number in range(self.run_records):
            length = load_u32(record) & ~<uint32_t>LENGTH_CUT
            payload = PyBytes_FromStringAndSize(<char *>record + RECORD_HEADER, length)
            batch.append((load_u64(record + 8), payload))
            record += span_of(length)
        return batch

    cdef int _resynchronise(self, uint64_t head) except -1:
        # Records start at multiples of 8: the next position whose CRC holds and whose
        # sequence is ahead is a record; chance agreement is 2^-32 per position.
        cdef uint64_t start = self.position, position = start + 8, length = 0, sequence = 0
        cdef uint64_t published = max(pn_load(self.base + AT_SEQUENCE_NEXT), self.sequence_next + 1)
        cdef uint64_t first = self.sequence_next
        while position < head:
            if (self._check(position, head, &length, &sequence)
                    and sequence >= self.sequence_next and sequence < published):
                break
            position += 8
        if position >= head:
            position, sequence = head, published
        self.position = position
        self._damage = ("damaged", first, max(sequence, first + 1) - 1, start, position - start)
        self.sequence_next = max(sequence, first + 1)
        return 0

    def take_damage(self) -> tuple[str, int, int, int, int] | None:
        """(what, first sequence, last sequence, ring position, bytes) of what was not readable.

        `what` is "damaged" (CRC or length wrong), "missing" (sequence jumps) or "cut" (the
        producer overran its reservation; the record itself was returned).
        """
        damage, self._damage = self._damage, None
        return damage

    def release(self) -> None:
        """Give everything read so far back to the producer."""
        # Sequence first: an empty ring then always tells a new producer where to go on.
        pn_store(self.base + AT_SEQUENCE_READ, self.sequence_next)
        self.tail = self.position
        pn_store(self.base + AT_TAIL, self.tail)

    def life_first(self) -> int:
        """Sequence from which on the present producer writes: earlier ones' work is over."""
        return pn_load(self.base + AT_LIFE_FIRST)

    def held_bytes(self) -> int:
        """Bytes read here, or skipped as stored, and not yet released."""
        return self.position - self.tail

    def is_at_path(self) -> bool:
        """False when the file was replaced or removed: what is read here is the old one."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.stat(self.path))
        except FileNotFoundError:
            return False

    def lag_bytes(self) -> int:
        """Bytes published and not yet read here."""
        return pn_load(self.base + AT_HEAD) - self.position

    def used_share(self) -> float:
        """How full the ring is, 0..1, as its producer sees it."""
        return (pn_load(self.base + AT_HEAD) - self.tail) / self.capacity
