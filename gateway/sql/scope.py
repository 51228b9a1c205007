"""Names in scope: FROM items and CTEs per query level, looked up the way PostgreSQL does.

Follows parse_relation.c: an unqualified column is searched in all items of one level whose
columns are visible, then in the level around it; a join hides its inputs' unqualified columns
and shows its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.errors import NotGranted, quote_name
from gateway.sql.catalog import SYSTEM_COLUMNS, Relation
from gateway.sql.effects import Node, refuse
from gateway.sql.facts import ColumnRef
from gateway.sql.values import Column, Value, union

_WITH_SYSTEM_COLUMNS: Final = frozenset({"table", "partitioned", "matview", "foreign", "sequence"})
AMBIGUOUS: Final = Value(type_oid=-1)
IDENTIFIER_BYTES_MAX: Final = 63


@dataclass(slots=True)
class Item:
    """One entry of a level's namespace.

    `is_certain` is false where the number and names of the columns depend on types that the
    analyser does not compute (a polymorphic function in FROM): a name found in such an item
    may in truth be another one further out, so both count.
    """

    name: str
    columns: tuple[Column, ...]
    lookup: Mapping[str, Value]
    relation: Relation | None = None
    schema: str = ""
    relations: tuple[Relation, ...] = ()
    row: int = 0
    rel_visible: bool = True
    cols_visible: bool = True
    is_certain: bool = True

    def refs(self) -> frozenset[ColumnRef]:
        """All base columns that the item's row depends on."""
        return union([value for _, value in self.columns])

    def find(self, name: str) -> Value | None:
        """Return the column `name`, None if there is none. Raises NotUnderstood if ambiguous."""
        found = self.lookup.get(name)
        if found is not None:
            if found is AMBIGUOUS:
                refuse(f"column {quote_name(name)} is ambiguous")
            return found
        relation = self.relation
        if relation is None or relation.ref.kind not in _WITH_SYSTEM_COLUMNS:
            return None
        if name not in SYSTEM_COLUMNS:
            return None
        attnum, type_oid = SYSTEM_COLUMNS[name]
        return Value(frozenset((ColumnRef(relation.oid, attnum),)), True, type_oid)


@dataclass(slots=True)
class Cte:
    """A WITH query. Analysed when first referenced, or at the end of its WITH clause."""

    name: str
    node: Node
    is_recursive: bool
    columns: tuple[Column, ...] = ()
    relations: tuple[Relation, ...] = ()
    state: str = "pending"  # pending | running | done
    was_self_referenced: bool = False


@dataclass(slots=True)
class Scope:
    """One query level."""

    parent: Scope | None = None
    items: list[Item] = field(default_factory=list)
    ctes: dict[str, Cte] = field(default_factory=dict)
    windows: dict[str, frozenset[ColumnRef]] = field(default_factory=dict)

    def find_window(self, name: str) -> frozenset[ColumnRef]:
        """Return what a named window of this level depends on."""
        if name not in self.windows:
            refuse(f"window {quote_name(name)} cannot be resolved")
        return self.windows[name]

    def for_subquery(self, visible: list[Item] | None = None) -> Scope:
        """Return the parent of a query in FROM: this level's CTEs, and `visible` if LATERAL."""
        return Scope(self.parent, visible or [], self.ctes)

    def find_cte(self, name: str) -> tuple[Cte, Scope] | None:
        """Return the innermost CTE called `name` and the level that defines it."""
        scope: Scope | None = self
        while scope is not None:
            if (found := scope.ctes.get(name)) is not None:
                return found, scope
            scope = scope.parent
        return None

    def find_column(self, name: str) -> Value | None:
        """Return what the unqualified `name` means, None if no column has it."""
        scope: Scope | None = self
        doubt: list[Value] = []
        may_hide = False
        while scope is not None:
            sure: list[Value] = []
            for item in scope.items:
                if not item.cols_visible:
                    continue
                if (value := item.find(name)) is not None:
                    (sure if item.is_certain else doubt).append(value)
            if len(sure) > 1:
                refuse(f"column {quote_name(name)} is ambiguous")
            if sure:
                if not doubt and not may_hide:
                    return sure[0]
                return Value(union([sure[0], *doubt]))
            for item in scope.items:
                if not item.is_certain and item.cols_visible:
                    may_hide = True
                    doubt.append(Value(item.refs()))
            scope = scope.parent
        if doubt:
            return Value(union(doubt))
        return None

    def find_item(self, name: str, schema: str = "") -> Item | None:
        """Return the FROM item that a qualifier means."""
        scope: Scope | None = self
        while scope is not None:
            found = [
                item
                for item in scope.items
                if item.rel_visible
                and item.name == name
                and (not schema or (item.schema == schema and item.relation is not None))
            ]
            if len(found) > 1:
                refuse(f"table reference {quote_name(name)} is ambiguous")
            if found:
                return found[0]
            scope = scope.parent
        return None


def index(columns: Iterable[Column]) -> dict[str, Value]:
    """Return columns by name; a name that occurs twice maps to AMBIGUOUS."""
    found: dict[str, Value] = {}
    for name, value in columns:
        found[name] = AMBIGUOUS if name in found else value
    return found


def relation_item(relation: Relation, alias: str, names: list[str]) -> Item:
    """Return the FROM item of a stored relation; without column aliases nothing is copied."""
    if not names:
        columns, lookup = relation.star, relation.values
    else:
        columns = rename(relation.star, names)
        lookup = index(columns)
    return Item(
        alias or relation.ref.name,
        columns,
        lookup,
        relation=relation,
        schema="" if alias else relation.ref.schema,
        relations=(relation,),
        row=relation.oid,
    )


def rename(columns: tuple[Column, ...], names: list[str]) -> tuple[Column, ...]:
    """Apply a column alias list. Raises NotUnderstood when it is longer than the columns."""
    if len(names) > len(columns):
        refuse("an alias names more columns than there are")
    renamed = [(name, value) for name, (_, value) in zip(names, columns, strict=False)]
    return (*renamed, *columns[len(names) :])


def alias_of(node: Node) -> tuple[str, list[str]]:
    """Return the name and the column names of a node's alias."""
    alias = node.get("alias")
    if not alias:
        return "", []
    return alias["aliasname"], string_list(alias.get("colnames"))


def string_list(nodes: list[Node] | None) -> list[str]:
    """Return the texts of a list of String nodes."""
    return [node["String"].get("sval", "") for node in nodes or ()]


def cut(name: str) -> str:
    """Cut a name the way the server does, on a character boundary of 63 bytes."""
    encoded = name.encode()
    if len(encoded) <= IDENTIFIER_BYTES_MAX:
        return name
    return encoded[:IDENTIFIER_BYTES_MAX].decode(errors="ignore")


def no_relation(schema: str, name: str) -> NotGranted:
    """The error for a relation that is not in the snapshot: as if it were not granted."""
    written = quote_name(schema, name) if schema else quote_name(name)
    return NotGranted(f"relation {written} does not exist or is not granted")
