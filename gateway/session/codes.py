"""What the compiled relay asks for and tells, numbered as in `_fastpath/outgoing.pxd`."""

from __future__ import annotations

from enum import IntEnum, IntFlag, auto


class Action(IntEnum):
    """Why `Relay.advance` stopped."""

    IDLE = 0
    DECIDE = auto()
    ATTACH = auto()
    HOLD = auto()
    JOURNAL = auto()
    REFUSE = auto()
    TERMINATE = auto()
    VIOLATION = auto()
    BACKLOG = auto()
    STALE = auto()
    COST = auto()
    OVER_BUDGET = auto()


class Event(IntFlag):
    """What `Relay.from_server` noticed, numbered as in `_fastpath/relay_state.pxd`."""

    IDLE = auto()
    DDL = auto()
    FINISHED = auto()
    BACKLOG = auto()
    BROKEN = auto()
    SET_UP = auto()
    OVER = auto()
    SEND = auto()
