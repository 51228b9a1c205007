"""Decisions in compiled form, and the cache that finds them.

A `Verdict` is what the policy layer decided about one statement text, reduced to what the relay
needs per message. It knows no policy: it only says what to do. `VerdictCache` holds the verdicts
of one grant profile; it dies as a whole when policy or catalog change, so no key can be stale.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem
from cpython.ref cimport PyObject
from libc.string cimport memcpy

from _fastpath.fingerprint cimport fingerprint_into


cdef enum:
    # A flood of new texts empties the cache it fills, which is the flooder's own profile.
    ENTRIES_MAX = 20000               # as limits.DECISION_CACHE_ENTRIES_MAX
    SIZE_MAX = 0x4000000              # as limits.DECISION_CACHE_BYTES_MAX


cdef long long _names_given = 0


cdef class Verdict:
    """One decided statement string."""

    def __init__(
        self,
        int action,
        object decision,
        bytes audit,
        *,
        bytes substitute=None,
        bytes pin=None,
        bytes deallocate=None,
        bint copy_in=False,
        bint copy_out=False,
        bint ddl=False,
        bint resets_role=False,
        bint resets_settings=False,
        bint affects=False,
        bint changes=False,
        bint returns_rows=True,
        bint plannable=False,
        int count=1,
        bint once=False,
        tuple cursors=None,
        tuple settings=None,
        bint redact_params=False,
    ):
        """`cursors`: per statement (use, name) of a cursor of SQL or None; None without any.

        `settings` likewise: (use, name of the setting, query that sets it again).
        """
        self.action = action
        self.decision = decision
        self.audit = audit
        self.substitute = substitute
        self.pin = pin
        self.deallocate = deallocate
        self.copy_in = copy_in
        self.copy_out = copy_out
        self.ddl = ddl
        self.resets_role = resets_role
        self.resets_settings = resets_settings
        self.affects = affects
        self.changes = changes
        self.returns_rows = returns_rows
        self.plannable = plannable
        self.count = count
        self.once = once
        self.cursors = cursors
        self.settings = settings
        self.redact_params = redact_params
        self.fetches = cursors is not None and any(
            use is not None and use[0] == CURSOR_FETCH for use in cursors
        )


cdef class VerdictCache:
    """Verdicts of one profile, by exact text and by fingerprint."""

    def __init__(
        self, object planner, bint has_masks, int64_t policy_generation, int64_t catalog_generation
    ):
        self.planner = planner
        self.has_masks = has_masks
        self.policy_generation = policy_generation
        self.catalog_generation = catalog_generation
        self.exact = {}
        self.by_fingerprint = {}
        self.names = {}
        self.scratch = OutBuf()

    cdef Verdict find(
        self, const uint8_t *sql, Py_ssize_t size, const uint8_t *types, Py_ssize_t types_size
    ):
        """The verdict for a text and its parameter types, or None. `sql` ends before its NUL."""
        cdef bytes key = _key(sql, size, types, types_size)
        cdef PyObject *found = PyDict_GetItem(self.exact, key)
        if found != NULL:
            self.hits_exact += 1
            return <Verdict>found
        if self.by_fingerprint:
            self.scratch.clear()
            if fingerprint_into(sql, size, self.scratch) == 1:
                self.scratch.append(types, types_size)
                key = PyBytes_FromStringAndSize(<char *>self.scratch.data, self.scratch.size)
                found = PyDict_GetItem(self.by_fingerprint, key)
                if found != NULL:
                    self.hits_fingerprint += 1
                    return <Verdict>found
        self.misses += 1
        return None

    def add(self, bytes sql, bytes types, Verdict verdict, *, bint by_fingerprint):
        """Remember `verdict` for `sql`; by fingerprint only where constants cannot change it."""
        cdef const uint8_t *text = <const uint8_t *><char *>sql
        cdef const uint8_t *oids = <const uint8_t *><char *>types
        if by_fingerprint:
            self.scratch.clear()
            if fingerprint_into(text, len(sql), self.scratch) == 1:
                self.scratch.append(oids, len(types))
                self._keep(
                    self.by_fingerprint,
                    PyBytes_FromStringAndSize(<char *>self.scratch.data, self.scratch.size),
                    verdict,
                )
                return
        self._keep(self.exact, _key(text, len(sql), oids, len(types)), verdict)

    cdef int _keep(self, dict entries, bytes key, Verdict verdict) except -1:
        if len(entries) >= ENTRIES_MAX or self.size > SIZE_MAX:
            self.exact.clear()
            self.by_fingerprint.clear()
            self.size = 0
        self.size += len(key)
        entries[key] = verdict
        return 0

    cdef bytes server_name(self, bytes sql, bytes types):
        """The name a prepared statement has on every server connection, never used twice.

        Equal text and types share it, so a statement is prepared once per connection however
        many clients use it. The cache dies with the catalog, so a plan never outlives a DDL.
        """
        global _names_given
        cdef bytes key = sql + b"\0" + types
        cdef object name = self.names.get(key)
        if name is None:
            if len(self.names) >= ENTRIES_MAX:
                self.names.clear()
            _names_given += 1
            name = self.names[key] = b"pn_%d" % _names_given
        return name

    def sizes(self):
        """(entries by exact text, entries by fingerprint)."""
        return len(self.exact), len(self.by_fingerprint)


cdef bytes _key(
    const uint8_t *sql, Py_ssize_t size, const uint8_t *types, Py_ssize_t types_size
):
    # SQL text holds no NUL, so text + NUL + types has one reading only.
    if types_size <= 2:
        return PyBytes_FromStringAndSize(<const char *>sql, size)
    cdef bytes key = PyBytes_FromStringAndSize(NULL, size + 1 + types_size)
    cdef char *target = <char *>key
    memcpy(target, sql, size)
    target[size] = 0
    memcpy(target + size + 1, types, types_size)
    return key
