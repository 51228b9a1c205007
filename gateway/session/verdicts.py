"""Turn a Decision into what the compiled relay acts on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from _fastpath.statements import Verdict
from gateway.policy.decision import Decision, StatementPlan
from gateway.policy.names import READ_EFFECTS
from gateway.text import quote_literal
from gateway.upstream.startup import build_settings_query

ALLOW, DENY, APPROVE, LOCAL = range(4)
_ACTIONS = {"allow": ALLOW, "deny": DENY, "approve": APPROVE, "local": LOCAL}
# As CursorUse of `_fastpath/statements.pxd`; MOVE shows nothing.
_CURSOR_USES = {"declare": 1, "fetch": 2, "close": 3}
# As SettingUse there.
_SET, _RESET, _RESET_ALL, _SAVEPOINT = range(1, 5)
# What stands in for SET postern.*: the same tag, and no effect on a pinned setting.
_SET_NOTHING = b"SET client_encoding TO 'UTF8'"


def build_verdict(decision: Decision) -> Verdict:
    """Return `decision` in the relay's form; raises KeyError for an action nobody declared."""
    plans = decision.statements
    deallocate = next((plan.deallocate for plan in plans if plan.deallocate is not None), None)
    pin = next((plan.pin for plan in plans if plan.pin), None)
    return Verdict(
        _ACTIONS[decision.action],
        decision,
        audit_members(decision),
        substitute=_substitute(decision.local) if decision.local is not None else None,
        pin=pin.encode() if pin else None,
        deallocate=deallocate.encode() if deallocate is not None else None,
        copy_in=any(plan.copy == "in" for plan in plans),
        copy_out=any(plan.copy == "out" for plan in plans),
        ddl=any(plan.ddl for plan in plans),
        resets_role=any(plan.kind == "discard" and plan.resets_settings for plan in plans),
        resets_settings=any(plan.resets_settings for plan in plans),
        affects=any(plan.affects for plan in plans),
        changes=not READ_EFFECTS.issuperset(decision.effects),
        returns_rows=any(plan.returns_rows or plan.copy == "out" for plan in plans),
        plannable=any(plan.plannable for plan in plans),
        count=len(plans),
        once=decision.cache == "never",
        cursors=_cursors(plans),
        settings=_settings(plans),
        redact_params=decision.redact_params,
    )


def _settings(plans: Sequence[StatementPlan]) -> tuple[tuple[int, str, bytes] | None, ...] | None:
    """What each statement does to the session's settings, as the relay follows it."""
    uses = tuple(_setting(plan) for plan in plans)
    return uses if any(uses) else None


def _setting(plan: StatementPlan) -> tuple[int, str, bytes] | None:
    if plan.txn == "savepoint":
        return (_SAVEPOINT, "", b"")
    if plan.setting is None:
        return None
    name, value = plan.setting
    if not name:
        return (_RESET_ALL, "", b"")
    if value is None:
        return (_RESET, name, b"")
    return (_SET, name, build_settings_query({name: value}))


def _cursors(plans: Sequence[StatementPlan]) -> tuple[tuple[int, bytes] | None, ...] | None:
    uses = tuple(
        (_CURSOR_USES[plan.kind], plan.cursor.encode())
        if plan.cursor is not None and plan.kind in _CURSOR_USES
        else None
        for plan in plans
    )
    return uses if any(uses) else None


def decision_fields(decision: Decision) -> dict[str, Any]:
    """The fields every record about a decided statement carries."""
    fields: dict[str, Any] = {
        "decision": decision.action,
        "rules": decision.rules,
        "effects": decision.effects,
        "objects": decision.objects,
        "masks": decision.masks,
        "policy_digest": decision.policy_digest,
    }
    if decision.shadow is not None:
        fields["shadow"] = decision.shadow
    return fields


def audit_members(decision: Decision) -> bytes:
    """`decision_fields` as JSON members with a leading comma, serialised once per decision."""
    return b"," + orjson.dumps(decision_fields(decision))[1:-1]


def _substitute(local: dict[str, Any]) -> bytes:
    """The statement that answers for the gateway: it runs on every path a statement can take."""
    if "show" in local:
        name = local["show"].replace('"', '""')
        return f'SELECT {quote_literal(local["value"])}::text AS "{name}"'.encode()
    return _SET_NOTHING
