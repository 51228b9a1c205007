from libc.stdint cimport int64_t, uint8_t

from _fastpath.datarow cimport MaskPlan
from _fastpath.outbuf cimport OutBuf


cdef enum VerdictAction:
    VERDICT_ALLOW = 0
    VERDICT_DENY
    VERDICT_APPROVE
    VERDICT_LOCAL             # answered by the gateway: `substitute` runs in the statement's place


cdef enum CursorUse:           # of a SQL statement, beside the name of a cursor
    CURSOR_DECLARE = 1, CURSOR_FETCH, CURSOR_CLOSE


cdef enum SettingUse:          # of a SQL statement, beside a name and the query that says it again
    SETTING_SET = 1, SETTING_RESET, SETTING_RESET_ALL, SETTING_SAVEPOINT


cdef class Verdict:
    cdef readonly int action
    cdef readonly object decision     # the Decision it was made from; not looked at on the hot path
    cdef readonly bytes audit         # JSON members of every intent record, leading comma included
    cdef readonly bytes substitute
    cdef readonly bytes pin           # reason, or None
    cdef readonly bytes deallocate    # b"name", b"*" or None
    cdef readonly bint copy_in, copy_out, ddl, resets_role, resets_settings
    cdef readonly bint affects, changes, returns_rows, plannable
    cdef readonly int count           # statements in the string
    cdef readonly bint once           # depends on session state: asked for anew each time
    cdef readonly bint redact_params  # the intent tells only how many bytes each parameter has
    cdef tuple cursors                # per statement (CursorUse, name) or None; None without any
    cdef tuple settings               # per statement (SettingUse, name, query) or None; as above
    cdef bint fetches                 # a statement of it returns the rows of a cursor
    cdef object cache                 # what it was sent under; kept where cursors are concerned
    cdef bytes shape                  # the last one that passed the cross-check, with its plan
    cdef int shape_index
    cdef bytes formats                # result formats of Bind the plan was made for, or None
    cdef MaskPlan plan


cdef class VerdictCache:
    cdef dict exact
    cdef dict by_fingerprint
    cdef Py_ssize_t size              # bytes of the keys
    cdef dict names                   # text and types -> name on the servers
    cdef readonly object planner      # (payload, formats | None, Verdict, index) -> MaskPlan | None
    cdef readonly bint has_masks
    cdef readonly int64_t policy_generation, catalog_generation
    cdef readonly int64_t hits_exact, hits_fingerprint, misses
    cdef OutBuf scratch

    cdef Verdict find(
        self, const uint8_t *sql, Py_ssize_t size, const uint8_t *types, Py_ssize_t types_size
    )
    cdef bytes server_name(self, bytes sql, bytes types)
    cdef int _keep(self, dict entries, bytes key, Verdict verdict) except -1
