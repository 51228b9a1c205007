cdef enum RelayEvent:
    EVENT_IDLE = 1            # the server connection may go back to the pool
    EVENT_DDL = 2             # a statement that changes the catalog is committed
    EVENT_FINISHED = 4        # a watched statement ended: see `finished`
    EVENT_BACKLOG = 8         # input held back for the reply queue may go on
    EVENT_BROKEN = 16         # the server stream cannot be trusted: see `fault`
    EVENT_SET_UP = 32         # a cancel that waited for the session's settings may go now
    EVENT_OVER = 64           # a statement exceeded a limit: see `over`
    EVENT_SEND = 128          # there is something for the server
