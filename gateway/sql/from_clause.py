"""FROM: what each item contributes to the namespace, joins and functions included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.errors import quote_name
from gateway.sql import calls
from gateway.sql.catalog import Relation
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.expressions import TYPE_NAME, clause, expr, operand, operands
from gateway.sql.scope import (
    Cte,
    Item,
    Scope,
    alias_of,
    index,
    no_relation,
    relation_item,
    rename,
    string_list,
)
from gateway.sql.subqueries import query_columns
from gateway.sql.values import INT8, UNTYPED, Column, Value, derived, union

RANGE_VAR: Final = frozenset(
    "catalogname schemaname relname inh relpersistence alias location".split()
)
_READABLE_KINDS: Final = frozenset(
    {"table", "partitioned", "view", "matview", "foreign", "sequence"}
)

Contribution = tuple[list[Item], tuple[Column, ...]]
CteColumns = Callable[[Walk, Scope, Cte], tuple[Column, ...]]
_cte_columns: list[CteColumns] = []


def provide_ctes(function: CteColumns) -> None:
    """Set the function that analyses a CTE on first reference (`query` does)."""
    _cte_columns[:] = [function]


def from_list(walk: Walk, scope: Scope, nodes: list[Node]) -> None:
    """Add the items of a FROM list to `scope`, each seeing those before it if it is LATERAL."""
    for node in nodes:
        items, _ = from_item(walk, scope, node, scope.items)
        names = {item.name for item in scope.items if item.rel_visible and not item.schema}
        for item in items:
            if item.rel_visible and not item.schema and item.name and item.name in names:
                refuse(f"table name {quote_name(item.name)} is given twice")
        scope.items.extend(items)


def from_item(walk: Walk, scope: Scope, node: Node, visible: list[Item]) -> Contribution:
    """Return the namespace items of one FROM item and the columns `*` gives for it."""
    ((kind, body),) = node.items()
    walk.count()
    walk.deeper()
    if kind == "RangeVar":
        item = range_var(walk, scope, body)
        result: Contribution = [item], item.columns
    elif kind == "JoinExpr":
        result = _join(walk, scope, body, visible)
    else:
        handler = _ITEMS.get(kind)
        if handler is None:
            refuse(f"{kind} is not analysed in FROM")
        item = handler(walk, scope, body, visible)
        result = [item], item.columns
    walk.depth -= 1
    return result


def range_var(walk: Walk, scope: Scope, node: Node) -> Item:
    """Resolve a table name: a CTE first when unqualified, then the search path."""
    check_fields("RangeVar", node, RANGE_VAR)
    alias, names = alias_of(node)
    name, schema = node["relname"], node.get("schemaname", "")
    if not schema and (found := scope.find_cte(name)) is not None:
        cte, level = found
        columns = rename(_cte_columns[0](walk, level, cte), names)
        return Item(alias or name, columns, index(columns), relations=cte.relations)
    relation = target(walk, node)
    if relation.ref.kind not in _READABLE_KINDS:
        raise no_relation(schema, name)
    walk.read_relation(relation)
    return relation_item(relation, alias, names)


def target(walk: Walk, node: Node) -> Relation:
    """Return the stored relation that a RangeVar means. Raises NotGranted when unknown."""
    if "catalogname" in node:
        refuse("a relation is named with a database, which is not analysed")
    schema, name = node.get("schemaname", ""), node["relname"]
    relation = walk.catalog.find_relation(schema, name, walk.path)
    if relation is None:
        raise no_relation(schema, name)
    return relation


# -- joins ----------------------------------------------------------------------------------

_JOIN: Final = frozenset(
    "jointype isNatural larg rarg usingClause join_using_alias quals alias rtindex".split()
)


def _join(walk: Walk, scope: Scope, node: Node, visible: list[Item]) -> Contribution:
    check_fields("JoinExpr", node, _JOIN)
    kind = node["jointype"]
    if kind not in ("JOIN_INNER", "JOIN_LEFT", "JOIN_RIGHT", "JOIN_FULL"):
        refuse(f"{kind} is not analysed")
    left_items, left = from_item(walk, scope, node["larg"], visible)
    right_items, right = from_item(walk, scope, node["rarg"], [*visible, *left_items])
    inputs = [*left_items, *right_items]
    if node.get("isNatural"):
        right_names = {name for name, _ in right}
        shared = [name for name, _ in left if name in right_names]
    else:
        shared = string_list(node.get("usingClause"))
    merged = _merge(walk, kind, shared, left, right)
    if "quals" in node:
        inner = Scope(scope.parent, inputs, scope.ctes, scope.windows)
        clause(walk, inner, node["quals"], "join")
    rest = tuple(column for column in (*left, *right) if column[0] not in set(shared))
    columns = (*merged, *rest)
    alias, names = alias_of(node)
    relations = tuple(relation for item in inputs for relation in item.relations)
    columns = rename(columns, names)
    joined = Item(alias, columns, index(columns), relations=relations, rel_visible=bool(alias))
    joined.is_certain = all(item.is_certain for item in inputs)
    if alias:
        return [joined], columns
    for item in inputs:
        item.cols_visible = False
    items = [*inputs, joined]
    if "join_using_alias" in node:
        name = node["join_using_alias"]["aliasname"]
        items.append(Item(name, tuple(merged), index(merged), cols_visible=False))
    return items, columns


def _merge(
    walk: Walk, kind: str, shared: list[str], left: tuple[Column, ...], right: tuple[Column, ...]
) -> list[Column]:
    """Return the merged columns of USING or NATURAL, one name after the other."""
    merged: list[Column] = []
    if not shared:
        return merged
    left_index, right_index = index(left), index(right)
    for name in shared:
        one, other = left_index.get(name), right_index.get(name)
        if one is None or other is None or -1 in (one.type_oid, other.type_oid):
            refuse(f"column {quote_name(name)} in USING cannot be resolved")
        walk.use(one.refs, "join")
        walk.use(other.refs, "join")
        walk.reads.update(one.refs, other.refs)
        calls.operator_name(walk, "=", one, other)
        if kind == "JOIN_FULL" or one.type_oid != other.type_oid:
            merged.append((name, Value(one.refs | other.refs, False, one.type_oid)))
        else:
            merged.append((name, other if kind == "JOIN_RIGHT" else one))
    return merged


# -- subqueries and samples -----------------------------------------------------------------


def _subselect(walk: Walk, scope: Scope, node: Node, visible: list[Item]) -> Item:
    check_fields("RangeSubselect", node, frozenset({"lateral", "subquery", "alias"}))
    alias, names = alias_of(node)
    parent = scope.for_subquery(visible if node.get("lateral") else None)
    before = set(walk.read_relations)
    with walk.at("expression"):
        columns = rename(query_columns(walk, parent, node["subquery"]), names)
    relations = tuple(
        relation for oid, relation in walk.read_relations.items() if oid not in before
    )
    return Item(alias, columns, index(columns), relations=relations, rel_visible=bool(alias))


def _sample(walk: Walk, scope: Scope, node: Node, visible: list[Item]) -> Item:
    check_fields(
        "RangeTableSample", node, frozenset("relation method args repeatable location".split())
    )
    method = string_list(node["method"])
    if method[-1] not in ("system", "bernoulli") or len(method) > 1:
        refuse("a sampling method other than system and bernoulli is not analysed")
    walk.by_text()
    items, _ = from_item(walk, scope, node["relation"], visible)
    with walk.at("where"):
        operands(walk, scope.for_subquery(), node.get("args"))
        if "repeatable" in node:
            operand(walk, scope.for_subquery(), node["repeatable"])
    return items[0]


# -- functions ------------------------------------------------------------------------------

_RANGE_FUNCTION: Final = frozenset(
    "lateral ordinality is_rowsfrom functions alias coldeflist".split()
)
COLUMN_DEF: Final = frozenset("colname typeName is_local collClause location fdwoptions".split())


def _function(walk: Walk, scope: Scope, node: Node, visible: list[Item]) -> Item:
    check_fields("RangeFunction", node, _RANGE_FUNCTION)
    alias, names = alias_of(node)
    inner = Scope(scope.parent, visible, scope.ctes, scope.windows)
    calls_in = [single for entry in node["functions"] for single in _unnested(entry)]
    columns: list[Column] = []
    is_certain = True
    row = 0
    name = ""
    for entry in calls_in:
        call_node, *definition = entry["List"]["items"]
        with walk.at("function"):
            value = operand(walk, inner, call_node)
        described = definition[0] if definition else None
        named = described.get("List", {}).get("items") if described else None
        definitions = named or (node.get("coldeflist") if len(calls_in) == 1 else None)
        name = name or _call_name(call_node)
        found, sure, row_of = _function_columns(
            walk, call_node, value, definitions, alias if len(calls_in) == 1 else ""
        )
        columns += found
        is_certain = is_certain and sure
        row = row_of if len(calls_in) == 1 and not node.get("ordinality") else 0
    if node.get("ordinality"):
        columns.append(("ordinality", Value(type_oid=INT8)))
    if len(names) > len(columns) and not is_certain:
        refs = union([value for _, value in columns])
        columns += [("", Value(refs))] * (len(names) - len(columns))
    renamed = rename(tuple(columns), names)
    return Item(alias or name, renamed, index(renamed), row=row, is_certain=is_certain)


def _unnested(entry: Node) -> list[Node]:
    """Return `unnest(a, b)` as the calls that PostgreSQL makes of it, all else as it is."""
    call_node = entry["List"]["items"][0]
    body = call_node.get("FuncCall", {})
    args = body.get("args", ())
    if len(args) < 2 or string_list(body["funcname"]) != ["unnest"]:
        return [entry]
    if not body.keys() <= {"funcname", "args", "funcformat", "location"}:
        refuse("unnest of several arrays takes no further clauses")
    return [
        {"List": {"items": [{"FuncCall": {**body, "args": [arg]}}, *entry["List"]["items"][1:]]}}
        for arg in args
    ]


def _call_name(node: Node) -> str:
    ((kind, body),) = node.items()
    if kind == "FuncCall":
        return string_list(body["funcname"])[-1]
    if kind == "SQLValueFunction":
        return str(body["op"]).removeprefix("SVFOP_").lower().removesuffix("_n")
    return {"CoalesceExpr": "coalesce", "MinMaxExpr": "greatest"}.get(kind, "")


def _function_columns(
    walk: Walk, node: Node, value: Value, definitions: list[Node] | None, alias: str
) -> tuple[list[Column], bool, int]:
    """Return a function's columns in FROM, whether they are certain, and its row relation."""
    if definitions:
        named = []
        for definition in definitions:
            body = definition["ColumnDef"]
            check_fields("ColumnDef", body, COLUMN_DEF)
            check_fields("TypeName", body["typeName"], TYPE_NAME)
            info = calls.find_type(walk, body["typeName"])
            cast = calls.cast(walk, value, info, is_constant=False)
            named.append((body["colname"], cast))
        return named, True, 0
    relation = walk.catalog.by_oid.get(value.row)
    if relation is not None:
        fields = list(calls.row_columns(value.refs, relation))
        return fields, True, relation.oid
    body = node.get("FuncCall")
    if body is None:
        return [(alias or _call_name(node), derived(value))], True, 0
    return _declared_columns(walk, body, value, alias)


def _declared_columns(
    walk: Walk, body: Node, value: Value, alias: str
) -> tuple[list[Column], bool, int]:
    parts = string_list(body["funcname"])
    schema = parts[0] if len(parts) > 1 else ""
    count = len(body.get("args", ()))
    builtin, user = calls.find_functions(walk, schema, parts[-1], count)
    overloads = [*builtin, *user]
    if parts[-1] == "unnest" and not user:
        one = (alias if count == 1 else "") or "unnest"
        columns = [(one, Value(value.refs, False, _scalar_type(value)))] * max(count, 1)
        return columns, count == 1 and value.type_oid != UNTYPED, 0
    shapes = {info.out_columns for info in overloads}
    scalar = [(alias or parts[-1], Value(value.refs, False, _scalar_type(value)))]
    if len(shapes) != 1:
        return scalar, False, 0
    shape = shapes.pop()
    if shape is None:
        # A polymorphic or record result may have any columns.
        return scalar, value.type_oid != UNTYPED, 0
    if len(shape) == 1 and shape[0][0].startswith("column"):
        return scalar, True, 0
    return [(name, Value(value.refs, False, type_oid)) for name, type_oid in shape], True, 0


def _scalar_type(value: Value) -> int:
    return value.type_oid if value.type_oid > 0 else UNTYPED


# -- XMLTABLE -------------------------------------------------------------------------------


def _xml_table(walk: Walk, scope: Scope, node: Node, visible: list[Item]) -> Item:
    check_fields(
        "RangeTableFunc",
        node,
        frozenset("lateral docexpr rowexpr namespaces columns alias location".split()),
    )
    walk.by_text()
    inner = Scope(scope.parent, visible, scope.ctes, scope.windows)
    with walk.at("function"):
        values = [operand(walk, inner, node[key]) for key in ("docexpr", "rowexpr")]
        namespaces = node.get("namespaces", ())
        values += [operand(walk, inner, one["ResTarget"]["val"]) for one in namespaces]
        names = []
        for column in node["columns"]:
            body = column["RangeTableFuncCol"]
            check_fields("RangeTableFuncCol", body, _XML_COLUMN)
            names.append(body["colname"])
            for key in ("colexpr", "coldefexpr"):
                if key in body:
                    values.append(expr(walk, inner, body[key]))
                    walk.use(values[-1].refs)
    alias, renames = alias_of(node)
    columns = rename(tuple((name, Value(union(values))) for name in names), renames)
    return Item(alias or "xmltable", columns, index(columns))


_XML_COLUMN: Final = frozenset(
    "colname typeName for_ordinality is_not_null colexpr coldefexpr location".split()
)
ItemHandler = Callable[[Walk, Scope, Node, list[Item]], Item]
_ITEMS: dict[str, ItemHandler] = {
    "RangeSubselect": _subselect,
    "RangeTableSample": _sample,
    "RangeFunction": _function,
    "RangeTableFunc": _xml_table,
}


def register_item(kind: str, handler: ItemHandler) -> None:
    """Add the handler of one more kind of FROM item (see `sqljson`)."""
    _ITEMS[kind] = handler
