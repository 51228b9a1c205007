"""ORDER BY, GROUP BY and set operations: where names and numbers mean output columns."""

from __future__ import annotations

from gateway.sql import calls
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.expressions import SORT_BY, expr, operand
from gateway.sql.scope import Scope, cut
from gateway.sql.values import UNTYPED, Column, Value, union


def order(walk: Walk, scope: Scope, columns: tuple[Column, ...], keys: list[Node]) -> None:
    """Note the keys of an ORDER BY."""
    for key in keys:
        body = key["SortBy"]
        check_fields("ORDER BY", body, SORT_BY)
        with walk.at("order"):
            value = output_or_column(walk, scope, columns, body["node"])
        walk.use(value.refs, "order")
        if "useOp" in body:
            calls.operator(walk, body["useOp"], value, value)


def output_or_column(walk: Walk, scope: Scope, columns: tuple[Column, ...], node: Node) -> Value:
    """Resolve as SQL-92 does: an output's number or name first, then an expression."""
    if (by_number := _ordinal(walk, columns, node)) is not None:
        return by_number
    name = _bare_name(node)
    if name is not None:
        named = [value for label, value in columns if label == name]
        if named:
            return Value(union(named))
    return expr(walk, scope, node)


def _ordinal(walk: Walk, columns: tuple[Column, ...], node: Node) -> Value | None:
    if "A_Const" not in node:
        return None
    walk.by_text()
    number: int = node["A_Const"].get("ival", {}).get("ival", 0)
    if not 0 < number <= len(columns):
        refuse("a position in the output list is out of range")
    return columns[number - 1][1]


def _bare_name(node: Node) -> str | None:
    fields = node.get("ColumnRef", {}).get("fields", ())
    if len(fields) != 1 or "String" not in fields[0]:
        return None
    return cut(fields[0]["String"]["sval"])


def group_key(walk: Walk, scope: Scope, columns: tuple[Column, ...], node: Node) -> None:
    """Note one key of a GROUP BY."""
    if "GroupingSet" in node:
        for inner in node["GroupingSet"].get("content", ()):
            group_key(walk, scope, columns, inner)
        return
    if "RowExpr" in node and node["RowExpr"].get("row_format") == "COERCE_IMPLICIT_CAST":
        for inner in node["RowExpr"].get("args", ()):
            group_key(walk, scope, columns, inner)
        return
    with walk.at("group"):
        if (by_number := _ordinal(walk, columns, node)) is not None:
            walk.use(by_number.refs)
            return
        name = _bare_name(node)
        # GROUP BY prefers a column of this level; both are noted where both could be meant.
        named = [value for label, value in columns if label == name]
        if named:
            walk.use(union(named))
            own = Scope(None, scope.items)
            if name is None or own.find_column(name) is None:
                return
        operand(walk, scope, node)


def sort_by_output(walk: Walk, columns: tuple[Column, ...], node: Node) -> None:
    """Note the keys of an ORDER BY that may name outputs only."""
    for key in node.get("sortClause", ()):
        body = key["SortBy"]
        check_fields("ORDER BY", body, SORT_BY)
        value = _ordinal(walk, columns, body["node"])
        if value is None:
            name = _bare_name(body["node"])
            named = [value for label, value in columns if label == name]
            if not named:
                refuse("ORDER BY of a set operation takes output names and positions only")
            value = Value(union(named))
        walk.use(value.refs, "order")
        if "useOp" in body:
            calls.operator(walk, body["useOp"], value, value)


def unite(
    walk: Walk, node: Node, left: tuple[Column, ...], right: tuple[Column, ...]
) -> tuple[Column, ...]:
    """Return the columns of a set operation, position by position."""
    if len(left) != len(right):
        refuse("the queries of a set operation have different numbers of columns")
    columns = tuple(
        (
            name,
            Value(
                one.refs | other.refs if other.refs else one.refs,
                False,
                one.type_oid if one.type_oid == other.type_oid else UNTYPED,
            ),
        )
        for (name, one), (_, other) in zip(left, right, strict=True)
    )
    if node["op"] != "SETOP_UNION" or not node.get("all"):
        walk.use(union([value for _, value in columns]), "distinct")
    return columns
