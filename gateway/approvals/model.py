"""What a worker asks for, and what the store keeps about it.

`ApprovalRequest` crosses a process boundary, so `from_wire` trusts nothing: a field of the wrong
type or size is refused before it reaches the store.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.approvals.bounds import PARAMS_MAX, SQL_BYTES_MAX
from gateway.approvals.refusal import Refusal, RefusalCode
from gateway.approvals.terms import Terms
from gateway.approvals.wire import invalid, name, names
from gateway.policy.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.approvals.states import ApprovalState


@dataclass(frozen=True, slots=True)
class Parameter:
    """One bound value exactly as the client sent it."""

    type_oid: int
    format: int  # 0 text, 1 binary
    value: bytes | None

    def to_wire(self) -> list[object]:
        """Encode for IPC: bytes have no place in JSON."""
        text = None if self.value is None else base64.b64encode(self.value).decode("ascii")
        return [self.type_oid, self.format, text]

    @classmethod
    def from_wire(cls, wire: object) -> Parameter:
        """Decode `to_wire`'s form; raises Refusal."""
        match wire:
            case [int() as type_oid, int() as fmt, (str() | None) as text] if (
                0 <= type_oid < 2** 32 and fmt in {0, 1}
            ):
                if text is None:
                    return cls(type_oid, fmt, None)
                try:
                    return cls(type_oid, fmt, base64.b64decode(text, validate=True))
                except (binascii.Error, ValueError) as exc:
                    raise invalid("params") from exc
        raise invalid("params")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """One statement of one principal, with everything the approver signs."""

    principal: Principal
    target: str
    role: str
    sql: bytes
    terms: Terms
    policy_digest: str
    params: tuple[Parameter, ...] = ()
    objects: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    search_path: tuple[str, ...] = ()
    transaction: str = ""  # isolation and access mode the statement would run in
    catalog_version: str = ""  # when given, an approval dies with the catalog it was given for
    reason: str = ""
    ticket: str = ""
    session: str = ""

    def to_wire(self) -> dict[str, object]:
        """Encode for IPC. Raises Refusal when the statement is not UTF-8."""
        return {
            "principal": self.principal.to_wire(),
            "target": self.target,
            "role": self.role,
            "sql": decode_sql(self.sql),
            "params": [param.to_wire() for param in self.params],
            "objects": list(self.objects),
            "effects": list(self.effects),
            "rule": self.terms.rule,
            "policy_digest": self.policy_digest,
            "catalog_version": self.catalog_version,
            "search_path": list(self.search_path),
            "transaction": self.transaction,
            "reason": self.reason,
            "ticket": self.ticket,
            "session": self.session,
            "approval": self.terms.to_wire(),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> ApprovalRequest:
        """Decode and bound every field; raises Refusal(INVALID | TOO_LARGE)."""
        sql = wire.get("sql")
        if not isinstance(sql, str) or not sql:
            raise invalid("sql")
        params = wire.get("params", [])
        if not isinstance(params, list):
            raise invalid("params")
        if len(params) > PARAMS_MAX:
            raise Refusal(RefusalCode.TOO_LARGE, "too many parameters to be reviewed")
        try:
            principal = Principal.from_wire(wire["principal"])
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise invalid("principal") from exc
        request = cls(
            principal=principal,
            target=name(wire, "target"),
            role=name(wire, "role", required=False),
            sql=sql.encode(),
            terms=Terms.from_wire(wire.get("approval")),
            policy_digest=name(wire, "policy_digest"),
            params=tuple(Parameter.from_wire(param) for param in params),
            objects=names(wire, "objects"),
            effects=names(wire, "effects"),
            search_path=names(wire, "search_path"),
            transaction=name(wire, "transaction", required=False),
            catalog_version=name(wire, "catalog_version", required=False),
            reason=name(wire, "reason", required=False),
            ticket=name(wire, "ticket", required=False),
            session=name(wire, "session", required=False),
        )
        size = len(request.sql) + sum(len(param.value or b"") for param in request.params)
        # A reviewer must be able to see all of it: what cannot be shown whole is not approved.
        if size > SQL_BYTES_MAX:
            raise Refusal(RefusalCode.TOO_LARGE, "statement too long to be reviewed by a person")
        return request


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One person's word on one request."""

    person: str  # Principal.key
    verdict: str  # "approve" | "deny"
    comment: str
    time_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of state, kept for the reader; the audit trail has it as well."""

    state: ApprovalState
    time_us: int
    actor: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A stored request with where it stands."""

    id: str
    digest: str
    state: ApprovalState
    version: int
    request: ApprovalRequest
    created_us: int
    expires_us: int
    outcome: str
    votes: tuple[Vote, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def approvals(self) -> int:
        """How many distinct people said yes so far."""
        return sum(vote.verdict == "approve" for vote in self.votes)

    @property
    def decider(self) -> tuple[str, str]:
        """Who spoke last and what they wrote, ("", "") when nobody did."""
        if not self.votes:
            return "", ""
        return self.votes[-1].person, self.votes[-1].comment


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of a list. Holds no parameters and only the start of the statement."""

    id: str
    state: ApprovalState
    version: int
    principal: Principal
    target: str
    role: str
    rule: str
    excerpt: str
    sql_bytes: int
    objects: tuple[str, ...]
    effects: tuple[str, ...]
    reason: str
    session: str
    created_us: int
    expires_us: int
    approvals: int
    quorum: int


def decode_sql(sql: bytes) -> str:
    """Return the statement as text; raises Refusal when that would lose a byte."""
    try:
        return sql.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise invalid("sql") from exc
