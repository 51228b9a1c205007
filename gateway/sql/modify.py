"""INSERT, UPDATE, DELETE and MERGE: what they write, from where, and what they give back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.errors import quote_name
from gateway.sql import ties
from gateway.sql.catalog import Relation
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.expressions import clause, expr
from gateway.sql.from_clause import RANGE_VAR, from_item, from_list, target
from gateway.sql.query import columns_of, provide_modify, target_list, with_clause
from gateway.sql.scope import Item, Scope, alias_of, index, no_relation, relation_item
from gateway.sql.values import CLEAR, Column, Value, derived, union

_WRITABLE: Final = frozenset({"table", "partitioned", "view", "foreign"})
_RES_TARGET: Final = frozenset({"name", "val", "indirection", "location"})


def _write_target(walk: Walk, node: Node) -> tuple[Relation, Item]:
    check_fields("a table name", node, RANGE_VAR)
    relation = target(walk, node)
    if relation.ref.kind not in _WRITABLE:
        raise no_relation(node.get("schemaname", ""), node["relname"])
    if relation.has_rules:
        # Rules may turn the command into any other.
        refuse(f"{quote_name(relation.ref.schema, relation.ref.name)} has rewrite rules")
    alias, names = alias_of(node)
    return relation, relation_item(relation, alias, names)


def _column_names(relation: Relation, targets: Iterable[Node]) -> list[str]:
    names = []
    for entry in targets:
        body = entry["ResTarget"]
        check_fields("a column of a target", body, _RES_TARGET)
        if body["name"] not in relation.by_name:
            refuse(f"column {quote_name(body['name'])} cannot be resolved")
        names.append(body["name"])
    return names


# -- INSERT ---------------------------------------------------------------------------------

_INSERT: Final = frozenset(
    "relation cols selectStmt onConflictClause returningClause withClause override".split()
)


def insert(walk: Walk, parent: Scope, node: Node) -> tuple[Column, ...]:
    """Analyse an INSERT and return the columns of its RETURNING."""
    check_fields("INSERT", node, _INSERT)
    scope = Scope(parent)
    finish = with_clause(walk, scope, node)
    relation, item = _write_target(walk, node["relation"])
    if relation.has_triggers:
        walk.by_text()
    source = _insert_source(walk, scope, node.get("selectStmt"))
    if "cols" in node:
        names = _column_names(relation, node["cols"])
    else:
        names = [column.name for column in relation.columns]
        names = names[: len(source)] if source else names
    walk.effect("rows.insert", relation.ref, names)
    ties.inserted(walk, relation, names)
    inserted = dict(zip(names, source, strict=False))
    if "onConflictClause" in node:
        _on_conflict(walk, scope, node["onConflictClause"], relation, item, inserted)
    columns = _returning(walk, scope, node.get("returningClause"), [item])
    finish()
    return columns


def _insert_source(walk: Walk, scope: Scope, node: Node | None) -> list[Value]:
    """Analyse what is inserted; every base column in it becomes a use as `source`."""
    if node is None:
        return []
    body = node["SelectStmt"]
    with walk.at("source"):
        if body.keys() <= {"valuesLists", "limitOption", "op"}:
            values: list[Value] = []
            for row in body["valuesLists"]:
                walk.count()
                items = [expr(walk, scope, cell) for cell in row["List"]["items"]]
                for value in items:
                    walk.use(value.refs)
                values = values or items
                if len(items) != len(values):
                    refuse("VALUES lists must all be the same length")
                if any(value.refs for value in items):
                    values = [
                        Value(one.refs | other.refs)
                        for one, other in zip(values, items, strict=True)
                    ]
            return values
        columns = columns_of(walk, scope, node)
    found = [value for _, value in columns]
    walk.use(union(found), "source")
    return found


def _on_conflict(
    walk: Walk,
    scope: Scope,
    node: Node,
    relation: Relation,
    item: Item,
    inserted: dict[str, Value],
) -> None:
    check_fields(
        "ON CONFLICT", node, frozenset("action infer targetList whereClause location".split())
    )
    own = Scope(scope.parent, [item], scope.ctes)
    if "infer" in node:
        infer = node["infer"]
        check_fields(
            "ON CONFLICT", infer, frozenset("indexElems whereClause conname location".split())
        )
        for element in infer.get("indexElems", ()):
            body = element["IndexElem"]
            if "name" in body:
                reference: Node = {"ColumnRef": {"fields": [{"String": {"sval": body["name"]}}]}}
                clause(walk, own, reference, "where")
            clause(walk, own, body.get("expr"), "where")
        clause(walk, own, infer.get("whereClause"), "where")
    columns = tuple(
        (column.name, derived(inserted.get(column.name, CLEAR))) for column in relation.columns
    )
    excluded = Item("excluded", columns, index(columns), row=relation.oid, cols_visible=False)
    # PostgreSQL lets both be named unqualified only where no name is shared: all are shared.
    both = Scope(scope.parent, [item, excluded], scope.ctes)
    if "targetList" in node:
        _assign(walk, both, relation, node["targetList"])
    clause(walk, both, node.get("whereClause"), "where")


def _assign(walk: Walk, scope: Scope, relation: Relation, targets: list[Node]) -> None:
    """Note the columns that a SET list writes and the values that flow into them."""
    names = _column_names(relation, targets)
    walk.effect("rows.update", relation.ref, names)
    ties.updated(walk, relation, names)
    for entry in targets:
        clause(walk, scope, entry["ResTarget"]["val"], "assign")
        for step in entry["ResTarget"].get("indirection", ()):
            if "A_Indices" in step:
                for key in ("lidx", "uidx"):
                    clause(walk, scope, step["A_Indices"].get(key), "assign")


# -- UPDATE and DELETE ----------------------------------------------------------------------


def update(walk: Walk, parent: Scope, node: Node) -> tuple[Column, ...]:
    """Analyse an UPDATE and return the columns of its RETURNING."""
    check_fields(
        "UPDATE",
        node,
        frozenset("relation targetList whereClause fromClause returningClause withClause".split()),
    )
    scope = Scope(parent)
    finish = with_clause(walk, scope, node)
    relation, item = _write_target(walk, node["relation"])
    scope.items.append(item)
    from_list(walk, scope, node.get("fromClause", []))
    _assign(walk, scope, relation, node["targetList"])
    if relation.has_triggers:
        walk.by_text()
    _restrict(walk, scope, node.get("whereClause"))
    columns = _returning(walk, scope, node.get("returningClause"), scope.items)
    finish()
    return columns


def delete(walk: Walk, parent: Scope, node: Node) -> tuple[Column, ...]:
    """Analyse a DELETE and return the columns of its RETURNING."""
    check_fields(
        "DELETE",
        node,
        frozenset("relation usingClause whereClause returningClause withClause".split()),
    )
    scope = Scope(parent)
    finish = with_clause(walk, scope, node)
    relation, item = _write_target(walk, node["relation"])
    scope.items.append(item)
    from_list(walk, scope, node.get("usingClause", []))
    walk.effect("rows.delete", relation.ref)
    ties.deleted(walk, relation)
    _restrict(walk, scope, node.get("whereClause"))
    columns = _returning(walk, scope, node.get("returningClause"), scope.items)
    finish()
    return columns


def _restrict(walk: Walk, scope: Scope, where: Node | None) -> None:
    clause(walk, scope, where, "where")
    strength = restriction(where)
    if strength == 0:
        walk.no_where = True
    if strength < 2:
        walk.by_text()


def restriction(node: Node | None) -> int:
    """How surely a condition restricts rows: 0 it may be always true, 1 it depends, 2 it does.

    Only `column = constant`, alone or among ANDs, cannot be made a tautology by another
    constant; it alone may be cached by shape.
    """
    if node is None:
        return 0
    if "BoolExpr" in node:
        body = node["BoolExpr"]
        strengths = [restriction(arg) for arg in body["args"]]
        if body["boolop"] == "AND_EXPR":
            return max(strengths)
        return min(1, min(strengths)) if body["boolop"] == "OR_EXPR" else min(1, max(strengths))
    if "CurrentOfExpr" in node:
        return 1
    if "A_Expr" in node:
        return _comparison(node["A_Expr"])
    if "NullTest" in node:
        return 0 if node["NullTest"]["nulltesttype"] == "IS_NOT_NULL" else 1
    return 1 if _mentions_column(node) else 0


def _comparison(body: Node) -> int:
    left, right = body.get("lexpr", {}), body.get("rexpr", {})
    if _unlocated(left) == _unlocated(right):
        return 0
    if not (_mentions_column(left) or _mentions_column(right)):
        return 0
    name = body["name"][-1]["String"]["sval"]
    sides = {next(iter(left), ""), next(iter(right), "")}
    is_equality = body["kind"] == "AEXPR_OP" and name == "="
    if is_equality and "ColumnRef" in sides and sides & {"A_Const", "ParamRef"}:
        return 2
    return 1


def _mentions_column(node: object) -> bool:
    if isinstance(node, dict):
        return "ColumnRef" in node or any(_mentions_column(value) for value in node.values())
    if isinstance(node, list):
        return any(_mentions_column(value) for value in node)
    return False


def _unlocated(node: object) -> object:
    if isinstance(node, dict):
        return {k: _unlocated(v) for k, v in node.items() if not k.endswith("location")}
    if isinstance(node, list):
        return [_unlocated(value) for value in node]
    return node


# -- RETURNING ------------------------------------------------------------------------------


def _returning(
    walk: Walk,
    scope: Scope,
    node: Node | None,
    items: list[Item],
    written: Item | None = None,
) -> tuple[Column, ...]:
    if node is None:
        return ()
    check_fields("RETURNING", node, frozenset({"options", "exprs"}))
    visible = list(items)
    if walk.catalog.server_version >= 180000 or "options" in node:
        visible += _old_and_new(walk, node, items, written or items[0])
    inner = Scope(scope.parent, visible, scope.ctes)
    with walk.at("returning"):
        targets = target_list(walk, inner, node["exprs"])
    return tuple((name, value) for name, value, _ in targets)


def _old_and_new(walk: Walk, node: Node, items: list[Item], written: Item) -> list[Item]:
    if walk.catalog.server_version < 180000:
        refuse("RETURNING WITH needs a newer server")
    names = {"RETURNING_OPTION_OLD": "old", "RETURNING_OPTION_NEW": "new"}
    for option in node.get("options", ()):
        body = option["ReturningOption"]
        names[body.get("option", "RETURNING_OPTION_OLD")] = body["value"]
    columns = tuple((name, derived(value)) for name, value in written.columns)
    return [
        Item(name, columns, index(columns), row=written.row, cols_visible=False)
        for name in names.values()
        if all(item.name != name for item in items)
    ]


# -- MERGE ----------------------------------------------------------------------------------

_MERGE_ACTIONS: Final = {
    "CMD_INSERT": "rows.insert",
    "CMD_UPDATE": "rows.update",
    "CMD_DELETE": "rows.delete",
}


def merge(walk: Walk, parent: Scope, node: Node) -> tuple[Column, ...]:
    """Analyse a MERGE and return the columns of its RETURNING."""
    check_fields(
        "MERGE",
        node,
        frozenset(
            "relation sourceRelation joinCondition mergeWhenClauses returningClause "
            "withClause".split()
        ),
    )
    scope = Scope(parent)
    finish = with_clause(walk, scope, node)
    relation, item = _write_target(walk, node["relation"])
    scope.items.append(item)
    items, _ = from_item(walk, scope, node["sourceRelation"], [])
    scope.items.extend(items)
    walk.effect("rows.merge", relation.ref)
    walk.by_text()
    clause(walk, scope, node["joinCondition"], "join")
    if restriction(node["joinCondition"]) == 0:
        walk.no_where = True
    for entry in node["mergeWhenClauses"]:
        _merge_when(walk, scope, relation, entry["MergeWhenClause"])
    returning = [*items, item] if walk.catalog.server_version >= 170000 else [item]
    columns = _returning(walk, scope, node.get("returningClause"), returning, item)
    finish()
    return columns


def _merge_when(walk: Walk, scope: Scope, relation: Relation, node: Node) -> None:
    check_fields(
        "MERGE WHEN",
        node,
        frozenset("matchKind commandType override condition targetList values".split()),
    )
    clause(walk, scope, node.get("condition"), "where")
    command = node.get("commandType", "")
    if command == "CMD_NOTHING":
        return
    effect = _MERGE_ACTIONS.get(command)
    if effect is None:
        refuse("a form of MERGE is not analysed")
    targets = node.get("targetList", [])
    if command == "CMD_UPDATE":
        _assign(walk, scope, relation, targets)
        return
    names = _column_names(relation, targets)
    if command == "CMD_INSERT" and not names:
        names = [column.name for column in relation.columns]
    walk.effect(effect, relation.ref, names)
    if command == "CMD_INSERT":
        ties.inserted(walk, relation, names)
    else:
        ties.deleted(walk, relation)
    with walk.at("source"):
        for value in node.get("values", ()):
            clause(walk, scope, value, "source")


provide_modify("InsertStmt", insert)
provide_modify("UpdateStmt", update)
provide_modify("DeleteStmt", delete)
provide_modify("MergeStmt", merge)
