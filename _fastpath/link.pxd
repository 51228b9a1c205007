from _fastpath.replies cimport ReplyQueue
from _fastpath.prepared cimport Prepared


cdef bytes SETUP_UNKNOWN              # some of the settings are not what `setup` said


cdef class ServerLink:
    cdef ReplyQueue queue
    cdef readonly int transaction     # status byte of the last ReadyForQuery: I, T or E
    cdef readonly int owed            # ReadyForQuery still to come
    cdef bint sync_pending            # extended messages sent since the last Sync
    cdef bint bound                   # ... among them a Bind: something may have run
    cdef bint failed                  # the server discards until a Sync that was not sent yet
    cdef bint guarding                # nothing may follow before what is guarded is settled
    cdef public bint held             # ... nor before the gateway's own cancel is through
    cdef bint changed                 # this transaction may have changed something
    cdef readonly bint copy_in        # CopyInResponse came, its end did not
    cdef bint copy_end_sent
    cdef int copy_in_flight           # COPY FROM STDIN statements sent and unanswered
    cdef public bint cancel_waits     # for the settings that are on their way
    cdef public bint dirty            # state of another principal or session may remain
    cdef public object principal      # whose session state it may carry
    cdef public bytes setup           # the settings query it was last set up with, or None
    cdef dict prepared                # server name -> confirmed by ParseComplete
    cdef Prepared unnamed
    cdef bytes carry                  # start of a message whose rest has not come
    cdef list chunks                  # further pieces of it
    cdef Py_ssize_t chunks_size
    cdef Py_ssize_t need              # size of the whole message, once its header is known
    cdef Py_ssize_t passing           # bytes left of a message that is streamed unread
    cdef bint passing_kept            # ... and goes to the client

    cdef bint nothing_owed(self) noexcept
    cdef bint owes_only_setup(self) noexcept
    cpdef bint is_setting_up(self)
    cpdef bint is_idle(self)
