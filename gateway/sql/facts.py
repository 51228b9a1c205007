"""What the analyser says about one statement: immutable values, no behaviour.

The policy layer decides from these facts alone, so everything that can change a
decision is here, and nothing here depends on who is asking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Verdict = Literal["clear", "direct", "derived", "unknown"]
CacheKind = Literal["fingerprint", "text", "never"]
CopyKind = Literal["", "in", "out"]
CopyFormat = Literal["text", "csv", "binary"]
TxnKind = Literal[
    "", "begin", "commit", "rollback", "savepoint", "release", "rollback_to", "prepare"
]
PinReason = Literal["", "settings", "temp", "cursor", "advisory_lock", "listen"]

# Where a base column is used other than as a plain output column.
Place = Literal[
    "expression",  # argument of an operator, function, cast, CASE, array, row, subscript
    "where",  # WHERE, HAVING's non-aggregates, ON CONFLICT inference, MERGE WHEN conditions
    "equality",  # in such a condition, as `column = constant`
    "join",  # ON, USING, NATURAL, MERGE ON
    "group",
    "order",
    "distinct",  # DISTINCT, UNION/INTERSECT/EXCEPT without ALL
    "aggregate",
    "window",
    "limit",
    "whole_row",  # the relation as a value: row, JSON, composite function
    "returning",  # inside an expression of RETURNING
    "assign",  # the value of a SET in UPDATE, MERGE or ON CONFLICT
    "source",  # a value stored elsewhere: INSERT ... SELECT, CREATE TABLE AS, CREATE VIEW
    "copy",  # an output of COPY TO: CopyData has no column identity
    "explain",  # takes part in a statement that EXPLAIN shows
    "function",  # argument of a function in FROM
    "constraint",  # compared with what is written: whether the write fails shows the value
]

RelationKind = Literal[
    "table", "partitioned", "view", "matview", "foreign", "sequence", "index", "composite", "toast"
]


@dataclass(frozen=True, slots=True)
class RelationRef:
    """A relation as the catalog snapshot knows it. `oid` 0: named, but not in the snapshot."""

    schema: str
    name: str
    oid: int
    kind: str


class ColumnRef(NamedTuple):
    """A column by table OID and attribute number: renaming does not change it."""

    relation_oid: int
    attnum: int


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing a statement does. Every effect must be covered by a grant.

    `columns` are the names read, inserted or updated (empty: none in particular);
    `name` is the function ("schema.name"), setting, role or channel where there is one.
    """

    id: str
    relation: RelationRef | None = None
    columns: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """One result column.

    `direct` means exactly one base column, unchanged, and that the server's
    RowDescription names it; any other dependence on base columns is `derived`.
    """

    name: str
    verdict: Verdict
    sources: frozenset[ColumnRef]


@dataclass(frozen=True, slots=True)
class ColumnUse:
    """A base column used where its value shows other than as a plain output."""

    column: ColumnRef
    relation: RelationRef
    name: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyForm:
    """How COPY TO STDOUT writes its rows, every default filled in."""

    format: CopyFormat = "text"
    delimiter: str = "\t"
    null: str = "\\N"
    quote: str = '"'
    escape: str = '"'
    header: bool = False
    force_quote: tuple[bool, ...] = ()  # per output column


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFacts:
    """Everything the policy may know about one statement of a query string."""

    kind: str
    effects: tuple[Effect, ...] = ()
    outputs: tuple[Output, ...] | None = None
    uses: tuple[ColumnUse, ...] = ()
    reads: frozenset[ColumnRef] = frozenset()
    no_where: bool = False
    nested_write: bool = False  # a part of it, such as a CTE, changes rows
    txn: TxnKind = ""
    pin: PinReason = ""
    ddl: bool = False
    copy: CopyKind = ""
    copy_form: CopyForm | None = None  # of COPY TO STDOUT
    deallocate: str | None = None
    resets_settings: bool = False
    shows: str | None = None
    sets: tuple[str, str] | None = None
    setting: tuple[str, str | None] | None = None  # followed by the gateway: name, value or default
    cursor: str | None = None
    cache: CacheKind = "text"


# Effect ids by the lowest level of semantics.md that includes them; "grant" ids are in no level.
# A pattern that ends with "*" covers every id with that prefix.
EFFECT_LEVELS: dict[str, tuple[str, ...]] = {
    "read": (
        "rows.read",
        "catalog.read",
        "copy.out",
        "explain.plain",
        "explain.analyze",
        "txn.begin",
        "txn.commit",
        "txn.rollback",
        "txn.savepoint",
        "session.show",
        "session.safe_set",
        "session.reset",
        "session.cursor",
        "session.unlisten",
    ),
    "write": (
        "rows.insert",
        "rows.update",
        "rows.delete",
        "rows.merge",
        "rows.lock",
        "copy.in",
        "txn.read_write",  # explicit READ WRITE: it would undo default_transaction_read_only
        "sequence.next",
        "sequence.set",
    ),
    "admin": (
        "table.truncate",
        "table.lock",
        "table.analyze",
        "table.vacuum",
        "table.comment",
        "schema.create.table",
        "schema.create.index",
        "schema.create.view",
        "schema.create.matview",
        "schema.create.sequence",
        "schema.create.type",
        "schema.alter.table",
        "schema.alter.index",
        "schema.alter.view",
        "schema.alter.matview",
        "schema.alter.sequence",
        "schema.alter.type",
        "schema.drop.table",
        "schema.drop.index",
        "schema.drop.view",
        "schema.drop.matview",
        "schema.drop.sequence",
        "schema.drop.type",
        "schema.refresh.matview",
    ),
}
