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
from gateway.sql.scope import Scope, cut, string_list
from gateway.sql.values import (
    BOOL,
    CLEAR,
    INT4,
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
        # A long integer is int8 or numeric by its value.
        return Value(type_oid=UNTYPED if node["fval"]["fval"].isdigit() else NUMERIC)
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
    return Value(union(values), False, array_type(walk, _common_type(values)))


def array_type(walk: Walk, element: int) -> int:
    """Return the array type of an element type, 0 when not known."""
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


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())


_HANDLERS: dict[str, tuple[frozenset[str], Handler]] = {
    "ColumnRef": (_fields("fields location"), _column_ref),
    "A_Const": (_fields("ival fval boolval sval bsval isnull location"), _const),
    "ParamRef": (_fields("number location"), _param),
    "BoolExpr": (_fields("boolop args location"), _bool_expr),
    "NullTest": (_fields("arg nulltesttype location"), _test),
    "BooleanTest": (_fields("arg booltesttype location"), _test),
    "TypeCast": (_fields("arg typeName location"), _type_cast),
    "A_Indirection": (_fields("arg indirection"), _indirection),
    "A_ArrayExpr": (_fields("elements list_start list_end location"), _array),
    "RowExpr": (_fields("args row_format colnames location"), _row),
    "List": (_fields("items"), _list),
    "CaseExpr": (_fields("arg args defresult location"), _case),
    "CoalesceExpr": (_fields("args location"), _args_only),
    "MinMaxExpr": (_fields("op args location"), _args_only),
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
