"""The walk over expressions: what each value depends on, and which columns show on the way.

Total by construction: `_HANDLERS` lists every node that may appear and each handler the fields
it knows; anything else refuses the statement. An operand is *consumed* (its columns become uses
at the current place); a value passed through untouched is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.errors import quote_name
from gateway.sql import calls
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.facts import ColumnRef
from gateway.sql.functions import AGGREGATES, WINDOW
from gateway.sql.scope import Scope, cut, string_list
from gateway.sql.subqueries import query_columns
from gateway.sql.values import (
    BOOL,
    CLEAR,
    INT4,
    NO_REFS,
    NUMERIC,
    TEXT,
    UNKNOWN,
    UNTYPED,
    Value,
    union,
)

Handler = Callable[[Walk, Scope, Node], Value]


def expr(walk: Walk, scope: Scope, node: Node) -> Value:
    """Return what `node` evaluates to. Raises NotUnderstood, NotGranted or TooComplex."""
    ((kind, body),) = node.items()
    found = _HANDLERS.get(kind)
    if found is None:
        refuse(f"{kind} is not analysed in this place")
    fields, handler = found
    if not body.keys() <= fields:
        check_fields(kind, body, fields)
    walk.nodes += 1
    if walk.nodes & 1023 == 0:
        walk.nodes -= 1
        walk.count()
    walk.deeper()
    value = handler(walk, scope, body)
    walk.depth -= 1
    return value


def operand(walk: Walk, scope: Scope, node: Node) -> Value:
    """Evaluate `node` and consume it: its columns show at the current place."""
    value = expr(walk, scope, node)
    if value.refs:
        walk.use(value.refs)
    return value


def operands(walk: Walk, scope: Scope, nodes: list[Node] | None) -> list[Value]:
    """Evaluate and consume each of `nodes`."""
    return [operand(walk, scope, node) for node in nodes or ()]


def clause(walk: Walk, scope: Scope, node: Node | None, place: str) -> None:
    """Evaluate a clause whose value decides about rows; everything in it is used at `place`."""
    if node is None:
        return
    before, walk.place = walk.place, place
    operand(walk, scope, node)
    walk.place = before


# -- columns --------------------------------------------------------------------------------


def _column_ref(walk: Walk, scope: Scope, node: Node) -> Value:
    fields = node["fields"]
    if "A_Star" in fields[-1]:
        return _whole_row(walk, scope, fields[:-1])
    names = [cut(name) for name in string_list(fields)]
    if len(names) == 1:
        value = scope.find_column(names[0])
        if value is None:
            item = scope.find_item(names[0])
            if item is None:
                refuse(f"column {quote_name(names[0])} cannot be resolved")
            return _row_of(walk, item.refs(), item.row)
    else:
        value = qualified(scope, names)
    if value.refs:
        walk.reads.update(value.refs)
    return value


def qualified(scope: Scope, names: list[str]) -> Value:
    """Return the column that `table.column` or `schema.table.column` means."""
    if len(names) > 3:
        refuse("a column is named with a database, which is not analysed")
    schema = names[0] if len(names) == 3 else ""
    item = scope.find_item(names[-2], schema)
    if item is None:
        refuse(f"{quote_name(names[-2])} is not a table of this query")
    value = item.find(names[-1])
    if value is None and not item.is_certain:
        value = Value(item.refs())
    if value is None:
        # It could only be a function applied to the row: a user's function.
        refuse(f"column {quote_name(*names[-2:])} cannot be resolved")
    return value


def _whole_row(walk: Walk, scope: Scope, fields: list[Node]) -> Value:
    names = [cut(name) for name in string_list(fields)]
    if not names:
        refuse("* is not analysed in this place")
    item = scope.find_item(names[-1], names[-2] if len(names) > 1 else "")
    if item is None:
        refuse(f"{quote_name(names[-1])} is not a table of this query")
    return _row_of(walk, item.refs(), item.row)


def _row_of(walk: Walk, refs: frozenset[ColumnRef], row: int) -> Value:
    walk.by_text()
    walk.reads.update(refs)
    walk.use(refs, "whole_row")
    return Value(refs, False, UNTYPED, row)


def _indirection(walk: Walk, scope: Scope, node: Node) -> Value:
    steps = node["indirection"]
    value = row_field(walk, scope, node["arg"], steps)
    if value is not None:
        return value
    base = operand(walk, scope, node["arg"])
    row, refs = base.row, base.refs
    type_oid = UNTYPED
    for step in steps:
        if "A_Indices" in step:
            bounds = step["A_Indices"]
            check_fields("A_Indices", bounds, _INDICES)
            for key in ("lidx", "uidx"):
                if key in bounds:
                    operand(walk, scope, bounds[key])
            info = walk.catalog.types_by_oid.get(type_oid or base.type_oid)
            type_oid = info.element if info is not None else UNTYPED
            row = 0
        elif "String" in step:
            field = _field(walk, row, refs, step["String"]["sval"])
            type_oid, row, refs = field.type_oid, field.row, field.refs
        else:
            refuse("* of a composite value is not analysed in this place")
    return Value(refs, False, type_oid, row)


def row_field(walk: Walk, scope: Scope, arg: Node, steps: list[Node]) -> Value | None:
    """Return the column that `(table).column` means; None when `arg` is not a whole table."""
    reference = arg.get("ColumnRef")
    if reference is None or len(steps) != 1 or "String" not in steps[0]:
        return None
    names = [cut(name) for name in string_list(reference["fields"]) ] if not any(
        "A_Star" in field for field in reference["fields"]
    ) else []  # fmt: skip
    if len(names) != 1 or scope.find_column(names[0]) is not None:
        return None
    item = scope.find_item(names[0])
    if item is None:
        return None
    value = qualified(scope, [names[0], cut(steps[0]["String"]["sval"])])
    walk.reads.update(value.refs)
    return value


def _field(walk: Walk, row: int, refs: frozenset[ColumnRef], name: str) -> Value:
    relation = walk.catalog.by_oid.get(row)
    if relation is None:
        return Value(refs)
    value = dict(calls.row_columns(refs, relation)).get(name)
    if value is None:
        refuse(f"field {quote_name(name)} cannot be resolved")
    nested = walk.catalog.row_relation(value.type_oid)
    return Value(value.refs, False, value.type_oid, nested.oid if nested is not None else 0)


# -- constants and simple forms -------------------------------------------------------------


def _const(_walk: Walk, _scope: Scope, node: Node) -> Value:
    if "ival" in node:
        return _INT
    if "sval" in node or node.get("isnull"):
        return _LITERAL
    if "fval" in node:
        return Value(type_oid=NUMERIC)
    return _BOOLEAN if "boolval" in node else CLEAR


def _param(walk: Walk, _scope: Scope, node: Node) -> Value:
    number = node.get("number", 0)
    known = walk.param_oids
    return Value(type_oid=known[number - 1] if 0 < number <= len(known) else UNTYPED)


def _sql_value(_walk: Walk, _scope: Scope, _node: Node) -> Value:
    return CLEAR


def _args_only(walk: Walk, scope: Scope, node: Node) -> Value:
    values = operands(walk, scope, node.get("args"))
    return Value(union(values), False, _common_type(values))


def _bool_expr(walk: Walk, scope: Scope, node: Node) -> Value:
    return Value(union(operands(walk, scope, node["args"])), False, BOOL)


def _test(walk: Walk, scope: Scope, node: Node) -> Value:
    return Value(operand(walk, scope, node["arg"]).refs, False, BOOL)


def _array(walk: Walk, scope: Scope, node: Node) -> Value:
    values = operands(walk, scope, node.get("elements"))
    return Value(union(values), False, _array_type(walk, _common_type(values)))


def _array_type(walk: Walk, element: int) -> int:
    info = walk.catalog.types_by_oid.get(TEXT if element == UNKNOWN else element)
    if info is None:
        return UNTYPED
    array = walk.catalog.types.get((info.schema, f"_{info.name}"))
    return array.oid if array is not None and array.element == info.oid else UNTYPED


def _row(walk: Walk, scope: Scope, node: Node) -> Value:
    return Value(union(operands(walk, scope, node.get("args"))))


def _list(walk: Walk, scope: Scope, node: Node) -> Value:
    values = operands(walk, scope, node.get("items"))
    return Value(union(values), False, _common_type(values))


def _common_type(values: list[Value]) -> int:
    types = {value.type_oid for value in values} - {UNKNOWN}
    if not types:
        return UNKNOWN
    return types.pop() if len(types) == 1 else UNTYPED


def _case(walk: Walk, scope: Scope, node: Node) -> Value:
    test = operand(walk, scope, node["arg"]) if "arg" in node else None
    values: list[Value] = [test] if test is not None else []
    for branch in node["args"]:
        when = branch["CaseWhen"]
        check_fields("CaseWhen", when, _CASE_WHEN)
        condition = operand(walk, scope, when["expr"])
        if test is not None:
            calls.operator_name(walk, "=", test, condition)
        values += [condition, operand(walk, scope, when["result"])]
    if "defresult" in node:
        values.append(operand(walk, scope, node["defresult"]))
    return Value(union(values))


def _collate(walk: Walk, scope: Scope, node: Node) -> Value:
    value = operand(walk, scope, node["arg"])
    return Value(value.refs, False, value.type_oid)


def _named_arg(walk: Walk, scope: Scope, node: Node) -> Value:
    return expr(walk, scope, node["arg"])


def _default(_walk: Walk, _scope: Scope, _node: Node) -> Value:
    return CLEAR


def _multi_assign(walk: Walk, scope: Scope, node: Node) -> Value:
    value = operand(walk, scope, node["source"])
    return Value(value.refs)


def _type_cast(walk: Walk, scope: Scope, node: Node) -> Value:
    type_name = node["typeName"]
    check_fields("TypeName", type_name, TYPE_NAME)
    info = calls.find_type(walk, type_name)
    for modifier in type_name.get("typmods", ()):
        operand(walk, scope, modifier)
    source = operand(walk, scope, node["arg"])
    return calls.cast(walk, source, info, is_constant="A_Const" in node["arg"])


# -- operators and subqueries ---------------------------------------------------------------

_BETWEEN: Final = frozenset(
    {"AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN", "AEXPR_BETWEEN_SYM", "AEXPR_NOT_BETWEEN_SYM"}
)
_PREDICATES: Final = frozenset(
    {"=", "<>", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~", "~*", "!~*"}
)


def _a_expr(walk: Walk, scope: Scope, node: Node) -> Value:
    kind = node["kind"]
    left = operand(walk, scope, node["lexpr"]) if "lexpr" in node else None
    right = operand(walk, scope, node["rexpr"]) if "rexpr" in node else None
    refs = NO_REFS
    if left is not None:
        refs = left.refs
    if right is not None and right.refs:
        refs = refs | right.refs
    if kind in _BETWEEN:
        for name in (">=", "<="):
            calls.operator_name(walk, name, left, right)
        return Value(refs, False, BOOL)
    if kind in ("AEXPR_OP_ANY", "AEXPR_OP_ALL"):
        right = _element(walk, right)
    calls.operator(walk, node["name"], left, right)
    if kind == "AEXPR_NULLIF":
        return Value(refs, False, left.type_oid if left is not None else UNTYPED)
    name = node["name"][-1]["String"]["sval"]
    if name in _PREDICATES or kind != "AEXPR_OP":
        return Value(refs, False, BOOL)
    same = left is not None and right is not None and left.type_oid == right.type_oid
    return Value(refs, False, left.type_oid if same and left is not None else UNTYPED)


def _element(walk: Walk, value: Value | None) -> Value | None:
    if value is None or value.type_oid == UNKNOWN:
        return value
    info = walk.catalog.types_by_oid.get(value.type_oid)
    return Value(value.refs, False, info.element if info is not None else UNTYPED)


def _sublink(walk: Walk, scope: Scope, node: Node) -> Value:
    kind = node["subLinkType"]
    refs = NO_REFS
    test = None
    if "testexpr" in node:
        test = operand(walk, scope, node["testexpr"])
        refs = test.refs
    with walk.at("expression"):
        columns = query_columns(walk, scope, node["subselect"])
    if kind == "EXISTS_SUBLINK":
        return Value(type_oid=BOOL)
    values = [value for _, value in columns]
    inner = union(values)
    walk.use(inner)
    refs = refs | inner
    type_oid = values[0].type_oid if len(values) == 1 else UNTYPED
    if kind in ("ANY_SUBLINK", "ALL_SUBLINK"):
        right = values[0] if len(values) == 1 else Value()
        if "operName" in node:
            calls.operator(walk, node["operName"], test, right)
        else:
            calls.operator_name(walk, "=", test, right)
        return Value(refs, False, BOOL)
    if kind == "ARRAY_SUBLINK":
        type_oid = _array_type(walk, type_oid)
    elif kind not in ("EXPR_SUBLINK", "MULTIEXPR_SUBLINK"):
        refuse(f"{kind} is not analysed")
    row = values[0].row if len(values) == 1 and kind == "EXPR_SUBLINK" else 0
    return Value(refs, False, type_oid, row)


# -- functions ------------------------------------------------------------------------------


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
        element = _element(walk, values[0])
        return element.type_oid if element is not None and first != UNKNOWN else UNTYPED
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


def _grouping(walk: Walk, scope: Scope, node: Node) -> Value:
    values = operands(walk, scope, node.get("args"))
    return Value(union(values), False, INT4)


def _current_of(walk: Walk, _scope: Scope, _node: Node) -> Value:
    walk.by_text()
    return Value(type_oid=BOOL)


_INT: Final = Value(type_oid=INT4)
_LITERAL: Final = Value(type_oid=UNKNOWN)
_BOOLEAN: Final = Value(type_oid=BOOL)
_INDICES: Final = frozenset({"is_slice", "lidx", "uidx"})
_CASE_WHEN: Final = frozenset({"expr", "result", "location"})
TYPE_NAME: Final = frozenset(
    {"names", "typemod", "typmods", "arrayBounds", "location", "pct_type", "setof"}
)
SORT_BY: Final = frozenset({"node", "sortby_dir", "sortby_nulls", "useOp", "location"})
_WINDOW_DEF: Final = frozenset(
    "name refname partitionClause orderClause frameOptions startOffset endOffset location".split()
)


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())


_HANDLERS: dict[str, tuple[frozenset[str], Handler]] = {
    "ColumnRef": (_fields("fields location"), _column_ref),
    "A_Const": (_fields("ival fval boolval sval bsval isnull location"), _const),
    "ParamRef": (_fields("number location"), _param),
    "A_Expr": (
        _fields("kind name lexpr rexpr rexpr_list_start rexpr_list_end location"),
        _a_expr,
    ),
    "BoolExpr": (_fields("boolop args location"), _bool_expr),
    "NullTest": (_fields("arg nulltesttype location"), _test),
    "BooleanTest": (_fields("arg booltesttype location"), _test),
    "TypeCast": (_fields("arg typeName location"), _type_cast),
    "FuncCall": (
        _fields(
            "funcname args agg_order agg_filter over agg_within_group agg_star agg_distinct "
            "func_variadic funcformat location"
        ),
        _func_call,
    ),
    "A_Indirection": (_fields("arg indirection"), _indirection),
    "A_ArrayExpr": (_fields("elements list_start list_end location"), _array),
    "RowExpr": (_fields("args row_format colnames location"), _row),
    "List": (_fields("items"), _list),
    "CaseExpr": (_fields("arg args defresult location"), _case),
    "CoalesceExpr": (_fields("args location"), _args_only),
    "MinMaxExpr": (_fields("op args location"), _args_only),
    "SubLink": (_fields("subLinkType testexpr operName subselect location"), _sublink),
    "SQLValueFunction": (_fields("op typmod location"), _sql_value),
    "CollateClause": (_fields("arg collname location"), _collate),
    "NamedArgExpr": (_fields("arg name argnumber location"), _named_arg),
    "SetToDefault": (_fields("typeMod location"), _default),
    "MultiAssignRef": (_fields("source colno ncolumns"), _multi_assign),
    "GroupingFunc": (_fields("args location"), _grouping),
    "CurrentOfExpr": (_fields("cursor_name cursor_param"), _current_of),
}


def register(kind: str, fields: str, handler: Handler) -> None:
    """Add the handler of one more expression node (see `sqljson`)."""
    _HANDLERS[kind] = (_fields(fields), handler)


def handled() -> dict[str, frozenset[str]]:
    """Return the expression nodes with a rule, and the fields each rule knows."""
    return {kind: fields for kind, (fields, _) in _HANDLERS.items()}
