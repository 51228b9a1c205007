"""What a worker asks for, and what the store keeps about it.

`ApprovalRequest` crosses a process boundary, so `from_wire` trusts nothing: a field of the wrong
type or size is refused before it reaches the store.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.approvals.bounds import (
    NAME_BYTES_MAX,
    NAMES_MAX,
    PARAMS_MAX,
    SQL_BYTES_MAX,
    TTL_S_MAX,
)
from gateway.approvals.refusal import Refusal, RefusalCode
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
                    raise _invalid("params") from exc
        raise _invalid("params")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How the guard wants the approval: who, how many, how long."""

    rule: str
    approvers: tuple[str, ...]  # policy groups
    quorum: int
    hold_s: float
    request_ttl_s: float
    grant_ttl_s: float

    def to_wire(self) -> dict[str, object]:
        """Return the form `Decision.approval` has."""
        return {
            "rule": self.rule,
            "from": list(self.approvers),
            "quorum": self.quorum,
            "hold_s": self.hold_s,
            "request_ttl_s": self.request_ttl_s,
            "grant_ttl_s": self.grant_ttl_s,
        }

    @classmethod
    def from_wire(cls, wire: object) -> Terms:
        """Take `Decision.approval`; raises Refusal when it is not one."""
        if not isinstance(wire, dict):
            raise _invalid("approval")
        quorum = wire.get("quorum", 1)
        # A quorum below one would let a request approve itself.
        if not isinstance(quorum, int) or isinstance(quorum, bool) or not 1 <= quorum <= NAMES_MAX:
            raise _invalid("approval.quorum")
        approvers = _names(wire, "from")
        if not approvers:
            raise _invalid("approval.from")
        return cls(
            rule=_name(wire, "rule"),
            approvers=approvers,
            quorum=quorum,
            hold_s=_seconds(wire, "hold_s", minimum=0.0),
            request_ttl_s=_seconds(wire, "request_ttl_s", minimum=1.0),
            grant_ttl_s=_seconds(wire, "grant_ttl_s", minimum=1.0),
        )


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
            raise _invalid("sql")
        params = wire.get("params", [])
        if not isinstance(params, list):
            raise _invalid("params")
        if len(params) > PARAMS_MAX:
            raise Refusal(RefusalCode.TOO_LARGE, "too many parameters to be reviewed")
        try:
            principal = Principal.from_wire(wire["principal"])
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise _invalid("principal") from exc
        request = cls(
            principal=principal,
            target=_name(wire, "target"),
            role=_name(wire, "role", required=False),
            sql=sql.encode(),
            terms=Terms.from_wire(wire.get("approval")),
            policy_digest=_name(wire, "policy_digest"),
            params=tuple(Parameter.from_wire(param) for param in params),
            objects=_names(wire, "objects"),
            effects=_names(wire, "effects"),
            search_path=_names(wire, "search_path"),
            transaction=_name(wire, "transaction", required=False),
            catalog_version=_name(wire, "catalog_version", required=False),
            reason=_name(wire, "reason", required=False),
            ticket=_name(wire, "ticket", required=False),
            session=_name(wire, "session", required=False),
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
        raise _invalid("sql") from exc


def _invalid(field: str) -> Refusal:
    return Refusal(RefusalCode.INVALID, f"malformed approval request: {field}")


def _name(wire: Mapping[str, Any], key: str, *, required: bool = True) -> str:
    value = wire.get(key, "")
    if not isinstance(value, str) or (required and not value):
        raise _invalid(key)
    if len(value.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
        raise Refusal(RefusalCode.TOO_LARGE, f"{key} is too long")
    return value


def _names(wire: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = wire.get(key, [])
    if not isinstance(values, list) or len(values) > NAMES_MAX:
        raise _invalid(key)
    if not all(isinstance(value, str) and len(value) <= NAME_BYTES_MAX for value in values):
        raise _invalid(key)
    return tuple(values)


def _seconds(wire: Mapping[str, Any], key: str, *, minimum: float) -> float:
    value = wire.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _invalid(f"approval.{key}")
    # Also refuses NaN, which compares false with everything.
    if not minimum <= value <= TTL_S_MAX:
        raise _invalid(f"approval.{key}")
    return float(value)
