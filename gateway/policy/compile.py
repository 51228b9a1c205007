"""Bind a bundle to the catalog of one target.

Masks are written by name and act by table OID and attribute number. This is where a column gets
its mask, where children, partitions, views and generated columns inherit it, and where a mask
that fits nothing is found. What cannot be masked is blocked; what cannot be bound blocks the
table it named, because a column that was renamed away must not become readable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from gateway.errors import Problem
from gateway.policy.bundle import Bundle
from gateway.policy.maskfit import Fit, fit_mask, strictness
from gateway.policy.model import Grant, Mask, Scope
from gateway.policy.names import (
    LEVEL_EFFECTS,
    ColumnName,
    effect_level,
    highest,
    lowest,
    parse_column,
)
from gateway.policy.profile import LEVELS, Level, MaskSpec, Profile
from gateway.policy.rights import (
    DenyRule,
    GrantRule,
    GuardRule,
    MaskedColumn,
    RelationScope,
    Rights,
)
from gateway.sql.catalog import Catalog, Relation
from gateway.sql.facts import ColumnRef

EVERYONE: Final = "*"


@dataclass(frozen=True, slots=True)
class Exposure:
    """A column that shows what masked columns hold: itself, or through a view or a child."""

    column: ColumnRef
    sources: frozenset[ColumnRef]
    direct: bool


@dataclass(slots=True)
class TargetPolicy:
    """A bundle bound to one target's catalog. Build it with `compile_target`."""

    bundle: Bundle
    target: str
    catalog: Catalog
    # Mask id -> the columns it names, by identity and not by name.
    bindings: dict[str, frozenset[ColumnRef]] = field(default_factory=dict)
    # Mask id -> tables that lost a column the mask names: all their columns are blocked.
    sealed: dict[str, frozenset[int]] = field(default_factory=dict)
    unbound: tuple[str, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def rights(self, groups: Collection[str], requested: str = "") -> Rights | None:
        """Return what members of `groups` hold here, or None when nothing is granted.

        `requested` "read" or "write" lowers the level; any other word asks for all there is.
        """
        ceiling: Level = "read" if requested == "read" else "admin"
        if requested == "write":
            ceiling = "write"
        policy = self.bundle.policy
        grants = tuple(
            rule
            for grant in policy.grants
            if grant.target == self.target and _applies(grant.to, groups)
            if (rule := _grant_rule(grant, ceiling)) is not None
        )
        if not grants:
            return None
        level = highest(_level_of(rule) for rule in grants)
        denies = tuple(
            DenyRule(rule.id, rule.effects, _scope(rule))
            for rule in policy.denies
            if _here(rule.target, self.target) and _applies(rule.to, groups)
        )
        guards = tuple(
            GuardRule.of(rule, _scope(rule))
            for rule in policy.guards
            if _here(rule.target, self.target) and _applies(rule.to, groups)
        )
        limits = tuple(
            rule.id
            for rule in policy.limits
            if _here(rule.target, self.target) and _applies(rule.to, groups)
        )
        active = [
            mask
            for mask in policy.masks
            if _here(mask.target, self.target) and not _applies(mask.except_, groups)
        ]
        masked, specs = _Masking(self, active).build()
        rules = [[rule.id for rule in of_kind] for of_kind in (grants, denies, guards)]
        key = self._key(level, [*rules, list(limits)], active, ceiling)
        profile = Profile(
            key=key,
            target=self.target,
            level=level,
            masks=specs,
            masked={(ref[0], ref[1]): column.index for ref, column in masked.items()},
            filter_errors=bool(masked),
            policy_digest=self.bundle.digest,
            catalog_version=self.catalog.version,
        )
        active_ids = {mask.id for mask in active}
        return Rights(
            target=self.target,
            mode=policy.mode,
            level=level,
            profile=profile,
            grants=grants,
            denies=denies,
            guards=guards,
            limits=limits,
            masked=masked,
            masked_names=_names_by_relation(self.catalog, masked),
            column_names={ref: self.catalog.column_name(ref) for ref in masked},
            unbound=tuple(mask for mask in self.unbound if mask in active_ids),
        )

    def _key(
        self,
        level: Level,
        rules: list[list[str]],
        masks: list[Mask],
        ceiling: Level,
    ) -> str:
        parts = [
            self.bundle.digest,
            self.catalog.version,
            self.target,
            level,
            ceiling,
            rules,
            [mask.id for mask in masks],
            # Bindings outlive names, so two processes may hold different ones for one catalog.
            sorted([mask.id, *map(list, sorted(self.bindings.get(mask.id, ())))] for mask in masks),
        ]
        return hashlib.sha256(b"postern-profile-v1\0" + orjson.dumps(parts)).hexdigest()


def compile_target(
    bundle: Bundle, target: str, catalog: Catalog, *, previous: TargetPolicy | None = None
) -> TargetPolicy:
    """Bind `bundle` to `catalog`. Never raises: what does not fit is in `problems`.

    `previous` is the binding to an older snapshot of the same target: columns it bound keep
    their masks even when they were renamed since.
    """
    compiled = TargetPolicy(bundle, target, catalog)
    unbound = [
        mask.id
        for mask in bundle.policy.masks
        if _here(mask.target, target)
        and not _bind(compiled, mask, _kept_bindings(bundle, mask, previous))
    ]
    compiled.unbound = tuple(unbound)
    compiled.exposures = _exposures(compiled)
    _check_fit(compiled)
    _check_grants(compiled)
    return compiled


def _kept_bindings(
    bundle: Bundle, mask: Mask, previous: TargetPolicy | None
) -> frozenset[ColumnRef]:
    """Return what `previous` bound, unless the policy names other columns since."""
    if previous is None:
        return frozenset()
    for old in previous.bundle.policy.masks:
        named = previous.bundle.policy.mask_columns(old)
        if old.id == mask.id and named == bundle.policy.mask_columns(mask):
            return previous.bindings.get(mask.id, frozenset())
    return frozenset()


def _bind(compiled: TargetPolicy, mask: Mask, old: frozenset[ColumnRef]) -> bool:
    """Bind one mask; False when a table it names is not there and the policy is enforced."""
    catalog, policy = compiled.catalog, compiled.bundle.policy
    kept = {ref for ref in old if catalog.column_name(ref)}
    found: set[ColumnRef] = set()
    sealed: set[int] = set()
    complete = True
    for text in policy.mask_columns(mask):
        name = parse_column(text)
        relation = catalog.relations.get((name.schema, name.table))
        column = relation.by_name.get(name.column) if relation is not None else None
        if relation is not None and column is not None:
            found.add(ColumnRef(relation.oid, column.attnum))
            continue
        message = f'target "{compiled.target}" has no column {name}'
        problem = compiled.bundle.problem("masks", mask.id, message)
        if policy.mode != "enforce" or _may_be_elsewhere(compiled, mask):
            compiled.warnings.append(problem)
            continue
        compiled.problems.append(problem)
        if relation is not None:
            sealed.add(relation.oid)
        elif not kept:
            complete = False
    compiled.bindings[mask.id] = frozenset(found | kept)
    compiled.sealed[mask.id] = frozenset(sealed)
    return complete


def _may_be_elsewhere(compiled: TargetPolicy, mask: Mask) -> bool:
    """A mask without a target, in a policy for several, need not fit each of them."""
    targets = {grant.target for grant in compiled.bundle.policy.grants}
    return mask.target is None and len(targets) > 1


def _exposures(compiled: TargetPolicy) -> tuple[Exposure, ...]:
    bound = frozenset[ColumnRef]().union(*compiled.bindings.values())
    if not bound:
        return ()
    found: list[Exposure] = []
    for relation in compiled.catalog.by_oid.values():
        for column in relation.columns:
            ref = ColumnRef(relation.oid, column.attnum)
            verdict, sources = compiled.catalog.exposes(*ref)
            if masked := (sources | {ref}) & bound:
                found.append(Exposure(ref, masked, verdict == "direct"))
    return tuple(found)


class _Masking:
    """Works out one set of active masks: a spec per column, the strictest mask wins."""

    def __init__(self, compiled: TargetPolicy, active: Iterable[Mask]) -> None:
        self._compiled = compiled
        self._active = {mask.id: mask for mask in active}
        self._by_column: dict[ColumnRef, list[Mask]] = {}
        for mask in self._active.values():
            for ref in compiled.bindings.get(mask.id, ()):
                self._by_column.setdefault(ref, []).append(mask)
        self._specs: dict[tuple[object, ...], int] = {}
        self._list: list[MaskSpec] = []

    def build(self) -> tuple[dict[ColumnRef, MaskedColumn], tuple[MaskSpec, ...]]:
        """Return every masked column and the specs they point into."""
        masked: dict[ColumnRef, MaskedColumn] = {}
        for exposure in self._compiled.exposures:
            own = self._by_column.get(exposure.column, [])
            inherited = [m for ref in exposure.sources for m in self._by_column.get(ref, ())]
            if own and not exposure.direct:
                # Its author masked the derived column itself: that mask says how to show it.
                masked[exposure.column] = self._column(exposure.column, own, direct=True)
            elif own or inherited:
                masked[exposure.column] = self._column(
                    exposure.column, [*own, *inherited], direct=exposure.direct
                )
        self._seal(masked)
        return masked, tuple(self._list)

    def _seal(self, masked: dict[ColumnRef, MaskedColumn]) -> None:
        for mask_id in self._active:
            for oid in self._compiled.sealed.get(mask_id, ()):
                relation = self._compiled.catalog.by_oid[oid]
                for column in relation.columns:
                    ref = ColumnRef(oid, column.attnum)
                    masked[ref] = MaskedColumn(self._block(mask_id), mask_id, blocked=True)

    def _column(self, ref: ColumnRef, masks: list[Mask], *, direct: bool) -> MaskedColumn:
        mask = min(masks, key=strictness)
        relation = self._compiled.catalog.by_oid[ref.relation_oid]
        fit = _fit(self._compiled.catalog, relation, ref, mask)
        if not direct or fit.problem:
            return MaskedColumn(self._block(mask.id), mask.id, blocked=True)
        params = mask.with_.params(mask.id)
        spec = MaskSpec(mask.id, mask.with_.kind, params, fit.type_oid, fit.notnull, fit.text_like)
        return MaskedColumn(self._index(spec), mask.id)

    def _block(self, mask_id: str) -> int:
        # Never applied, only pointed at: the decision refuses every statement that would.
        return self._index(MaskSpec(mask_id, "null", {}, 0, False))

    def _index(self, spec: MaskSpec) -> int:
        key = (spec.id, spec.kind, spec.type_oid, spec.notnull, spec.text_like)
        if key not in self._specs:
            self._specs[key] = len(self._list)
            self._list.append(spec)
        return self._specs[key]


def _fit(catalog: Catalog, relation: Relation, ref: ColumnRef, mask: Mask) -> Fit:
    column = next(c for c in relation.columns if c.attnum == ref.attnum)
    return fit_mask(catalog, column, mask)


def _check_fit(compiled: TargetPolicy) -> None:
    for mask in compiled.bundle.policy.masks:
        for ref in sorted(compiled.bindings.get(mask.id, ())):
            relation = compiled.catalog.by_oid[ref.relation_oid]
            fit = _fit(compiled.catalog, relation, ref, mask)
            if fit.problem:
                name = ColumnName(*relation_name(relation), compiled.catalog.column_name(ref))
                message = f"{name}: {fit.problem}"
                compiled.problems.append(compiled.bundle.problem("masks", mask.id, message))


def _check_grants(compiled: TargetPolicy) -> None:
    for grant in compiled.bundle.policy.grants:
        if grant.target != compiled.target or grant.schema_ is None:
            continue
        scope = _scope(grant)
        if not any(scope.holds(relation.ref) for relation in compiled.catalog.by_oid.values()):
            message = f'matches no relation of target "{compiled.target}"'
            compiled.warnings.append(compiled.bundle.problem("grants", grant.id, message))


def relation_name(relation: Relation) -> tuple[str, str]:
    """Return schema and name of `relation`."""
    return relation.ref.schema, relation.ref.name


def _names_by_relation(
    catalog: Catalog, masked: Mapping[ColumnRef, MaskedColumn]
) -> dict[int, dict[str, str]]:
    names: dict[int, dict[str, str]] = {}
    for ref, column in masked.items():
        names.setdefault(ref.relation_oid, {})[catalog.column_name(ref)] = column.mask_id
    return names


def _applies(to: Iterable[str], groups: Collection[str]) -> bool:
    return any(name == EVERYONE or name in groups for name in to)


def _here(rule_target: str | None, target: str) -> bool:
    return rule_target is None or rule_target == target


def _scope(rule: Scope) -> RelationScope:
    return RelationScope(rule.schema_, rule.tables or ("*",), rule.except_tables)


def _grant_rule(grant: Grant, ceiling: Level) -> GrantRule | None:
    """Return the rule under `ceiling`, or None when nothing of the grant is left."""
    level = lowest(grant.level, ceiling) if grant.level is not None else None
    effects = tuple(e for e in grant.effects or () if _below(e, ceiling))
    if level is None and not effects and not grant.functions:
        return None
    columns: dict[str, tuple[str, ...]] = {}
    if grant.columns is not None:
        for verb in ("insert", "update"):
            if (names := getattr(grant.columns, verb)) is not None:
                columns[verb] = names
    return GrantRule(grant.id, level, effects, grant.functions, _scope(grant), columns)


def _below(pattern: str, ceiling: Level) -> bool:
    """Tell whether every effect the pattern covers is within `ceiling`.

    A family is kept only at the top: splitting it would grant what its author did not write.
    """
    if ceiling == "admin":
        return True
    if pattern.endswith("*"):
        return False
    return pattern in LEVEL_EFFECTS[ceiling] or LEVELS.index(effect_level(pattern)) <= (
        LEVELS.index(ceiling)
    )


def _level_of(rule: GrantRule) -> Level:
    levels: list[Level] = [] if rule.level is None else [rule.level]
    levels += ["admin" if e.endswith("*") else effect_level(e) for e in rule.effects]
    return highest(levels)
