"""The SQL/JSON and SQL/XML forms, which have nodes of their own.

Servers before 16 read some of these words as ordinary function calls, which this newer grammar
does not show: there they are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.sql import calls
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.expressions import TYPE_NAME, operand, register
from gateway.sql.from_clause import register_item
from gateway.sql.invocations import window
from gateway.sql.scope import Item, Scope, alias_of, index, rename
from gateway.sql.subqueries import query_columns
from gateway.sql.values import BOOL, NO_REFS, TEXT, Column, Value, union

_SINCE_CONSTRUCTORS: Final = 160000
_SINCE_QUERIES: Final = 170000
_VALUE: Final = frozenset({"raw_expr", "format"})
_OUTPUT: Final = frozenset({"typeName", "returning"})


def _needs(walk: Walk, version: int) -> None:
    walk.by_text()
    if walk.catalog.server_version < version:
        refuse("SQL/JSON is not analysed for this server version")


def _json_value(walk: Walk, scope: Scope, node: Node) -> Value:
    body = node.get("JsonValueExpr", node)
    check_fields("a JSON value", body, _VALUE)
    return operand(walk, scope, body["raw_expr"])


def _output(walk: Walk, node: Node) -> None:
    output = node.get("output")
    if output is None:
        return
    check_fields("RETURNING", output, _OUTPUT)
    if "typeName" in output:
        check_fields("TypeName", output["typeName"], TYPE_NAME)
        calls.find_type(walk, output["typeName"])


def _key_value(walk: Walk, scope: Scope, node: Node) -> list[Value]:
    body = node.get("JsonKeyValue", node)
    check_fields("a JSON member", body, frozenset({"key", "value"}))
    return [operand(walk, scope, body["key"]), _json_value(walk, scope, body["value"])]


def _object(walk: Walk, scope: Scope, node: Node) -> Value:
    _needs(walk, _SINCE_CONSTRUCTORS)
    _output(walk, node)
    values = [v for entry in node.get("exprs", ()) for v in _key_value(walk, scope, entry)]
    return Value(union(values))


def _array(walk: Walk, scope: Scope, node: Node) -> Value:
    _needs(walk, _SINCE_CONSTRUCTORS)
    _output(walk, node)
    return Value(union([_json_value(walk, scope, entry) for entry in node.get("exprs", ())]))


def _array_query(walk: Walk, scope: Scope, node: Node) -> Value:
    _needs(walk, _SINCE_CONSTRUCTORS)
    _output(walk, node)
    with walk.at("expression"):
        columns = query_columns(walk, scope, node["query"])
    refs = union([value for _, value in columns])
    walk.use(refs)
    return Value(refs)


def _aggregate(walk: Walk, scope: Scope, node: Node) -> Value:
    _needs(walk, _SINCE_CONSTRUCTORS)
    maker = node["constructor"]
    check_fields(
        "a JSON aggregate",
        maker,
        frozenset("output agg_filter agg_order over location".split()),
    )
    _output(walk, maker)
    with walk.at("aggregate"):
        argument = node["arg"]
        if "key" in argument or "JsonKeyValue" in argument:
            values = _key_value(walk, scope, argument)
        else:
            values = [_json_value(walk, scope, argument)]
        for key in maker.get("agg_order", ()):
            values.append(operand(walk, scope, key["SortBy"]["node"]))
        if "agg_filter" in maker:
            values.append(operand(walk, scope, maker["agg_filter"]))
        if "over" in maker:
            values += window(walk, scope, maker["over"])
    return Value(union(values))


def _one(walk: Walk, scope: Scope, node: Node) -> Value:
    _needs(walk, _SINCE_CONSTRUCTORS)
    _output(walk, node)
    inner = node["expr"]
    if "raw_expr" in inner or "JsonValueExpr" in inner:
        return Value(_json_value(walk, scope, inner).refs)
    return Value(operand(walk, scope, inner).refs)


def _is_json(walk: Walk, scope: Scope, node: Node) -> Value:
    _needs(walk, _SINCE_CONSTRUCTORS)
    return Value(operand(walk, scope, node["expr"]).refs, False, BOOL)


def _query_parts(walk: Walk, scope: Scope, node: Node, path: Node | None) -> list[Value]:
    values = [_json_value(walk, scope, node["context_item"])]
    if path is not None:
        values.append(operand(walk, scope, path))
    passing = node.get("passing", ())
    values += [_json_value(walk, scope, entry["JsonArgument"]["val"]) for entry in passing]
    values += _behaviors(walk, scope, node)
    return values


def _behaviors(walk: Walk, scope: Scope, node: Node) -> list[Value]:
    given = [node.get(key, {}) for key in ("on_empty", "on_error")]
    return [operand(walk, scope, one["expr"]) for one in given if "expr" in one]


def _json_function(walk: Walk, scope: Scope, node: Node) -> Value:
    _needs(walk, _SINCE_QUERIES)
    _output(walk, node)
    return Value(union(_query_parts(walk, scope, node, node.get("pathspec"))))


_TABLE: Final = frozenset(
    "context_item pathspec passing columns on_error alias lateral location".split()
)
_TABLE_COLUMN: Final = frozenset(
    "coltype name typeName pathspec format wrapper quotes columns on_empty on_error "
    "location".split()
)


def _json_table(walk: Walk, scope: Scope, node: Node, visible: list[Item]) -> Item:
    _needs(walk, _SINCE_QUERIES)
    check_fields("JSON_TABLE", node, _TABLE)
    inner = Scope(scope.parent, visible, scope.ctes, scope.windows)
    with walk.at("function"):
        values = _query_parts(walk, inner, node, node["pathspec"].get("string"))
        names = list(_table_columns(walk, inner, node["columns"], values))
    refs = union(values)
    alias, renames = alias_of(node)
    columns: tuple[Column, ...] = rename(tuple((name, Value(refs)) for name in names), renames)
    return Item(alias or "json_table", columns, index(columns))


def _table_columns(
    walk: Walk, scope: Scope, nodes: list[Node], values: list[Value]
) -> Iterable[str]:
    for node in nodes:
        body = node["JsonTableColumn"]
        check_fields("a JSON_TABLE column", body, _TABLE_COLUMN)
        values += _behaviors(walk, scope, body)
        if "typeName" in body:
            calls.find_type(walk, body["typeName"])
        if "columns" in body:
            yield from _table_columns(walk, scope, body["columns"], values)
        else:
            yield body["name"]


def _xml(walk: Walk, scope: Scope, node: Node) -> Value:
    values = [operand(walk, scope, entry) for entry in node.get("args", ())]
    named = node.get("named_args", ())
    values += [operand(walk, scope, entry["ResTarget"]["val"]) for entry in named]
    return Value(union(values))


def _xml_serialize(walk: Walk, scope: Scope, node: Node) -> Value:
    calls.find_type(walk, node["typeName"])
    return Value(operand(walk, scope, node["expr"]).refs, False, TEXT)


def _merge_action(walk: Walk, _scope: Scope, _node: Node) -> Value:
    _needs(walk, _SINCE_QUERIES)
    return Value(NO_REFS, False, TEXT)


register("JsonObjectConstructor", "exprs output absent_on_null unique location", _object)
register("JsonArrayConstructor", "exprs output absent_on_null location", _array)
register("JsonArrayQueryConstructor", "query output format absent_on_null location", _array_query)
register("JsonObjectAgg", "constructor arg absent_on_null unique", _aggregate)
register("JsonArrayAgg", "constructor arg absent_on_null", _aggregate)
register("JsonParseExpr", "expr output unique_keys location", _one)
register("JsonScalarExpr", "expr output location", _one)
register("JsonSerializeExpr", "expr output location", _one)
register("JsonIsPredicate", "expr format item_type unique_keys location", _is_json)
register(
    "JsonFuncExpr",
    "op column_name context_item pathspec passing output on_empty on_error wrapper quotes location",
    _json_function,
)
register("MergeSupportFunc", "msftype msfcollid location", _merge_action)
register("XmlExpr", "op name named_args arg_names args xmloption indent typmod location", _xml)
register("XmlSerialize", "xmloption expr typeName indent location", _xml_serialize)
register_item("JsonTable", _json_table)
