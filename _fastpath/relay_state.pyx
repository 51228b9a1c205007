"""What both directions of a relay share: the session's state and its audit records.

An intent is in the journal before a byte of its statement leaves. Records are composed in the
ring itself from fragments that were serialised once, per session and per decision.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

from _fastpath.events cimport EVENT_BROKEN, EVENT_FINISHED
from _fastpath.wire cimport load_be16, load_be32


cdef enum:
    # Kept free behind every intent so that the results of what is in flight always fit.
    RESULT_ROOM = 65536
    RESULT_SIZE_MAX = 512
    PARAMETER_SIZE_MAX = 4096
    PARAMETERS_SIZE_MAX = 65536


cdef int64_t now_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef int64_t now_us_utc() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000


cdef inline Py_ssize_t load_be16u(const uint8_t *at) noexcept nogil:
    # Counts in Bind go to 65535 (protocol: "Int16", read by PostgreSQL as unsigned).
    return (<Py_ssize_t>at[0] << 8) | at[1]


cdef inline void put(Journal journal, bytes text) noexcept:
    journal.put(<const uint8_t *><char *>text, len(text))


cdef class RelayState:
    """Base of the relay. `Relay` is the class to use."""

    def __init__(
        self,
        Journal journal,
        object epochs,
        Counts counts not None,
        *,
        object principal,
        bytes setup,
        bytes intent_prefix,
        bytes result_prefix,
        object error_filter,
        object status_observer,
    ):
        """`epochs`: shared int64 slots; the prefixes are JSON objects left open at the end."""
        self.journal = journal
        self.counts = counts
        self.epochs_owner = epochs
        self.epochs = epochs
        self.principal = principal
        self.setup = self.setup_at_login = setup
        self.settings = {}
        self.settings_open = []
        self.intent_prefix = intent_prefix
        self.result_prefix = result_prefix
        self.error_filter = error_filter
        self.status_observer = status_observer
        self.to_client = OutBuf()
        self.to_server = OutBuf()
        self.statements = {}
        self.portals = {}
        self.cursors = {}
        self.watched = {}
        self.finished = []

    cdef int64_t write_intent(
        self, Verdict verdict, const uint8_t *sql, Py_ssize_t sql_size, bint extended,
        const uint8_t *binds, Py_ssize_t binds_size, bytes types
    ):
        """Record that a statement is about to run; its number, 0 when the journal is full.

        -1 when the record was cut: a bug in the reservation, and no ground to run anything.

        `binds` are the parameters of a Bind message: format codes, then values, checked before;
        `types` the OIDs that Parse gave for them, count first, or None.
        """
        cdef Journal journal = self.journal
        cdef Py_ssize_t parameters = 0
        if binds_size > 0:
            # Escaped sixfold up to the cap; each value that is left out still costs its mark.
            parameters = 6 * PARAMETERS_SIZE_MAX if binds_size > PARAMETERS_SIZE_MAX else (
                6 * binds_size
            )
            parameters += 64 * load_be16u(binds + 2 + 2 * load_be16u(binds))
        cdef Py_ssize_t in_flight = self.link.queue.count if self.link is not None else 0
        cdef Py_ssize_t wanted = (
            len(self.intent_prefix) + len(verdict.audit) + 6 * sql_size + parameters + 1024
            + 6 * len(self.watched) + RESULT_ROOM + in_flight * RESULT_SIZE_MAX
        )
        if journal.begin(wanted) != 0:
            return 0
        cdef int64_t statement = self.statement_count + 1
        put(journal, self.intent_prefix)
        put(journal, b',"stmt":')
        journal.put_int(statement)
        put(journal, b',"time":')
        journal.put_int(now_us_utc())
        put(journal, b',"path":"extended","sql":"' if extended else b',"path":"simple","sql":"')
        journal.put_json_text(sql, sql_size)
        put(journal, b'"')
        if binds_size > 0:
            put_parameters(journal, binds, types, verdict.redact_params)
        if self.approval is not None:
            put(journal, b',"approval":"')
            journal.put_json_text(<const uint8_t *><char *>self.approval, len(self.approval))
            put(journal, b'"')
            self.approval = None
        put(journal, verdict.audit)
        put(journal, b"}")
        if journal.commit() != 0:
            return -1
        self.statement_count = statement
        self.counts.statement(verdict.action)
        return statement

    cdef int write_result(
        self, int64_t statement, bytes outcome, const uint8_t *tag, Py_ssize_t tag_size,
        const uint8_t *sqlstate, int64_t rows, int64_t size, int64_t started_ns
    ) except -1:
        """Record how a statement ended. `sqlstate` is NULL or five bytes."""
        if statement == 0:
            return 0
        cdef Journal journal = self.journal
        self.settled_ns = now_ns()
        cdef int64_t duration_ns = self.settled_ns - started_ns
        cdef bytes over = self.over_member
        self.over_member = None
        self.counts.took(duration_ns)
        if journal.begin(len(self.result_prefix) + RESULT_SIZE_MAX) != 0:
            # The room is kept by write_intent, so this is a bug or a broken consumer.
            self.fault = "the journal has no room for a result"
            self.events |= EVENT_BROKEN
            return 0
        put(journal, self.result_prefix)
        put(journal, b',"stmt":')
        journal.put_int(statement)
        put(journal, b',"time":')
        journal.put_int(now_us_utc())
        put(journal, b',"outcome":"')
        put(journal, outcome)
        put(journal, b'"')
        if tag_size > 0:
            put(journal, b',"tag":"')
            journal.put_json_text(tag, tag_size if tag_size < 32 else 32)
            put(journal, b'"')
        if over is not None:
            put(journal, over)        # error and SQLSTATE are what the client got
        elif sqlstate != NULL:
            put(journal, b',"sqlstate":"')
            journal.put_json_text(sqlstate, 5)
            put(journal, b'"')
        put(journal, b',"rows":')
        journal.put_int(rows)
        put(journal, b',"bytes":')
        journal.put_int(size)
        put(journal, b',"duration_us":')
        journal.put_int(duration_ns // 1000)
        put(journal, b"}")
        journal.commit()
        if self.watched and statement in self.watched:
            self.finished.append((self.watched.pop(statement), outcome, rows))
            self.events |= EVENT_FINISHED
        return 0

    cdef int finish_portal(
        self, Portal portal, bytes outcome, const uint8_t *tag, Py_ssize_t tag_size,
        const uint8_t *sqlstate
    ) except -1:
        if portal.finished:
            return 0
        portal.finished = True
        if portal.over and self.limits is not None:
            self.over_member = <bytes>self.limits.members[portal.over]
        return self.write_result(
            portal.statement, outcome, tag, tag_size, sqlstate,
            portal.rows, portal.bytes, portal.started_ns
        )


cdef int put_parameters(
    Journal journal, const uint8_t *data, bytes types, bint redact
) except -1:
    """Append `,"params":[...]`: text as it is, binary as hexadecimal with its type's OID.

    `gateway/audit/params.py` reads the latter: here nothing is decoded on the way.
    """
    cdef const uint8_t *oids = NULL if types is None else <const uint8_t *><char *>types
    cdef Py_ssize_t known = 0 if types is None else (len(types) - 2) // 4
    cdef Py_ssize_t formats = load_be16u(data)
    cdef const uint8_t *codes = data + 2
    cdef Py_ssize_t pos = 2 + 2 * formats
    cdef Py_ssize_t count = load_be16u(data + pos)
    cdef Py_ssize_t index, length, written = 0
    cdef int format
    if count == 0:
        return 0
    put(journal, b',"params":[')
    pos += 2
    for index in range(count):
        if index:
            put(journal, b",")
        length = load_be32(data + pos)
        pos += 4
        if length < 0:
            put(journal, b"null")
            continue
        if redact:
            put(journal, b'{"redacted_bytes":')
            journal.put_int(length)
            put(journal, b"}")
        elif length > PARAMETER_SIZE_MAX or written + length > PARAMETERS_SIZE_MAX:
            put(journal, b'{"omitted_bytes":')
            journal.put_int(length)
            put(journal, b"}")
        else:
            format = load_be16(codes) if formats == 1 else (
                load_be16(codes + 2 * index) if index < formats else 0
            )
            put_parameter(
                journal, data + pos, length, format,
                <uint32_t>load_be32(oids + 2 + 4 * index) if index < known else 0
            )
            written += length
        pos += length
    put(journal, b"]")
    return 0


cdef int put_parameter(
    Journal journal, const uint8_t *data, Py_ssize_t size, int format, uint32_t type_oid
) except -1:
    cdef Py_ssize_t index
    cdef uint8_t pair[2]
    cdef const uint8_t *digits = b"0123456789abcdef"
    if format == 0:
        put(journal, b'"')
        journal.put_json_text(data, size)
        put(journal, b'"')
        return 0
    put(journal, b"{")
    if type_oid:
        put(journal, b'"type":')
        journal.put_int(type_oid)
        put(journal, b",")
    put(journal, b'"hex":"')
    for index in range(size):
        pair[0] = digits[data[index] >> 4]
        pair[1] = digits[data[index] & 15]
        journal.put(pair, 2)
    put(journal, b'"}')
    return 0
