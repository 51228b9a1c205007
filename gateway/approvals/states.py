"""The life of an approval request, as a table.

Every change of state in the product goes through `may_move`; what is not in the table cannot
happen. UNKNOWN has no way out on purpose: nobody knows whether the statement ran, so it never
runs again.
"""

from __future__ import annotations

from enum import StrEnum


class ApprovalState(StrEnum):
    """Where one request stands."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    DENIED = "DENIED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    REVOKED = "REVOKED"
    EXECUTING = "EXECUTING"
    EXECUTED = "EXECUTED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_open(self) -> bool:
        """A resend of the identical statement may still join this request."""
        return self in OPEN

    @property
    def is_final(self) -> bool:
        """Nothing can change it any more."""
        return not MOVES[self]


_S = ApprovalState

OPEN = frozenset({_S.PENDING, _S.APPROVED})

MOVES: dict[ApprovalState, frozenset[ApprovalState]] = {
    _S.PENDING: frozenset({_S.APPROVED, _S.DENIED, _S.EXPIRED, _S.CANCELLED}),
    _S.APPROVED: frozenset({_S.EXECUTING, _S.EXPIRED, _S.REVOKED}),
    _S.EXECUTING: frozenset({_S.EXECUTED, _S.FAILED, _S.UNKNOWN}),
    _S.DENIED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.REVOKED: frozenset(),
    _S.EXECUTED: frozenset(),
    _S.FAILED: frozenset(),
    _S.UNKNOWN: frozenset(),
}


def may_move(source: ApprovalState, target: ApprovalState) -> bool:
    """Tell whether the life cycle has this step."""
    return target in MOVES[source]
