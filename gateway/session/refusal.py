"""Refusals as bytes and as audit fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.errors import ClientError
from gateway.protocol.messages import build_message
from gateway.session.verdicts import decision_fields

if TYPE_CHECKING:
    from gateway.session.session import Session

# What of a refused statement is recorded; it ran nowhere, so its start is enough.
_SQL_RECORDED_MAX = 64 << 10


def plain_error(sqlstate: str, text: str) -> bytes:
    """An ErrorResponse as PostgreSQL itself would word it: about the protocol, not about rights."""
    fields = (("S", "ERROR"), ("V", "ERROR"), ("C", sqlstate), ("M", text))
    body = b"".join(code.encode() + value.encode() + b"\0" for code, value in fields)
    return build_message(b"E", body + b"\0")


def refused_fields(session: Session, error: ClientError) -> dict[str, Any]:
    """The fields of a `statement.refused` record for the statement the relay stopped at."""
    relay = session.relay
    sql = relay.asked_sql or b""
    fields: dict[str, Any] = {
        **session.login.record_fields(),
        "path": "extended" if relay.asked_extended else "simple",
        "sql": sql[:_SQL_RECORDED_MAX].decode("utf-8", "replace"),
        "error": error.id,
        "sqlstate": error.sqlstate,
        "message": error.text(),
        "reason": error.reason,
        "stated_reason": session.asked.get("reason", ""),
    }
    if relay.verdict is not None:
        fields |= decision_fields(relay.verdict.decision)
    # Shadowed above by "deny" of a cached verdict; a hold that ended is a refusal too.
    fields["decision"] = "deny"
    return fields
