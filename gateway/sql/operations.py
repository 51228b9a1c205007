"""Operators and subqueries as expressions."""

from __future__ import annotations

from typing import Final

from gateway.sql import calls
from gateway.sql.effects import Node, Walk, refuse
from gateway.sql.expressions import array_type, operand, register
from gateway.sql.scope import Scope
from gateway.sql.subqueries import query_columns
from gateway.sql.values import BOOL, NO_REFS, UNKNOWN, UNTYPED, Value, union

_BETWEEN: Final = frozenset(
    {"AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN", "AEXPR_BETWEEN_SYM", "AEXPR_NOT_BETWEEN_SYM"}
)
_PREDICATES: Final = frozenset(
    {"=", "<>", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~", "~*", "!~*"}
)


def _operands(walk: Walk, scope: Scope, node: Node) -> tuple[Value | None, Value | None]:
    left = operand(walk, scope, node["lexpr"]) if "lexpr" in node else None
    right = operand(walk, scope, node["rexpr"]) if "rexpr" in node else None
    return left, right


def _is_equality(node: Node) -> bool:
    """Whether this is `column = constant`, which tells no more of a value than a guess does."""
    if node["kind"] != "AEXPR_OP" or [n["String"]["sval"] for n in node["name"]] != ["="]:
        return False
    sides = (node.get("lexpr", {}), node.get("rexpr", {}))
    return any("ColumnRef" in side for side in sides) and any(map(_is_constant, sides))


def _is_constant(node: Node) -> bool:
    while "TypeCast" in node:
        node = node["TypeCast"]["arg"]
    return "A_Const" in node or "ParamRef" in node


def _a_expr(walk: Walk, scope: Scope, node: Node) -> Value:
    kind = node["kind"]
    if walk.place == "where" and _is_equality(node):
        with walk.at("equality"):
            left, right = _operands(walk, scope, node)
        calls.operator(walk, node["name"], left, right)
        # What the answer depends on is noted as just that; it is no use of another kind.
        return Value(type_oid=BOOL)
    left, right = _operands(walk, scope, node)
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
        right = element(walk, right)
    calls.operator(walk, node["name"], left, right)
    if kind == "AEXPR_NULLIF":
        return Value(refs, False, left.type_oid if left is not None else UNTYPED)
    name = node["name"][-1]["String"]["sval"]
    if name in _PREDICATES or kind != "AEXPR_OP":
        return Value(refs, False, BOOL)
    same = left is not None and right is not None and left.type_oid == right.type_oid
    return Value(refs, False, left.type_oid if same and left is not None else UNTYPED)


def element(walk: Walk, value: Value | None) -> Value | None:
    """Return an array value as one of its elements."""
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
        type_oid = array_type(walk, type_oid)
    elif kind not in ("EXPR_SUBLINK", "MULTIEXPR_SUBLINK"):
        refuse(f"{kind} is not analysed")
    row = values[0].row if len(values) == 1 and kind == "EXPR_SUBLINK" else 0
    return Value(refs, False, type_oid, row)


register("A_Expr", "kind name lexpr rexpr rexpr_list_start rexpr_list_end location", _a_expr)
register("SubLink", "subLinkType testexpr operName subselect location", _sublink)
