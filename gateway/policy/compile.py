"""Bind a bundle to the catalog of one target.

Masks are written by name and act by table OID and attribute number. This is where a column gets
its mask, where children, partitions, views and generated columns inherit it, and where a mask
that fits nothing is found. What cannot be masked is blocked; what cannot be bound blocks the
table it named, because a column that was renamed away must not become readable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from gateway.errors import Problem
from gateway.policy.bounds import Bounds
from gateway.policy.bundle import Bundle
from gateway.policy.kept import Kept, KeptMask
from gateway.policy.limitmodel import Limit
from gateway.policy.masking import (
    Bindings,
    Exposure,
    Masking,
    find_exposures,
    fit_column,
    names_by_relation,
)
from gateway.policy.model import Deny, Grant, Guard, Mask, Scope
from gateway.policy.names import (
    LEVEL_EFFECTS,
    ColumnName,
    effect_level,
    highest,
    lowest,
    parse_column,
)
from gateway.policy.profile import LEVELS, Level, Profile
from gateway.policy.rights import (
    DenyRule,
    GrantRule,
    GuardRule,
    RelationScope,
    Rights,
)
from gateway.sql.catalog import Catalog, Relation
from gateway.sql.facts import ColumnRef

EVERYONE: Final = "*"
_CEILINGS: Final[dict[str, Level]] = {"read": "read", "write": "write"}


@dataclass(slots=True)
class TargetPolicy:
    """A bundle bound to one target's catalog. Build it with `compile_target`."""

    bundle: Bundle
    target: str
    catalog: Catalog
    bindings: Bindings = field(default_factory=lambda: Bindings({}, {}))
    unbound: tuple[str, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def rights(
        self,
        groups: Collection[str],
        requested: str = "",
        actor_groups: Collection[str] | None = None,
    ) -> Rights | None:
        """Return what members of `groups` hold here, or None when nothing is granted.

        `requested` "read" or "write" lowers the level; any other word asks for all there is.
        With `actor_groups` somebody acts for them: what only one of the two is granted is
        nobody's, and what is denied, held, limited or masked for one is so for both.
        """
        policy = self.bundle.policy
        parties = [groups] if actor_groups is None else [groups, actor_groups]
        held_by = [self._grants(party, _CEILINGS.get(requested, "admin")) for party in parties]
        if not all(held_by):
            return None
        levels = [highest(_level_of(rule) for rule in held) for held in held_by]
        level = lowest(levels[0], levels[-1])
        denies = tuple(
            DenyRule(rule.id, rule.effects, _scope(rule))
            for rule in policy.denies
            if self._concerns(rule, parties)
        )
        held_back = (rule for rule in policy.guards if self._concerns(rule, parties))
        guards = tuple(GuardRule.of(rule, _scope(rule)) for rule in held_back)
        limits = [rule for rule in policy.limits if self._concerns(rule, parties)]
        active = self._masks(parties)
        masked, specs = Masking(self.catalog, self.bindings, active).build(self.exposures)
        rules = [[r.id for r in of_kind] for of_kind in (denies, guards)]
        held = [[[rule.id, rule.level, *rule.effects] for rule in of_one] for of_one in held_by]
        profile = Profile(
            key=self._key(level, [held, *rules, [rule.id for rule in limits]], active),
            target=self.target,
            level=level,
            masks=specs,
            masked={(ref[0], ref[1]): column.index for ref, column in masked.items()},
            filter_errors=bool(masked),
            policy_digest=self.bundle.digest,
            catalog_version=self.catalog.version,
            relations=frozenset(self.catalog.by_oid) if masked else frozenset(),
            bounds=Bounds.strictest(limits, enforced=policy.mode == "enforce"),
            redact_params=policy.audit.params in (("none", "masked") if masked else ("none",)),
        )
        return Rights(
            target=self.target,
            mode=policy.mode,
            level=level,
            profile=profile,
            grants=held_by[0],
            actor_grants=held_by[1] if len(held_by) > 1 else None,
            denies=denies,
            guards=guards,
            masked=masked,
            masked_names=names_by_relation(self.catalog, masked),
            column_names={ref: self.catalog.column_name(ref) for ref in masked},
            unbound=tuple(mask.id for mask in active if mask.id in self.unbound),
        )

    def kept(self) -> Kept:
        """Return what masks are bound to, for whoever binds them again."""
        policy = self.bundle.policy
        return Kept(
            self.catalog.database,
            {
                mask.id: KeptMask(policy.mask_columns(mask), self.bindings.columns[mask.id])
                for mask in policy.masks
                if self.bindings.columns.get(mask.id)
            },
        )

    def _grants(self, groups: Collection[str], ceiling: Level) -> tuple[GrantRule, ...]:
        return tuple(
            rule
            for grant in self.bundle.policy.grants
            if grant.target == self.target and _applies(grant.to, groups)
            if (rule := _grant_rule(grant, ceiling)) is not None
        )

    def _masks(self, parties: Sequence[Collection[str]]) -> list[Mask]:
        """Return the masks that are not lifted for every party."""
        return [
            mask
            for mask in self.bundle.policy.masks
            if _here(mask.target, self.target)
            and not all(_applies(mask.except_, party) for party in parties)
        ]

    def _concerns(self, rule: Deny | Guard | Limit, parties: Sequence[Collection[str]]) -> bool:
        is_here = _here(rule.target, self.target)
        return is_here and any(_applies(rule.to, groups) for groups in parties)

    def _key(self, level: Level, rules: Sequence[object], masks: list[Mask]) -> str:
        parts = [
            self.bundle.digest,
            self.catalog.version,
            self.target,
            level,
            rules,
            [mask.id for mask in masks],
            # Bindings outlive names, so two processes may hold different ones for one catalog.
            sorted(
                [mask.id, *map(list, sorted(self.bindings.columns.get(mask.id, ())))]
                for mask in masks
            ),
        ]
        return hashlib.sha256(b"postern-profile-v1\0" + orjson.dumps(parts)).hexdigest()


def compile_target(
    bundle: Bundle, target: str, catalog: Catalog, *, kept: Kept | None = None
) -> TargetPolicy:
    """Bind `bundle` to `catalog`. Never raises: what does not fit is in `problems`.

    `kept` is what was bound in the same database before: those columns keep their masks even
    when they were renamed since.
    """
    compiled = TargetPolicy(bundle, target, catalog)
    unbound = [
        mask.id
        for mask in bundle.policy.masks
        if _here(mask.target, target) and not _bind(compiled, mask, kept or Kept())
    ]
    compiled.unbound = tuple(unbound)
    compiled.exposures = find_exposures(catalog, compiled.bindings.exposed_from(catalog))
    _check_fit(compiled)
    _check_grants(compiled)
    _check_guessing(compiled)
    return compiled


def _bind(compiled: TargetPolicy, mask: Mask, kept: Kept) -> bool:
    """Bind one mask; False when a table it names is not there and the policy is enforced."""
    catalog, policy = compiled.catalog, compiled.bundle.policy
    names = [parse_column(text) for text in policy.mask_columns(mask)]
    old = kept.columns(mask.id, policy.mask_columns(mask), catalog.database)
    refs = {ref for ref in old if catalog.column_name(ref)}
    missing: list[tuple[ColumnName, Relation | None]] = []
    for name in names:
        relation = catalog.relations.get((name.schema, name.table))
        column = relation.by_name.get(name.column) if relation is not None else None
        if relation is not None and column is not None:
            refs.add(ColumnRef(relation.oid, column.attnum))
        else:
            missing.append((name, relation))
    sealed: set[int] = set()
    complete = True
    for name, relation in missing:
        message = f'target "{compiled.target}" has no column {name}'
        problem = compiled.bundle.problem("masks", mask.id, message)
        if policy.mode != "enforce" or _may_be_elsewhere(compiled, mask):
            compiled.warnings.append(problem)
        elif len(refs) >= len(names):
            # Renamed while we watched: every column is still bound, under its new name.
            compiled.warnings.append(problem)
        else:
            compiled.problems.append(problem)
            complete = complete and relation is not None
            sealed |= {relation.oid} if relation is not None else set()
    compiled.bindings.columns[mask.id] = frozenset(refs)
    compiled.bindings.sealed[mask.id] = frozenset(sealed)
    return complete


def _may_be_elsewhere(compiled: TargetPolicy, mask: Mask) -> bool:
    """A mask without a target, in a policy for several, need not fit each of them."""
    targets = {grant.target for grant in compiled.bundle.policy.grants}
    return mask.target is None and len(targets) > 1


def _check_fit(compiled: TargetPolicy) -> None:
    for mask in compiled.bundle.policy.masks:
        for ref in sorted(compiled.bindings.columns.get(mask.id, ())):
            fit = fit_column(compiled.catalog, ref, mask)
            if fit.problem:
                relation = compiled.catalog.by_oid[ref.relation_oid].ref
                column = compiled.catalog.column_name(ref)
                name = ColumnName(relation.schema, relation.name, column)
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


def _check_guessing(compiled: TargetPolicy) -> None:
    """Warn of grants whose holders can try values of a masked column against a unique index."""
    catalog = compiled.catalog
    masked = frozenset[ColumnRef]().union(*compiled.bindings.columns.values())
    for ref in sorted(masked):
        ties = catalog.ties.get(ref.relation_oid, ())
        if not any(tie.kind == "unique" and ref.attnum in tie.attnums for tie in ties):
            continue
        relation, column = catalog.by_oid[ref.relation_oid].ref, catalog.column_name(ref)
        for grant in compiled.bundle.policy.grants:
            if grant.target != compiled.target or grant.columns is None:
                continue
            named = (*(grant.columns.insert or ()), *(grant.columns.update or ()))
            if column in named and _scope(grant).holds(relation):
                message = (
                    f"lets its holders find out whether a value is in {relation.schema}."
                    f"{relation.name}.{column}: the column is masked, and unique"
                )
                compiled.warnings.append(compiled.bundle.problem("grants", grant.id, message))


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
