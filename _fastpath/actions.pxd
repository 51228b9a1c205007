cdef enum RelayAction:
    ACTION_IDLE = 0           # everything that came is handled
    ACTION_DECIDE             # `asked_sql`, `asked_types`: a verdict is needed
    ACTION_ATTACH             # a server connection is needed
    ACTION_HOLD               # `verdict` wants an approval
    ACTION_JOURNAL            # no room for the intent
    ACTION_REFUSE             # `verdict` denies, or `fault` is (SQLSTATE, text)
    ACTION_TERMINATE          # the client said goodbye
    ACTION_VIOLATION          # `fault`: the client broke the protocol
    ACTION_BACKLOG            # too many replies are owed: wait for EVENT_BACKLOG
    ACTION_STALE              # policy, catalog or a revocation moved on: `use_cache` again
    ACTION_COST               # the planner is to be asked first: `cost_known` afterwards
    ACTION_OVER_BUDGET        # a window of `budget` is used up
    ACTION_NEXT               # go on with the next message; never returned
