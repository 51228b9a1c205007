"""The control process's part of the audit trail.

The store thread and the event loop both record into control.ring, which has one producer: the lock
makes the two of them one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from gateway import metrics

if TYPE_CHECKING:
    from gateway.approvals.model import Approval
    from gateway.approvals.store import Move
    from gateway.audit.journal import Recorder
    from gateway.policy.principal import Principal

_KINDS = {
    "requested": "approval.requested",
    "voted": "approval.decided",
    "approved": "approval.decided",
    "denied": "approval.decided",
    "executing": "approval.consumed",
    "executed": "approval.finished",
    "failed": "approval.finished",
    "unknown": "approval.finished",
    "late_report": "approval.finished",
    "expired": "approval.expired",
    "cancelled": "approval.cancelled",
    "revoked": "approval.cancelled",
}
_COUNTERS = {
    event: metrics.APPROVALS.slot("pending" if event == "requested" else event)
    for event in (
        "requested", "approved", "denied", "expired", "cancelled", "executed", "failed",
    )
}  # fmt: skip


class Trail:
    """Records what happens here. Every method raises AuditUnwritable when it cannot."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._lock = threading.Lock()

    def record(self, kind: str, **fields: Any) -> None:
        """Record one event."""
        with self._lock:
            self._recorder.record(kind, **fields)

    def move(self, move: Move) -> None:
        """Record a step of an approval, from inside the store's transaction."""
        fields = _approval(move.approval)
        if move.event == "requested":
            # The text is recorded once; every later record names the request it belongs to.
            request = move.approval.request
            fields["sql"] = request.sql.decode()
            fields["params"] = [param.to_wire() for param in request.params]
        kind = _KINDS[move.event]
        if kind == "approval.finished":
            fields["outcome"] = move.note if move.event == "late_report" else move.event
        self.record(kind, **fields, by=move.actor, comment=move.note)
        if (slot := _COUNTERS.get(move.event)) is not None:
            metrics.inc(slot)

    def call(
        self,
        *,
        action: str,
        path: str,
        status: int,
        client: str,
        principal: Principal | None,
        reason: str,
    ) -> None:
        """Record one call of the HTTP API or a page."""
        who = {} if principal is None else who_fields(principal)
        fields: dict[str, Any] = {"reason": reason} if reason else {}
        self.record(
            "admin.action",
            action=action,
            object=path,
            status=status,
            client=client,
            **who,
            **fields,
        )


def who_fields(principal: Principal) -> dict[str, Any]:
    """Return the fields that say who, as every record with a principal has them."""
    return {
        "principal": principal.key,
        "issuer": principal.issuer,
        "subject": principal.subject,
        "groups": list(principal.groups),
        "token_id": principal.token_id,
        "token_expires": principal.expires_at,
        "agent": principal.agent,
        "run_id": principal.run_id,
        "gateway_token": principal.gateway_token,
        "actor": principal.actor,
    }


def _approval(approval: Approval) -> dict[str, Any]:
    request = approval.request
    return {
        **who_fields(request.principal),
        "session": request.session,
        "target": request.target,
        "role": request.role,
        "approval": approval.id,
        "state": approval.state.value,
        "rule": request.terms.rule,
        "quorum": request.terms.quorum,
        "objects": list(request.objects),
        "effects": list(request.effects),
        "policy_digest": request.policy_digest,
        "stated_reason": request.reason,
        "expires": approval.expires_us,
    }
