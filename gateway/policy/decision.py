"""The question a worker asks about a statement, and the answer it gets back.

Both cross a process boundary as plain dicts. A Decision holds all that the worker needs to
act, to cache and to record, and nothing that would let it run a statement it does not cover.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypedDict, cast

from gateway.errors import ERRORS, ClientError
from gateway.policy.principal import Principal
from gateway.sql.facts import CopyForm

Action = Literal["allow", "deny", "approve", "local"]
Cache = Literal["fingerprint", "text", "never"]
CACHES: tuple[Cache, ...] = ("fingerprint", "text", "never")  # from free to strict


class ErrorWire(TypedDict):
    """A ClientError as plain data. `reason` is for the audit only and never sent."""

    id: str
    message: str
    hint: str
    facts: dict[str, Any]
    position: int | None
    reason: str


ApprovalWire = TypedDict(
    "ApprovalWire",
    {
        "rule": str,
        "from": list[str],
        "quorum": int,
        "hold_s": float,
        "request_ttl_s": float,
        "grant_ttl_s": float,
        # Why the guard held the statement, for the notice and the approver.
        "because": list[str],
        "comment_required": bool,
        "login_within_s": float,
        "windows": list[dict[str, Any]],
        "dry_run_count": bool,
        "max_rows_seen": float,
    },
)


class ShadowWire(TypedDict):
    """What enforce mode would have done to a statement that shadow mode lets through."""

    action: str
    error: ErrorWire | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideRequest:
    """One string of SQL, by whom, where, and in what session state."""

    principal: Principal
    target: str
    requested: str
    sql: bytes
    param_oids: tuple[int, ...] = ()
    search_path: tuple[str, ...] = ()
    in_transaction: bool = False

    def to_wire(self) -> dict[str, Any]:
        """Return a plain dict; bytes that are not UTF-8 travel as base64 so that they arrive."""
        wire: dict[str, Any] = {
            "principal": self.principal.to_wire(),
            "target": self.target,
            "requested": self.requested,
            "param_oids": list(self.param_oids),
            "search_path": list(self.search_path),
            "in_transaction": self.in_transaction,
        }
        try:
            wire["sql"] = self.sql.decode()
        except UnicodeDecodeError:
            wire["sql_base64"] = base64.b64encode(self.sql).decode()
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> DecideRequest:
        """Rebuild what `to_wire` gave; raises KeyError when a field is missing."""
        encoded = wire.get("sql_base64")
        return cls(
            principal=Principal.from_wire(wire["principal"]),
            target=wire["target"],
            requested=wire["requested"],
            sql=wire["sql"].encode() if encoded is None else base64.b64decode(encoded),
            param_oids=tuple(wire["param_oids"]),
            search_path=tuple(wire["search_path"]),
            in_transaction=wire["in_transaction"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementPlan:
    """How the worker treats one statement and its result.

    `outputs` names per result column an index into `Profile.masks`, or -1 for clear. None means
    that no relation with a masked column is touched: any masked column in the RowDescription is
    then a security event.
    """

    kind: str
    outputs: tuple[int, ...] | None = None
    returns_rows: bool = False
    copy: str = ""
    copy_form: CopyForm | None = None  # set where COPY TO STDOUT may show a masked column
    txn: str = ""
    pin: str = ""
    ddl: bool = False
    affects: bool = False  # its command tag counts the rows it changed
    plannable: bool = False  # EXPLAIN in front of it gives an estimate
    resets_settings: bool = False
    deallocate: str | None = None
    setting: tuple[str, str | None] | None = None  # as of `StatementFacts`
    cursor: str | None = None  # that DECLARE opens, FETCH and MOVE read, CLOSE ends

    def to_wire(self) -> dict[str, Any]:
        """Return a plain dict for the channel between processes."""
        return {
            "kind": self.kind,
            "outputs": None if self.outputs is None else list(self.outputs),
            "returns_rows": self.returns_rows,
            "copy": self.copy,
            "copy_form": None if self.copy_form is None else asdict(self.copy_form),
            "txn": self.txn,
            "pin": self.pin,
            "ddl": self.ddl,
            "affects": self.affects,
            "plannable": self.plannable,
            "resets_settings": self.resets_settings,
            "deallocate": self.deallocate,
            "cursor": self.cursor,
            "setting": self.setting,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> StatementPlan:
        """Rebuild what `to_wire` gave; raises KeyError when a field is missing."""
        outputs, form = wire["outputs"], wire["copy_form"]
        return cls(
            kind=wire["kind"],
            outputs=None if outputs is None else tuple(outputs),
            returns_rows=wire["returns_rows"],
            copy=wire["copy"],
            copy_form=None if form is None else _copy_form(form),
            txn=wire["txn"],
            pin=wire["pin"],
            ddl=wire["ddl"],
            affects=wire["affects"],
            plannable=wire["plannable"],
            resets_settings=wire["resets_settings"],
            deallocate=wire["deallocate"],
            cursor=wire["cursor"],
            setting=None if wire["setting"] is None else tuple(wire["setting"]),
        )


def _copy_form(wire: Mapping[str, Any]) -> CopyForm:
    return CopyForm(**{**wire, "force_quote": tuple(wire["force_quote"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict on one string of SQL.

    `error` is set exactly when `action` is "deny". `shadow` is set when the policy only records:
    the action is then "allow" and `shadow` says what enforce mode would have done.
    """

    action: Action
    error: ErrorWire | None = None
    rules: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    statements: tuple[StatementPlan, ...] = ()
    cache: Cache = "never"
    approval: ApprovalWire | None = None
    local: dict[str, Any] | None = None
    shadow: ShadowWire | None = None
    profile_key: str = ""
    policy_digest: str = ""
    catalog_version: str = ""
    redact_params: bool = False  # the record tells only the size of each parameter

    def to_wire(self) -> dict[str, Any]:
        """Return a plain dict for the channel between processes."""
        return {
            "action": self.action,
            "error": self.error,
            "rules": list(self.rules),
            "effects": list(self.effects),
            "objects": list(self.objects),
            "masks": list(self.masks),
            "statements": [statement.to_wire() for statement in self.statements],
            "cache": self.cache,
            "approval": self.approval,
            "local": self.local,
            "shadow": self.shadow,
            "profile_key": self.profile_key,
            "policy_digest": self.policy_digest,
            "catalog_version": self.catalog_version,
            "redact_params": self.redact_params,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Decision:
        """Rebuild what `to_wire` gave; raises KeyError when a field is missing."""
        return cls(
            action=cast("Action", wire["action"]),
            error=wire["error"],
            rules=tuple(wire["rules"]),
            effects=tuple(wire["effects"]),
            objects=tuple(wire["objects"]),
            masks=tuple(wire["masks"]),
            statements=tuple(StatementPlan.from_wire(plan) for plan in wire["statements"]),
            cache=cast("Cache", wire["cache"]),
            approval=wire["approval"],
            local=wire["local"],
            shadow=wire["shadow"],
            profile_key=wire["profile_key"],
            policy_digest=wire["policy_digest"],
            catalog_version=wire["catalog_version"],
            redact_params=wire["redact_params"],
        )

    def client_error(self) -> ClientError | None:
        """Return the refusal as the exception that becomes the one ErrorResponse, or None."""
        if self.error is None:
            return None
        return error_from_wire(self.error)


def error_to_wire(error: ClientError) -> ErrorWire:
    """Return `error` as plain data; `error_from_wire` is its inverse."""
    return {
        "id": error.id,
        "message": error.message,
        "hint": error.hint,
        "facts": dict(error.facts),
        "position": error.position,
        "reason": error.reason,
    }


def error_from_wire(wire: ErrorWire) -> ClientError:
    """Rebuild the narrowest ClientError; raises KeyError for an id nobody declared."""
    return ERRORS[wire["id"]](
        wire["message"],
        hint=wire["hint"],
        facts=wire["facts"],
        reason=wire["reason"],
        position=wire["position"],
    )
