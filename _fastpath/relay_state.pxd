from libc.stdint cimport int64_t, uint8_t

from _fastpath.bounds cimport StatementLimits
from _fastpath.counts cimport Counts
from _fastpath.datarow cimport MaskPlan
from _fastpath.journal cimport Journal
from _fastpath.link cimport ServerLink
from _fastpath.outbuf cimport OutBuf
from _fastpath.prepared cimport Portal, Prepared
from _fastpath.statements cimport Verdict, VerdictCache


cdef class RelayState:
    cdef Journal journal
    cdef Counts counts
    cdef object epochs_owner
    cdef const int64_t[:] epochs
    cdef readonly VerdictCache cache
    cdef readonly ServerLink link
    cdef readonly object principal
    cdef bytes setup_at_login          # role, and the settings of the startup packet
    cdef readonly bytes setup          # that and what SET has changed, run when a server differs
    cdef dict settings                 # name -> query that sets it again
    cdef list settings_open            # (use, name, query) of the open transaction, not committed
    cdef bint savepoint_open           # ... in which a savepoint was set
    cdef bytes intent_prefix
    cdef bytes result_prefix
    cdef OutBuf to_client
    cdef OutBuf to_server
    cdef bint filters_errors
    cdef object error_filter           # payload -> payload
    cdef object status_observer        # payload of ParameterStatus -> forward it?
    cdef public int events
    cdef public object fault
    cdef readonly StatementLimits limits   # None: nothing is limited
    cdef readonly int over            # the `OverLimit` that EVENT_OVER is about
    cdef bytes over_member            # of the next result record
    cdef int64_t settled_ns           # when a statement ended last
    cdef readonly int64_t statement_count
    cdef dict statements, portals      # of the client, by name
    cdef dict cursors                  # open on the server, as its answers tell: name -> Cursor
    cdef readonly bytes pin            # why the server connection stays ours, or None
    cdef bint ddl_done                 # since the last ReadyForQuery outside a transaction
    cdef public dict watched           # statement number -> anything, told of in `finished`
    cdef public list finished
    cdef bytes approval                # id to name in the next intent
    cdef MaskPlan query_plan           # of the head Query's current result

    cdef int64_t write_intent(
        self, Verdict verdict, const uint8_t *sql, Py_ssize_t sql_size, bint extended,
        const uint8_t *binds, Py_ssize_t binds_size, bytes types
    )
    cdef int write_result(
        self, int64_t statement, bytes outcome, const uint8_t *tag, Py_ssize_t tag_size,
        const uint8_t *sqlstate, int64_t rows, int64_t size, int64_t started_ns) except -1
    cdef int finish_portal(self, Portal portal, bytes outcome, const uint8_t *tag,
                           Py_ssize_t tag_size, const uint8_t *sqlstate) except -1


cdef int64_t now_ns() noexcept nogil
