"""Audit records and errors of a session that are not about one decided statement."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson

from _fastpath.errors import CrossCheckError
from gateway import metrics
from gateway.audit.records import RECORD_VERSION
from gateway.errors import AuditUnwritable, ClientError, MaskedColumnUse, ServerLost, ShuttingDown

if TYPE_CHECKING:
    from gateway.session.login import Login
    from gateway.session.session import Session

log = logging.getLogger(__name__)

_MISMATCH = metrics.SECURITY_EVENTS.slot("row_description")
_PROTOCOL = metrics.SECURITY_EVENTS.slot("server_protocol")


def intent_prefix(login: Login) -> bytes:
    """The start of every intent record of a session: a JSON object left open."""
    head = {"v": RECORD_VERSION, "kind": "statement.intent", **login.record_fields()}
    return orjson.dumps(head)[:-1]


def result_prefix(login: Login) -> bytes:
    """The start of every result record: the intent it belongs to says the rest."""
    head = {"v": RECORD_VERSION, "kind": "statement.result", "session": login.session_id}
    return orjson.dumps(head)[:-1]


def shutting_down() -> ClientError:
    """What a client is told when its worker drains."""
    return ShuttingDown("the gateway is shutting down")


def record_violation(session: Session, text: str) -> None:
    """Record that the client broke the protocol; the session ends either way."""
    _record(session, "security.event", event="protocol_violation", text=text)


def record_breach(session: Session, fault: object) -> ClientError:
    """Record why the server's stream is not trusted any more; return what the client is told."""
    if isinstance(fault, CrossCheckError):
        metrics.inc(_MISMATCH)
        log.warning("session %s: result withheld: %s", session.login.session_id, fault.reason)
        _record(session, "security.mask_mismatch", text=fault.reason)
        # The likeliest cause is a table that changed since the catalog was read.
        session.catalog_changed()
        return MaskedColumnUse(
            "the result did not match its decision, so nothing of it was sent",
            reason=fault.reason,
        )
    metrics.inc(_PROTOCOL)
    _record(session, "security.event", event="server_stream", text=str(fault))
    return ServerLost("the database answered in a way the gateway does not pass on")


def _record(session: Session, kind: str, **fields: object) -> None:
    try:
        session.worker.recorder.record(kind, **session.login.record_fields(), **fields)
    except AuditUnwritable:
        # Nothing is forwarded any more on this session, which is what the record would forbid.
        metrics.inc(metrics.JOURNAL_FULL.slot())
