"""The tables of the approval store and how rows become values.

`approvals` holds what was signed and never changes it: only state, version, expiry, holder and
outcome move. The partial unique index makes two open requests for one digest impossible even if
the code above it errs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from gateway.approvals.model import Approval, ApprovalRequest, Listed, Parameter, Step, Vote
from gateway.approvals.states import ApprovalState
from gateway.approvals.terms import Terms
from gateway.policy.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS approvals (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    created_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    holder TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL DEFAULT '',
    principal_key TEXT NOT NULL,
    principal TEXT NOT NULL,
    target TEXT NOT NULL,
    role TEXT NOT NULL,
    sql BLOB NOT NULL,
    params TEXT NOT NULL,
    objects TEXT NOT NULL,
    effects TEXT NOT NULL,
    search_path TEXT NOT NULL,
    txn TEXT NOT NULL,
    policy_digest TEXT NOT NULL,
    catalog_version TEXT NOT NULL,
    reason TEXT NOT NULL,
    ticket TEXT NOT NULL,
    session TEXT NOT NULL,
    terms TEXT NOT NULL,
    approvers TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS approvals_open ON approvals (digest)
    WHERE state IN ('PENDING', 'APPROVED');
CREATE INDEX IF NOT EXISTS approvals_digest ON approvals (digest, state);
CREATE INDEX IF NOT EXISTS approvals_state ON approvals (state, created_us DESC, id DESC);
CREATE INDEX IF NOT EXISTS approvals_time ON approvals (created_us DESC, id DESC);
CREATE INDEX IF NOT EXISTS approvals_due ON approvals (expires_us)
    WHERE state IN ('PENDING', 'APPROVED');
CREATE INDEX IF NOT EXISTS approvals_principal ON approvals (principal_key, state);
CREATE TABLE IF NOT EXISTS approval_votes (
    approval TEXT NOT NULL REFERENCES approvals (id),
    person TEXT NOT NULL,
    verdict TEXT NOT NULL,
    comment TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    PRIMARY KEY (approval, person)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS approval_steps (
    approval TEXT NOT NULL REFERENCES approvals (id),
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    actor TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (approval, version)
) STRICT, WITHOUT ROWID;
"""

INSERT = """
INSERT INTO approvals (id, digest, state, created_us, expires_us, principal_key, principal, target,
    role, sql, params, objects, effects, search_path, txn, policy_digest, catalog_version, reason,
    ticket, session, terms, approvers)
VALUES (:id, :digest, 'PENDING', :created_us, :expires_us, :principal_key, :principal, :target,
    :role, :sql, :params, :objects, :effects, :search_path, :txn, :policy_digest, :catalog_version,
    :reason, :ticket, :session, :terms, :approvers)
"""

SELECT = """
SELECT id, digest, state, version, created_us, expires_us, outcome, principal, target, role, sql,
    params, objects, effects, search_path, txn, policy_digest, catalog_version, reason, ticket,
    session, terms
FROM approvals
"""

LIST = """
SELECT a.id, a.state, a.version, a.principal, a.target, a.role,
    substr(CAST(a.sql AS TEXT), 1, ?), length(a.sql), a.objects, a.effects, a.reason,
    a.session, a.created_us, a.expires_us, a.terms,
    (SELECT count(*) FROM approval_votes v WHERE v.approval = a.id AND v.verdict = 'approve')
FROM approvals a
"""


def encode(request: ApprovalRequest) -> dict[str, Any]:
    """Return the columns of `approvals` that come from the request."""
    return {
        "principal_key": request.principal.key,
        "principal": _json(request.principal.to_wire()),
        "target": request.target,
        "role": request.role,
        "sql": request.sql,
        "params": _json([param.to_wire() for param in request.params]),
        "objects": _json(request.objects),
        "effects": _json(request.effects),
        "search_path": _json(request.search_path),
        "txn": request.transaction,
        "policy_digest": request.policy_digest,
        "catalog_version": request.catalog_version,
        "reason": request.reason,
        "ticket": request.ticket,
        "session": request.session,
        "terms": _json(request.terms.to_wire()),
        "approvers": _json(request.terms.approvers),
    }


def decode(row: Sequence[Any], votes: tuple[Vote, ...], steps: tuple[Step, ...]) -> Approval:
    """Build an Approval from a row of `SELECT`."""
    (approval_id, digest, state, version, created_us, expires_us, outcome, principal, target, role,
     sql, params, objects, effects, search_path, txn, policy_digest, catalog_version, reason,
     ticket, session, terms) = row  # fmt: skip
    request = ApprovalRequest(
        principal=Principal.from_wire(orjson.loads(principal)),
        target=target,
        role=role,
        sql=bytes(sql),
        terms=Terms.from_wire(orjson.loads(terms)),
        policy_digest=policy_digest,
        params=tuple(Parameter.from_wire(param) for param in orjson.loads(params)),
        objects=tuple(orjson.loads(objects)),
        effects=tuple(orjson.loads(effects)),
        search_path=tuple(orjson.loads(search_path)),
        transaction=txn,
        catalog_version=catalog_version,
        reason=reason,
        ticket=ticket,
        session=session,
    )
    return Approval(
        id=approval_id,
        digest=digest,
        state=ApprovalState(state),
        version=version,
        request=request,
        created_us=created_us,
        expires_us=expires_us,
        outcome=outcome,
        votes=votes,
        steps=steps,
    )


def decode_listed(row: Sequence[Any]) -> Listed:
    """Build a Listed from a row of `LIST`."""
    (approval_id, state, version, principal, target, role, excerpt, sql_bytes, objects, effects,
     reason, session, created_us, expires_us, terms_json, approvals) = row  # fmt: skip
    terms = Terms.from_wire(orjson.loads(terms_json))
    return Listed(
        id=approval_id,
        state=ApprovalState(state),
        version=version,
        principal=Principal.from_wire(orjson.loads(principal)),
        target=target,
        role=role,
        rule=terms.rule,
        excerpt=excerpt,
        sql_bytes=sql_bytes,
        objects=tuple(orjson.loads(objects)),
        effects=tuple(orjson.loads(effects)),
        reason=reason,
        session=session,
        created_us=created_us,
        expires_us=expires_us,
        approvals=approvals,
        quorum=terms.quorum,
    )


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
