"""Function calls as expressions: arguments, aggregate clauses, windows."""

from __future__ import annotations

from typing import Final

from gateway.sql import calls
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.expressions import SORT_BY, expr, operand, operands, register
from gateway.sql.functions import AGGREGATES, WINDOW
from gateway.sql.operations import element
from gateway.sql.scope import Scope, cut, string_list
from gateway.sql.values import TEXT, UNKNOWN, UNTYPED, Value, union

_WINDOW_DEF: Final = frozenset(
    "name refname partitionClause orderClause frameOptions startOffset endOffset location".split()
)


def _func_call(walk: Walk, scope: Scope, node: Node) -> Value:
    parts = string_list(node["funcname"])
    if len(parts) > 2:
        refuse("a function is named with a database, which is not analysed")
    name = cut(parts[-1])
    schema = parts[0] if len(parts) == 2 else ""
    before = walk.place
    if walk.place == "expression":
        if "over" in node or name in WINDOW:
            walk.place = "window"
        elif name in AGGREGATES:
            walk.place = "aggregate"
    args = node.get("args", [])
    values = operands(walk, scope, args)
    type_oid = calls.call(walk, schema, name, args, values)
    if node.get("agg_distinct"):
        for value in values:
            walk.use(value.refs, "distinct")
    extra = [_sort_key(walk, scope, key) for key in node.get("agg_order", ())]
    if "agg_filter" in node:
        extra.append(operand(walk, scope, node["agg_filter"]))
    if "over" in node:
        extra += window(walk, scope, node["over"])
    walk.place = before
    if type_oid == UNTYPED and values:
        type_oid = _polymorphic_type(walk, name, values)
    row = walk.catalog.row_relation(type_oid) if type_oid else None
    return Value(union(values + extra), False, type_oid, row.oid if row is not None else 0)


def _polymorphic_type(walk: Walk, name: str, values: list[Value]) -> int:
    first = values[0].type_oid
    if name == "unnest" and len(values) == 1:
        one = element(walk, values[0])
        return one.type_oid if one is not None and first != UNKNOWN else UNTYPED
    if name in _FIRST_ARGUMENT_TYPE:
        return TEXT if first == UNKNOWN else first
    return UNTYPED


_FIRST_ARGUMENT_TYPE: Final = frozenset(
    "array_append array_cat array_remove first_value lag last_value lead nth_value "
    "max min abs ceil floor round trunc array_replace jsonb_populate_record "
    "json_populate_record jsonb_populate_recordset json_populate_recordset".split()
)


def _sort_key(walk: Walk, scope: Scope, node: Node) -> Value:
    body = node["SortBy"]
    check_fields("SortBy", body, SORT_BY)
    value = expr(walk, scope, body["node"])
    walk.use(value.refs, "order")
    if "useOp" in body:
        calls.operator(walk, body["useOp"], value, value)
    return value


def window(walk: Walk, scope: Scope, node: Node) -> list[Value]:
    """Evaluate a window definition: its keys decide what the function sees."""
    check_fields("WindowDef", node, _WINDOW_DEF)
    with walk.at("window"):
        values = operands(walk, scope, node.get("partitionClause"))
        values += [_sort_key(walk, scope, key) for key in node.get("orderClause", ())]
        for key in ("startOffset", "endOffset"):
            if key in node:
                walk.by_text()
                values.append(operand(walk, scope, node[key]))
    for name in ("name", "refname"):
        if name in node:
            # The named window's keys were noted where WINDOW defines it.
            values.append(Value(scope.find_window(node[name])))
    return values


register(
    "FuncCall",
    "funcname args agg_order agg_filter over agg_within_group agg_star agg_distinct "
    "func_variadic funcformat location",
    _func_call,
)
