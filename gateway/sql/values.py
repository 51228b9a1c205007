"""What an expression's value depends on: the unit that name resolution passes around."""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.sql.facts import ColumnRef

NO_REFS: Final[frozenset[ColumnRef]] = frozenset()

# Types the analyser reasons about; 0 means "not known", 705 an untyped literal.
BOOL: Final = 16
INT4: Final = 23
INT8: Final = 20
TEXT: Final = 25
NUMERIC: Final = 1700
UNKNOWN: Final = 705
UNTYPED: Final = 0


class Value(NamedTuple):
    """The base columns a value depends on.

    `direct` holds only for exactly one column passed through unchanged in a way that
    PostgreSQL's RowDescription traces (leak-classes.md section 5). `row` is the OID of the
    relation whose row type the value has, 0 otherwise.
    """

    refs: frozenset[ColumnRef] = NO_REFS
    direct: bool = False
    type_oid: int = UNTYPED
    row: int = 0


CLEAR: Final = Value()
Column = tuple[str, Value]


def derived(value: Value) -> Value:
    """Return `value` as something computed: same dependence, no longer the column itself."""
    return Value(value.refs, False, value.type_oid, value.row) if value.direct else value


def union(values: list[Value] | tuple[Value, ...]) -> frozenset[ColumnRef]:
    """Return the columns any of `values` depends on."""
    refs = NO_REFS
    for value in values:
        if value.refs:
            refs = refs | value.refs if refs else value.refs
    return refs
