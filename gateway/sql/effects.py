"""Collects what one statement does while its tree is walked.

One `Walk` per statement. Everything is a set or an ordered dict: walking a part twice, as a
recursive CTE's fixpoint does, adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from gateway.errors import NotUnderstood, TooComplex
from gateway.sql.catalog import Catalog, Relation
from gateway.sql.facts import CacheKind, ColumnRef, ColumnUse, Effect, PinReason, RelationRef
from gateway.sql.values import Value

Node = dict[str, Any]

NODES_MAX: Final = 100_000  # of one string, repeated visits included
DEPTH_MAX: Final = 150  # Python frames per level, times this, stay below the recursion limit
OUTPUTS_MAX: Final = 1_664  # PostgreSQL's own limit on a target list


@dataclass(slots=True)
class Walk:
    """The state of one statement's analysis."""

    catalog: Catalog
    path: tuple[str, ...]
    param_oids: tuple[int, ...] = ()
    place: str = "expression"
    uses: dict[tuple[ColumnRef, str], None] = field(default_factory=dict)
    reads: set[ColumnRef] = field(default_factory=set)
    read_relations: dict[int, Relation] = field(default_factory=dict)
    effects: dict[tuple[str, int, str], tuple[RelationRef | None, dict[str, None]]] = field(
        default_factory=dict
    )
    cache: CacheKind = "fingerprint"
    pin: PinReason = ""
    no_where: bool = False
    nested_write: bool = False
    resets_settings: bool = False
    depth: int = 0
    nodes: int = 0

    # -- what was found ---------------------------------------------------------------------

    def effect(
        self,
        effect_id: str,
        relation: RelationRef | None = None,
        columns: Iterable[str] = (),
        name: str = "",
    ) -> None:
        """Add an effect; columns of the same effect on the same object are joined."""
        key = (effect_id, relation.oid if relation is not None else 0, name)
        if relation is not None and relation.oid == 0:
            key = (effect_id, 0, f"{relation.schema}.{relation.name}")
        known = self.effects.get(key)
        if known is None:
            self.effects[key] = (relation, dict.fromkeys(columns))
        else:
            known[1].update(dict.fromkeys(columns))

    def read_relation(self, relation: Relation) -> None:
        """Note that rows of `relation` are read, whichever columns."""
        self.read_relations[relation.oid] = relation

    def read(self, refs: Iterable[ColumnRef]) -> None:
        """Note base columns as touched."""
        self.reads.update(refs)

    def use(self, refs: Iterable[ColumnRef], place: str | None = None) -> None:
        """Note base columns as used where their value shows; the default place is the current."""
        at = place or self.place
        for ref in refs:
            self.uses[ref, at] = None

    def consume(self, value: Value, place: str | None = None) -> Value:
        """Use `value` as an operand and return it."""
        if value.refs:
            self.use(value.refs, place)
        return value

    def by_text(self) -> None:
        """A constant decides here: the decision holds for this exact text only."""
        if self.cache == "fingerprint":
            self.cache = "text"

    # -- bounds -----------------------------------------------------------------------------

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Walk a clause: uses inside it are noted at `place`."""
        before, self.place = self.place, place
        try:
            yield
        finally:
            self.place = before

    def count(self) -> None:
        """Count a visited node against the bound."""
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise TooComplex("the statement takes too long to analyse")

    def deeper(self) -> None:
        """Enter one level of nesting; the caller leaves it by `self.depth -= 1`."""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise TooComplex("the statement is nested too deeply")

    # -- results ----------------------------------------------------------------------------

    def final_effects(self) -> tuple[Effect, ...]:
        """Return all effects, reads of relations included, in order of first appearance."""
        self._relation_effects()
        return tuple(
            Effect(key[0], relation, tuple(columns), "" if relation is not None else key[2])
            for key, (relation, columns) in self.effects.items()
        )

    def _relation_effects(self) -> None:
        by_relation: dict[int, list[ColumnRef]] = {oid: [] for oid in self.read_relations}
        for ref in self.reads:
            by_relation.setdefault(ref.relation_oid, []).append(ref)
        for oid, refs in by_relation.items():
            relation = self.read_relations.get(oid) or self.catalog.by_oid.get(oid)
            if relation is None:
                refuse("a relation that is not in the catalog snapshot is read")
            columns = [self.catalog.column_name(ref) for ref in sorted(refs)]
            names = [name for name in columns if name]
            if relation.is_system:
                effect_id = "catalog.read" if is_safe_catalog(relation.ref) else "catalog.sensitive"
                self.by_text()
                self.effect(effect_id, relation.ref)
            else:
                self.effect("rows.read", relation.ref, names)

    def final_uses(self) -> tuple[ColumnUse, ...]:
        """Return the uses of columns that are not system columns."""
        found = []
        for ref, place in self.uses:
            if name := self.catalog.column_name(ref):
                relation = self.catalog.relation_ref(ref.relation_oid)
                found.append(ColumnUse(ref, relation, name, place))
        return tuple(found)


def refuse(message: str, *, hint: str = "", reason: str = "") -> NoReturn:
    """Raise NotUnderstood. `message` must name nothing the principal may not see."""
    raise NotUnderstood(message, hint=hint, reason=reason)


def check_fields(kind: str, node: Node, known: frozenset[str]) -> None:
    """Refuse a node with a field that no rule covers: the walk is total or it is nothing."""
    if not node.keys() <= known:
        unknown = ", ".join(sorted(node.keys() - known))
        refuse(f"the statement uses a form of {kind} that is not analysed", reason=unknown)


# Catalogs that hold names and definitions only. What holds values of rows, secrets, other
# sessions' texts or the server's files is not here (leak-classes.md, section 2).
_SAFE_CATALOGS: Final = frozenset(
    """
pg_aggregate pg_am pg_amop pg_amproc pg_attrdef pg_attribute pg_auth_members pg_cast pg_class
pg_collation pg_constraint pg_conversion pg_database pg_db_role_setting pg_default_acl pg_depend
pg_description pg_enum pg_event_trigger pg_extension pg_foreign_data_wrapper pg_foreign_server
pg_foreign_table pg_index pg_inherits pg_init_privs pg_language pg_namespace pg_opclass
pg_operator pg_opfamily pg_parameter_acl pg_partitioned_table pg_policy pg_proc pg_publication
pg_publication_namespace pg_publication_rel pg_range pg_rewrite pg_seclabel pg_sequence
pg_shdepend pg_shdescription pg_shseclabel pg_statistic_ext pg_tablespace pg_transform pg_trigger
pg_ts_config pg_ts_config_map pg_ts_dict pg_ts_parser pg_ts_template pg_type
pg_available_extensions pg_available_extension_versions pg_group pg_indexes pg_matviews
pg_policies pg_publication_tables pg_roles pg_rules pg_sequences pg_settings pg_tables
pg_timezone_abbrevs pg_timezone_names pg_user pg_views pg_seclabels
""".split()
) - {"pg_foreign_server", "pg_db_role_setting", "pg_foreign_table", "pg_user"}

# Options of foreign servers and roles can hold credentials or custom settings.
_SENSITIVE_INFORMATION_SCHEMA: Final = frozenset(
    """
user_mapping_options user_mappings foreign_server_options foreign_table_options
foreign_data_wrapper_options column_options _pg_user_mappings _pg_foreign_servers
_pg_foreign_tables _pg_foreign_data_wrappers _pg_foreign_table_columns
""".split()
)


def is_safe_catalog(ref: RelationRef) -> bool:
    """Whether a system relation holds names and definitions only."""
    if ref.schema == "information_schema":
        return ref.name not in _SENSITIVE_INFORMATION_SCHEMA
    return ref.schema == "pg_catalog" and ref.name in _SAFE_CATALOGS
