"""What one principal holds on one target, in the form that `decide` reads.

Rules are already narrowed to the principal's groups, the target and the level asked for; masks
are already bound to table OIDs. Nothing here knows who the principal is: two principals with
equal rights share one Rights and therefore one profile key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.policy.model import Approval, Guard, Mode, When
from gateway.policy.names import LEVEL_EFFECTS, UNKNOWN, effect_matches, name_matches
from gateway.policy.profile import Level, Profile
from gateway.sql.facts import ColumnRef, Effect, RelationRef

# Relation and function names are checked for these; the rest of the effects has none.
_WRITE_VERBS: Final = {
    "rows.insert": "insert",
    "copy.in": "insert",
    "rows.update": "update",
}
# PostgreSQL's own relations and the session's own: no schema of a grant covers them.
_CATALOG_EFFECTS: Final = ("catalog.read", "catalog.sensitive")
TEMPORARY: Final = "pg_temp"


@dataclass(frozen=True, slots=True)
class RelationScope:
    """The relations a rule is about. `schema` None: all of them."""

    schema: str | None = None
    tables: tuple[str, ...] = ("*",)
    except_tables: tuple[str, ...] = ()

    def holds(self, relation: RelationRef) -> bool:
        """Tell whether `relation` is in scope, by the names the catalog gives it."""
        if self.schema is None:
            return True
        return (
            relation.schema == self.schema
            and name_matches(self.tables, relation.name)
            and not name_matches(self.except_tables, relation.name)
        )


@dataclass(frozen=True, slots=True)
class GrantRule:
    """A grant with its level lowered to what the session asked for."""

    id: str
    level: Level | None
    effects: tuple[str, ...]
    functions: tuple[str, ...]
    scope: RelationScope
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def holds_effect(self, effect_id: str) -> bool:
        """Tell whether the grant covers this kind of effect, on whatever object."""
        if effect_id == UNKNOWN:
            return False
        if self.level is not None and effect_id in LEVEL_EFFECTS[self.level]:
            return True
        return any(effect_matches(pattern, effect_id) for pattern in self.effects)

    def covers(self, effect: Effect) -> bool:
        """Tell whether this grant alone covers `effect`, columns included."""
        if effect.id.startswith("function."):
            return self._covers_function(effect)
        return (
            self.holds_effect(effect.id) and self.sees(effect) and not self.columns_refused(effect)
        )

    def sees(self, effect: Effect) -> bool:
        """Tell whether the effect's object is in scope; an effect without one always is."""
        relation = effect.relation
        if relation is None or effect.id in _CATALOG_EFFECTS or relation.schema == TEMPORARY:
            return True
        if relation.oid == 0 and not effect.id.startswith("schema."):
            return False  # named and not there: reads like what the principal may not see
        return self.scope.schema is not None and self.scope.holds(relation)

    def names_effect(self, effect: Effect) -> bool:
        """Tell whether the grant lists the effect itself, not just a level that includes it."""
        named = any(effect_matches(pattern, effect.id) for pattern in self.effects)
        return named and self.sees(effect)

    def columns_refused(self, effect: Effect) -> tuple[str, ...]:
        """Return the written columns that this grant leaves out, "*" when none is named."""
        allowed = self.columns.get(_WRITE_VERBS.get(effect.id, ""))
        if allowed is None:
            return ()
        if not effect.columns:
            return ("*",)
        return tuple(name for name in effect.columns if name not in allowed)

    def names_column(self, effect: Effect, column: str) -> bool:
        """Tell whether the grant lists `column` itself for the effect's verb."""
        allowed = self.columns.get(_WRITE_VERBS.get(effect.id, ""), ())
        return column in allowed and self.covers(effect)

    def _covers_function(self, effect: Effect) -> bool:
        # A call that could not be resolved is never covered, whatever is listed.
        if effect.id == "function.call_unknown" or not name_matches(self.functions, effect.name):
            return False
        return effect.id == "function.call" or self.level in {"write", "admin"}


@dataclass(frozen=True, slots=True)
class DenyRule:
    """A deny that applies to the principal."""

    id: str
    effects: tuple[str, ...]
    scope: RelationScope

    def matches(self, effect: Effect) -> bool:
        """Tell whether the rule is about `effect`; a scoped rule needs a relation in scope."""
        if not any(effect_matches(pattern, effect.id) for pattern in self.effects):
            return False
        if self.scope.schema is None:
            return True
        return effect.relation is not None and self.scope.holds(effect.relation)


@dataclass(frozen=True, slots=True)
class GuardRule(DenyRule):
    """A guard that applies to the principal."""

    when: When | None
    approval: Approval

    @classmethod
    def of(cls, guard: Guard, scope: RelationScope) -> GuardRule:
        """Return the rule of a policy file's guard."""
        return cls(guard.id, guard.effects, scope, guard.when, guard.approval)


@dataclass(frozen=True, slots=True)
class MaskedColumn:
    """A column whose values the principal must not see.

    `blocked`: its value is made from a masked column in a way that no mask fits, or a mask could
    not be bound; it may not be selected at all.
    """

    index: int  # into Profile.masks
    mask_id: str
    blocked: bool = False
    uses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Everything `decide` needs to know besides the statement."""

    target: str
    mode: Mode
    level: Level
    profile: Profile
    grants: tuple[GrantRule, ...]
    # Of who acts for the principal: every effect must be covered by these as well.
    actor_grants: tuple[GrantRule, ...] | None = None
    denies: tuple[DenyRule, ...] = ()
    guards: tuple[GuardRule, ...] = ()
    masked: Mapping[ColumnRef, MaskedColumn] = field(default_factory=dict)
    # Relation OID -> names of its masked columns -> mask id.
    masked_names: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    column_names: Mapping[ColumnRef, str] = field(default_factory=dict)
    # Masks of an enforced policy that fit no column of this database: see `compile`.
    unbound: tuple[str, ...] = ()

    def parties(self) -> tuple[Rights, ...]:
        """Return the rights that each party must hold alone: one, or two under delegation."""
        if self.actor_grants is None:
            return (self,)
        return replace(self, actor_grants=None), replace(
            self, grants=self.actor_grants, actor_grants=None
        )
