"""An immutable picture of one database's catalogs, as far as name resolution needs them.

Loaded by `catalog_load`; nothing here talks to a server. Two snapshots with the same
`version` answer every question alike, so a decision made under one holds under the other.
A stale snapshot can only make a name unresolved, or resolve it to an OID that RowDescription
then contradicts: both refuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.sql.facts import ColumnRef, RelationRef, Verdict
from gateway.sql.values import NO_REFS, Column, Value

PG_CATALOG: Final = "pg_catalog"
FIRST_USER_OID: Final = 16384  # FirstNormalObjectId: below it, initdb made the object

# System columns of every table: readable, never masked.
SYSTEM_COLUMNS: Final[Mapping[str, tuple[int, int]]] = {
    "ctid": (-1, 27),
    "xmin": (-2, 28),
    "cmin": (-3, 29),
    "xmax": (-4, 28),
    "cmax": (-5, 29),
    "tableoid": (-6, 26),
}


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """One live column."""

    name: str
    attnum: int
    type_oid: int
    not_null: bool = False
    generated: bool = False
    has_default: bool = False
    typmod: int = -1  # as RowDescription tells it: a domain's own where the type is one


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation with what resolution needs precomputed: a FROM item costs one look-up."""

    ref: RelationRef
    columns: tuple[ColumnInfo, ...]
    row_type: int = 0
    is_system: bool = False
    is_temporary: bool = False
    has_rules: bool = False  # rewrite rules other than a view's own SELECT
    has_triggers: bool = False
    row_security: bool = False
    parents: tuple[int, ...] = ()
    children: tuple[int, ...] = ()
    by_name: Mapping[str, ColumnInfo] = field(default_factory=dict)
    star: tuple[Column, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict)

    @property
    def oid(self) -> int:
        """The relation's OID."""
        return self.ref.oid


def make_relation(
    ref: RelationRef,
    columns: Iterable[ColumnInfo],
    *,
    row_type: int = 0,
    is_temporary: bool = False,
    has_rules: bool = False,
    has_triggers: bool = False,
    row_security: bool = False,
    parents: tuple[int, ...] = (),
    children: tuple[int, ...] = (),
    row_types: Mapping[int, int] | None = None,
) -> Relation:
    """Build a `Relation` and its look-up tables. `row_types` maps composite types to relations."""
    kept = tuple(columns)
    rows = row_types or {}
    star = tuple(
        (
            column.name,
            Value(
                frozenset((ColumnRef(ref.oid, column.attnum),)),
                True,
                column.type_oid,
                rows.get(column.type_oid, 0),
            ),
        )
        for column in kept
    )
    return Relation(
        ref=ref,
        columns=kept,
        row_type=row_type,
        is_system=ref.schema in (PG_CATALOG, "information_schema", "pg_toast"),
        is_temporary=is_temporary,
        has_rules=has_rules,
        has_triggers=has_triggers,
        row_security=row_security,
        parents=parents,
        children=children,
        by_name={column.name: column for column in kept},
        star=star,
        values=dict(star),
    )


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """One overload. `out_columns` is what it gives in FROM, None for a plain scalar."""

    schema: str
    name: str
    oid: int
    arg_count: int
    default_count: int
    is_variadic: bool
    return_type: int
    returns_set: bool
    out_columns: tuple[tuple[str, int], ...] | None
    volatility: str  # "i" | "s" | "v"
    kind: str  # "f" | "a" | "w" | "p"
    extension: str = ""
    arg_types: tuple[int, ...] = ()

    def accepts(self, count: int) -> bool:
        """Whether a call with `count` arguments can mean this overload."""
        if count > self.arg_count:
            return self.is_variadic
        least = self.arg_count - self.default_count - (1 if self.is_variadic else 0)
        return count >= least


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """One type; `relation` is set for composites, `base` for domains, `element` for arrays."""

    oid: int
    schema: str
    name: str
    kind: str  # pg_type.typtype
    relation: int = 0
    element: int = 0
    base: int = 0
    extension: str = ""
    labels: tuple[str, ...] = ()  # of an enum, in its order


@dataclass(frozen=True, slots=True)
class OperatorInfo:
    """A user-defined operator: to the analyser, a call of `function`."""

    schema: str
    name: str
    left: int
    right: int
    function: FunctionInfo | None


@dataclass(frozen=True, slots=True)
class ViewInfo:
    """What a view's definition reads, per column and as a whole."""

    columns: Mapping[int, tuple[Verdict, frozenset[ColumnRef]]]
    reads: frozenset[ColumnRef]


@dataclass(frozen=True, slots=True)
class Tie:
    """A constraint: whether writing one of `attnums` fails may depend on the values of `shows`.

    `kind` is unique, check, foreign_key (this relation refers to others) or referenced (others
    refer to it: then deleting a row counts as well).
    """

    kind: str
    attnums: frozenset[int]
    shows: frozenset[ColumnRef]
    on_delete: str = "a"  # as pg_constraint has it: a, r nothing; c cascade; n, d set the columns
    on_update: str = "a"


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """The snapshot. Build it with `catalog_load.load_catalog`."""

    version: str
    server_version: int  # 150004
    user: str
    default_search_path: tuple[str, ...]
    schemas: frozenset[str]
    relations: Mapping[tuple[str, str], Relation]
    by_oid: Mapping[int, Relation]
    functions: Mapping[str, tuple[FunctionInfo, ...]]
    types: Mapping[tuple[str, str], TypeInfo]
    types_by_oid: Mapping[int, TypeInfo]
    user_operators: Mapping[str, tuple[OperatorInfo, ...]] = field(default_factory=dict)
    builtin_operators: frozenset[tuple[str, int, int]] = frozenset()
    operator_names: frozenset[str] = frozenset()
    user_casts: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # type -> functions
    generated: Mapping[ColumnRef, frozenset[ColumnRef]] = field(default_factory=dict)
    views: Mapping[int, ViewInfo] = field(default_factory=dict)
    database: str = ""  # which database of which server this is; empty where that is not told
    sequence_owners: Mapping[int, int] = field(default_factory=dict)  # sequence -> its table
    ties: Mapping[int, tuple[Tie, ...]] = field(default_factory=dict)
    _lineage: dict[ColumnRef, tuple[Verdict, frozenset[ColumnRef]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_lineage": {}}

    def effective_path(self, search_path: Iterable[str]) -> tuple[str, ...]:
        """Return the schemas searched for relations and functions, pg_catalog first if implied.

        `pg_temp` is left out: no client-made temporary object is in a snapshot, so a name
        that only a temporary object could satisfy stays unresolved.
        """
        path = [self.user if name == "$user" else name for name in search_path]
        path = [name for name in path if name in self.schemas]
        if PG_CATALOG not in path:
            path.insert(0, PG_CATALOG)
        return tuple(dict.fromkeys(path))

    def find_relation(self, schema: str, name: str, path: tuple[str, ...]) -> Relation | None:
        """Return the relation that `schema.name` (or unqualified `name`) means."""
        if schema:
            return self.relations.get((schema, name))
        for candidate in path:
            if (found := self.relations.get((candidate, name))) is not None:
                return found
        return None

    def find_type(self, schema: str, name: str, path: tuple[str, ...]) -> TypeInfo | None:
        """Return the type that `schema.name` (or unqualified `name`) means."""
        if schema:
            return self.types.get((schema, name))
        for candidate in path:
            if (found := self.types.get((candidate, name))) is not None:
                return found
        return None

    def row_relation(self, type_oid: int) -> Relation | None:
        """Return the relation whose row type `type_oid` is, seen through domains."""
        for _ in range(8):
            info = self.types_by_oid.get(type_oid)
            if info is None:
                return None
            if info.relation:
                return self.by_oid.get(info.relation)
            if not info.base:
                return None
            type_oid = info.base
        return None

    def lineage(self, oid: int, attnum: int) -> frozenset[ColumnRef]:
        """Return the base columns that a column exposes, itself among them.

        For a view the columns its definition reads into it, for a parent or child the same
        column up and down the inheritance tree, for a generated column its inputs.
        """
        return self.exposes(oid, attnum)[1]

    def exposes(self, oid: int, attnum: int) -> tuple[Verdict, frozenset[ColumnRef]]:
        """Return `lineage` and how: `direct` while each step passes one column unchanged."""
        ref = ColumnRef(oid, attnum)
        if (known := self._lineage.get(ref)) is not None:
            return known
        seen: dict[ColumnRef, bool] = {ref: True}
        queue = [(ref, "both")]
        while queue:
            current, way = queue.pop()
            for following, is_direct, onwards in self._steps(current, way):
                reached = seen[current] and is_direct
                if following not in seen or (seen[following] and not reached):
                    seen[following] = reached
                    queue.append((following, onwards))
        verdict: Verdict = "direct" if all(seen.values()) else "derived"
        self._lineage[ref] = verdict, frozenset(seen)
        return self._lineage[ref]

    def _steps(self, ref: ColumnRef, way: str) -> Iterable[tuple[ColumnRef, bool, str]]:
        relation = self.by_oid.get(ref.relation_oid)
        if relation is None or ref.attnum <= 0:
            return
        if (view := self.views.get(ref.relation_oid)) is not None:
            verdict, sources = view.columns.get(ref.attnum, ("unknown", view.reads))
            for source in sources:
                yield source, verdict == "direct", "both"
        for source in self.generated.get(ref, NO_REFS):
            yield source, False, "both"
        # A mask on an ancestor holds here, and reading this reads the descendants; a sibling's
        # mask does not spread, hence one direction at a time.
        ways = [(relation.parents, "up"), (relation.children, "down")]
        for oids, direction in ways:
            if way in ("both", direction) and oids:
                yield from self._related(ref, relation, oids, direction)

    def _related(
        self, ref: ColumnRef, relation: Relation, oids: tuple[int, ...], direction: str
    ) -> Iterable[tuple[ColumnRef, bool, str]]:
        name = next((c.name for c in relation.columns if c.attnum == ref.attnum), "")
        for oid in oids:
            other = self.by_oid.get(oid)
            column = other.by_name.get(name) if other is not None else None
            if column is not None:
                yield ColumnRef(oid, column.attnum), True, direction

    def relation_ref(self, oid: int) -> RelationRef:
        """Return the reference for `oid`, unnamed when the snapshot does not hold it."""
        found = self.by_oid.get(oid)
        return found.ref if found is not None else RelationRef("", "", oid, "table")

    def column_name(self, ref: ColumnRef) -> str:
        """Return the column's name, or an empty string for a system column."""
        relation = self.by_oid.get(ref.relation_oid)
        if relation is None or ref.attnum <= 0:
            return ""
        # Attribute numbers are dense unless columns were dropped.
        columns = relation.columns
        if ref.attnum <= len(columns) and columns[ref.attnum - 1].attnum == ref.attnum:
            return columns[ref.attnum - 1].name
        return next((c.name for c in columns if c.attnum == ref.attnum), "")
