"""JSON shapes of the HTTP API; `openapi.json` describes the same ones.

A statement is given whole or not at all: `sql` is complete, `excerpt` says by its name that it is
not. Parameters are for those who may decide or may see everything anyway.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from gateway.clock import format_time

if TYPE_CHECKING:
    from gateway.approvals.background import Background
    from gateway.approvals.model import Approval, Listed, Parameter
    from gateway.control.live import LiveSession
    from gateway.policy.principal import Principal


def principal_json(principal: Principal) -> dict[str, Any]:
    """Return who somebody is, without anything of the token."""
    return {
        "key": principal.key,
        "issuer": principal.issuer,
        "subject": principal.subject,
        "groups": list(principal.groups),
        "agent": principal.agent,
        "run_id": principal.run_id,
    }


def parameter_json(param: Parameter) -> dict[str, Any]:
    """Return one parameter: as text where it is text, as base64 where not."""
    shape: dict[str, Any] = {"type_oid": param.type_oid, "format": ("text", "binary")[param.format]}
    if param.value is None:
        return {**shape, "value": None}
    if param.format == 0:
        try:
            return {**shape, "value": param.value.decode()}
        except UnicodeDecodeError:
            pass  # not UTF-8: shown as bytes below
    return {**shape, "base64": base64.b64encode(param.value).decode()}


def listed_json(item: Listed) -> dict[str, Any]:
    """Return one line of the list."""
    return {
        "id": item.id,
        "state": item.state.value,
        "version": item.version,
        "principal": principal_json(item.principal),
        "target": item.target,
        "role": item.role,
        "rule": item.rule,
        "excerpt": item.excerpt,
        "sql_bytes": item.sql_bytes,
        "objects": list(item.objects),
        "effects": list(item.effects),
        "reason": item.reason,
        "session": item.session,
        "created": format_time(item.created_us),
        "expires": format_time(item.expires_us),
        "approvals": item.approvals,
        "quorum": item.quorum,
    }


def approval_json(
    approval: Approval, background: Background, *, may_decide: bool, why_not: str, sees: bool
) -> dict[str, Any]:
    """Return everything about one request; what the database said only to who `sees` it."""
    request, terms = approval.request, approval.request.terms
    preview = background.preview if sees else None
    return {
        "id": approval.id,
        "state": approval.state.value,
        "version": approval.version,
        "digest": approval.digest,
        "principal": principal_json(request.principal),
        "target": request.target,
        "role": request.role,
        "rule": request.terms.rule,
        "sql": request.sql.decode(),
        "sql_bytes": len(request.sql),
        "params": [parameter_json(param) for param in request.params],
        "objects": list(request.objects),
        "effects": list(request.effects),
        "search_path": list(request.search_path),
        "transaction": request.transaction,
        "policy_digest": request.policy_digest,
        "reason": request.reason,
        "ticket": request.ticket,
        "session": request.session,
        "created": format_time(approval.created_us),
        "expires": format_time(approval.expires_us),
        "approvers": list(request.terms.approvers),
        "approvals": approval.approvals,
        "quorum": request.terms.quorum,
        "outcome": approval.outcome,
        "votes": [
            {
                "person": vote.person,
                "verdict": vote.verdict,
                "comment": vote.comment,
                "time": format_time(vote.time_us),
            }
            for vote in approval.votes
        ],
        "history": [
            {
                "state": step.state.value,
                "time": format_time(step.time_us),
                "by": step.actor,
                "note": step.note,
            }
            for step in approval.steps
        ],
        "because": list(terms.because),
        "comment_required": terms.comment_required,
        "preview": None if preview is None else preview.to_json(),
        "earlier": [listed_json(item) for item in background.earlier],
        "may_decide": may_decide,
        "why_not": why_not,
    }


def session_json(session: LiveSession) -> dict[str, Any]:
    """Return one live session."""
    return {
        "id": session.id,
        "worker": session.worker,
        "principal": principal_json(session.principal),
        "target": session.target,
        "level": session.level,
        "client": session.client,
        "opened": format_time(session.opened_us),
    }
