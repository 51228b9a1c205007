"""The one function that decides, for every path a statement can come by.

Pure: the answer depends on the rights, the facts and nothing else. Deny = not granted beats
approve beats allow, whatever the order of rules; every effect must be covered; a masked column
may be a plain output column and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.errors import ClientError, NotGranted, NotUnderstood
from gateway.policy import refusals
from gateway.policy.decision import (
    CACHES,
    Action,
    ApprovalWire,
    Cache,
    Decision,
    StatementPlan,
    error_to_wire,
)
from gateway.policy.hidden import sees
from gateway.policy.measured import check_measured, is_counted, is_plannable
from gateway.policy.model import Condition
from gateway.policy.names import ADMIN_EFFECTS, READ_EFFECTS, UNKNOWN
from gateway.policy.refusals import Namer
from gateway.policy.rights import TEMPORARY, GuardRule, MaskedColumn, Rights
from gateway.sql.facts import ColumnRef, Effect, Output, StatementFacts

CLEAR: Final = -1
# Kinds that may answer with rows whose columns the analyser does not list.
_ROW_KINDS: Final = ("explain", "show", "fetch", "execute", "call")
# Catalogs are known to everyone, and a name for something new tells nothing about what is there.
_NO_SECRET: Final = ("catalog.", "schema.create.")
_CHANGES: Final = ADMIN_EFFECTS - READ_EFFECTS
_MASKED_WRITES: Final = ("rows.insert", "rows.update", "copy.in")


@dataclass(slots=True)
class _Findings:
    """What the statements of one string were found to do."""

    hard: list[ClientError] = field(default_factory=list)  # refused in shadow mode too
    errors: list[ClientError] = field(default_factory=list)
    rules: dict[str, None] = field(default_factory=dict)
    effects: dict[str, None] = field(default_factory=dict)
    objects: dict[str, None] = field(default_factory=dict)
    masks: dict[str, None] = field(default_factory=dict)
    guards: dict[GuardRule, dict[str, None]] = field(default_factory=dict)
    plans: list[StatementPlan] = field(default_factory=list)
    cache: Cache = "fingerprint"


def decide(
    rights: Rights, facts: Sequence[StatementFacts], *, search_path: Sequence[str] = ()
) -> Decision:
    """Return the decision on the statements of one string; all are decided before any runs.

    `search_path` only shapes error texts: an object is named as the client could have written
    it, so that an invisible one reads like a missing one.
    """
    found = _Findings()
    namer = Namer(tuple(search_path))
    if len(facts) > 1:
        _check_mixed_transaction(rights, facts, found)
    for error, rule in check_measured(rights.profile.bounds, facts):
        found.errors.append(error)
        found.rules[rule] = None
    for statement in facts:
        _statement(rights, statement, namer, found)
    _settle_cache(facts, found)
    return _conclude(rights, found)


def _check_mixed_transaction(
    rights: Rights, facts: Sequence[StatementFacts], found: _Findings
) -> None:
    # "COMMIT; BEGIN READ WRITE; ..." is how a string climbs out of a read-only transaction.
    if rights.level == "read" and any(statement.txn for statement in facts):
        found.errors.append(refusals.mixed_transaction())


def _settle_cache(facts: Sequence[StatementFacts], found: _Findings) -> None:
    strictest = max((CACHES.index(statement.cache) for statement in facts), default=1)
    if len(facts) != 1:
        strictest = max(strictest, CACHES.index("text"))
    found.cache = CACHES[strictest]


def _statement(rights: Rights, statement: StatementFacts, namer: Namer, found: _Findings) -> None:
    for effect in statement.effects:
        found.effects[effect.id] = None
        if effect.relation is not None:
            found.objects[refusals.plain_name(effect.relation)] = None
        elif effect.name:
            found.objects[effect.name] = None
    if rights.unbound and any(effect.relation is not None for effect in statement.effects):
        found.hard.append(refusals.unbound_mask(rights.unbound))
        found.rules.update(dict.fromkeys(rights.unbound))
    _coverage(rights, statement, namer, found)
    _guards(rights, statement, found)
    outputs = _outputs(rights, statement, namer, found)
    _uses(rights, statement, namer, found)
    _write_back(rights, statement, namer, found)
    _altering(rights, statement, namer, found)
    found.plans.append(
        StatementPlan(
            kind=statement.kind,
            outputs=outputs,
            returns_rows=(
                statement.outputs is not None and not statement.copy and statement.kind != "declare"
            )
            or statement.kind in _ROW_KINDS,
            copy=statement.copy,
            copy_form=statement.copy_form if outputs is not None else None,
            txn=statement.txn,
            pin=statement.pin,
            ddl=statement.ddl,
            affects=is_counted(statement),
            plannable=is_plannable(statement),
            resets_settings=statement.resets_settings,
            deallocate=statement.deallocate,
            cursor=statement.cursor,
            setting=statement.setting,
        )
    )


# --- effects ------------------------------------------------------------------------------


def _coverage(rights: Rights, statement: StatementFacts, namer: Namer, found: _Findings) -> None:
    """Check every effect against grants and denies."""
    for effect in statement.effects:
        if effect.id == UNKNOWN:
            found.hard.append(NotUnderstood("the statement does something that is not analysed"))
            continue
        covering = _covering(rights, effect)
        denying = [rule.id for rule in rights.denies if rule.matches(effect)]
        found.rules.update(dict.fromkeys(denying))
        seen = _is_visible(rights, effect)
        # A deny on an invisible object would tell that it exists.
        if denying and seen:
            found.errors.append(refusals.denied(denying[0], effect, namer))
        elif not covering:
            found.errors.append(_not_covered(rights, effect, namer))
        found.rules.update(dict.fromkeys(covering))


def _covering(rights: Rights, effect: Effect) -> tuple[str, ...]:
    """Return the grants that cover `effect`: the first that does alone, or one per column."""
    for grant in rights.grants:
        if grant.covers(effect):
            return (grant.id,)
    found: list[str] = []
    for column in effect.columns:
        part = replace(effect, columns=(column,))
        grant_id = next((grant.id for grant in rights.grants if grant.covers(part)), None)
        if grant_id is None:
            return ()
        found.append(grant_id)
    return tuple(found)


def _is_visible(rights: Rights, effect: Effect) -> bool:
    """Tell whether the principal may know the effect's object; one without any is no secret."""
    relation = effect.relation
    if relation is None or relation.schema == TEMPORARY or effect.id.startswith(_NO_SECRET):
        return True
    if _covering(rights, effect):
        return True
    return relation.oid != 0 and sees(rights, relation)


def _not_covered(rights: Rights, effect: Effect, namer: Namer) -> ClientError:
    """Choose the refusal: hidden object, columns left out, writing with read only, the rest."""
    if effect.relation is not None and not _is_visible(rights, effect):
        return refusals.hidden_relation(effect.relation, rights.grants, namer)
    holding = [g for g in rights.grants if g.holds_effect(effect.id) and g.sees(effect)]
    refused = [grant.columns_refused(effect) for grant in holding]
    if refused and all(refused):
        return refusals.columns_not_granted(effect, min(refused, key=len), holding, namer)
    if effect.id in _CHANGES and _is_read_only(rights, effect):
        return refusals.write_under_read(effect, namer)
    return refusals.not_granted(effect, rights.grants, namer)


def _is_read_only(rights: Rights, effect: Effect) -> bool:
    """Tell whether the effect's relation is visible and everything granted on it only reads."""
    if effect.relation is None or not sees(rights, effect.relation):
        return False
    there = [grant for grant in rights.grants if grant.sees(effect)]
    return all(g.level in {None, "read"} and READ_EFFECTS.issuperset(g.effects) for g in there)


# --- masks --------------------------------------------------------------------------------


def _masked_in(rights: Rights, columns: Iterable[ColumnRef]) -> list[ColumnRef]:
    return sorted(ref for ref in columns if ref in rights.masked)


def _outputs(
    rights: Rights, statement: StatementFacts, namer: Namer, found: _Findings
) -> tuple[int, ...] | None:
    """Return the mask of every result column; record a refusal where none can be given."""
    touched = any(
        effect.relation is not None and effect.relation.oid in rights.masked_names
        for effect in statement.effects
    ) or bool(_masked_in(rights, statement.reads))
    if not touched:
        return None
    unknown_form = statement.copy_form is None or statement.outputs is None
    if statement.copy == "out" and unknown_form and (read := _masked_in(rights, statement.reads)):
        found.hard.append(refusals.masked_use(rights, read[0], "copy", namer, statement))
    if statement.outputs is None:
        return None
    return tuple(_output(rights, statement, output, namer, found) for output in statement.outputs)


def _output(
    rights: Rights, statement: StatementFacts, output: Output, namer: Namer, found: _Findings
) -> int:
    if output.verdict == "unknown":
        # Which columns it shows is not known: any masked one in reach could be among them.
        in_reach = _masked_in(rights, statement.reads | output.sources)
        if in_reach:
            found.hard.append(refusals.masked_use(rights, in_reach[0], "unknown", namer, statement))
        return CLEAR
    masked = _masked_in(rights, output.sources)
    if not masked:
        return CLEAR
    columns = [rights.masked[ref] for ref in masked]
    if output.verdict == "derived" and all("expression" in column.uses for column in columns):
        found.masks.update(dict.fromkeys(column.mask_id for column in columns))
        return CLEAR
    if output.verdict != "direct" or len(output.sources) != 1:
        found.hard.append(refusals.masked_use(rights, masked[0], "expression", namer, statement))
        return CLEAR
    if columns[0].blocked:
        found.hard.append(refusals.masked_use(rights, masked[0], "blocked", namer, statement))
        return CLEAR
    found.masks[columns[0].mask_id] = None
    return columns[0].index


def _uses(rights: Rights, statement: StatementFacts, namer: Namer, found: _Findings) -> None:
    for use in statement.uses:
        column: MaskedColumn | None = rights.masked.get(use.column)
        if column is None:
            continue
        found.masks[column.mask_id] = None
        if use.place not in column.uses:
            found.hard.append(refusals.masked_use(rights, use.column, use.place, namer, statement))


def _write_back(rights: Rights, statement: StatementFacts, namer: Namer, found: _Findings) -> None:
    """Writing a masked column needs a grant that names it, or masked values would be stored."""
    for effect in statement.effects:
        if effect.id not in _MASKED_WRITES or effect.relation is None:
            continue
        masked = rights.masked_names.get(effect.relation.oid, {})
        written = effect.columns or tuple(masked)
        for name in written:
            if name not in masked:
                continue
            part = replace(effect, columns=(name,))
            if not any(grant.names_column(part, name) for grant in rights.grants):
                found.hard.append(refusals.masked_write(effect, name, namer))


def _altering(rights: Rights, statement: StatementFacts, namer: Namer, found: _Findings) -> None:
    """Renaming, detaching or retyping can take a column away from its mask.

    A level does not cover that on a table the principal sees masked: a grant must name the
    effect, whatever else holds the statement.
    """
    for effect in statement.effects:
        relation = effect.relation
        if relation is None or not effect.id.startswith("schema.alter."):
            continue
        if relation.oid not in rights.masked_names:
            continue
        if not any(grant.names_effect(effect) for grant in rights.grants):
            found.hard.append(refusals.masked_alter(effect, namer))


# --- guards and the end -------------------------------------------------------------------


def _guards(rights: Rights, statement: StatementFacts, found: _Findings) -> None:
    for guard in rights.guards:
        if not any(guard.matches(effect) for effect in statement.effects):
            continue
        because = _reasons(guard, statement)
        if because is not None:
            found.guards.setdefault(guard, {}).update(dict.fromkeys(because))


def _reasons(guard: GuardRule, statement: StatementFacts) -> list[str] | None:
    """Return why the guard holds the statement, or None when it does not."""
    if guard.when is None:
        return []
    conditions = guard.when.any or guard.when.all or ()
    reasons = [_reason(condition, statement) for condition in conditions]
    given = [reason for reason in reasons if reason is not None]
    held = bool(given) if guard.when.any else len(given) == len(reasons)
    return given if held else None


def _reason(condition: Condition, statement: StatementFacts) -> str | None:
    if condition.no_where is not None:
        if statement.no_where != condition.no_where:
            return None
        return "no WHERE" if condition.no_where else "has a WHERE"
    # Nothing estimates rows yet. Unknown counts as too many: a guard must not open by itself.
    return f"estimated rows unknown, counted as over {condition.estimated_rows_over}"


def _approval(guards: dict[GuardRule, dict[str, None]]) -> ApprovalWire | None:
    """Return one approval that satisfies every guard, or None when nobody could give it."""
    rules = sorted(guards, key=lambda guard: guard.id)
    people = frozenset(rules[0].approval.from_).intersection(*(g.approval.from_ for g in rules))
    if not people:
        return None
    asked = [guard.approval for guard in rules]
    because = dict.fromkeys(reason for guard in rules for reason in guards[guard])
    return {
        "rule": ",".join(guard.id for guard in rules),
        "from": sorted(people),
        "quorum": max(guard.approval.quorum for guard in rules),
        "hold_s": min(guard.approval.hold for guard in rules),
        "request_ttl_s": min(guard.approval.request_ttl for guard in rules),
        "grant_ttl_s": min(guard.approval.grant_ttl for guard in rules),
        "because": list(because),
        "comment_required": any(a.comment == "required" for a in asked),
        "login_within_s": min((a.login_within for a in asked if a.login_within), default=0.0),
        "windows": [a.window.model_dump(by_alias=True) for a in asked if a.window is not None],
        "dry_run_count": any(a.preview.dry_run_count for a in asked),
        "max_rows_seen": float(min((a.max_rows_seen for a in asked if a.max_rows_seen), default=0)),
    }


def _conclude(rights: Rights, found: _Findings) -> Decision:
    found.rules.update(dict.fromkeys(guard.id for guard in found.guards))
    approval = _approval(found.guards) if found.guards else None
    if found.guards and approval is None:
        found.errors.append(refusals.nobody_approves(guard.id for guard in found.guards))
    errors = [*found.errors, *found.hard]
    # What is not visible is not discussed: an invisible object always gives NotGranted, which
    # goes before any refusal that names a column or a rule.
    error = next((e for e in errors if isinstance(e, NotGranted)), errors[0] if errors else None)
    action: Action = "allow"
    if error is not None:
        action = "deny"
    elif approval is not None:
        action = "approve"
    decision = Decision(
        action=action,
        error=None if error is None else error_to_wire(error),
        rules=tuple(sorted(found.rules)),
        effects=tuple(sorted(found.effects)),
        objects=tuple(sorted(found.objects)),
        masks=tuple(sorted(found.masks)),
        statements=tuple(found.plans) if action != "deny" else (),
        # Held statements are asked about each time: what the session is in decides too.
        cache="never" if action == "approve" else found.cache,
        approval=approval if action == "approve" else None,
        profile_key=rights.profile.key,
        policy_digest=rights.profile.policy_digest,
        catalog_version=rights.profile.catalog_version,
        redact_params=rights.profile.redact_params,
    )
    if rights.mode == "shadow" and action != "allow" and not found.hard:
        return _shadowed(decision, found)
    return decision


def _shadowed(decision: Decision, found: _Findings) -> Decision:
    """Return `decision` as an allow that remembers what it would have been."""
    return Decision(
        action="allow",
        rules=decision.rules,
        effects=decision.effects,
        objects=decision.objects,
        masks=decision.masks,
        statements=tuple(found.plans),
        cache=found.cache,
        shadow={"action": decision.action, "error": decision.error},
        profile_key=decision.profile_key,
        policy_digest=decision.policy_digest,
        catalog_version=decision.catalog_version,
        redact_params=decision.redact_params,
    )
