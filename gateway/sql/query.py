"""SELECT in all its forms: WITH, set operations, VALUES, and the clauses of one level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.errors import TooComplex, quote_name
from gateway.sql import calls
from gateway.sql.effects import OUTPUTS_MAX, Node, Walk, check_fields, refuse
from gateway.sql.expressions import clause, expr, operand
from gateway.sql.facts import ColumnRef
from gateway.sql.from_clause import from_list, provide_ctes
from gateway.sql.invocations import window
from gateway.sql.naming import output_name
from gateway.sql.ordering import group_key, order, output_or_column, sort_by_output, unite
from gateway.sql.scope import Cte, Scope, cut, rename, string_list
from gateway.sql.subqueries import provide
from gateway.sql.values import NO_REFS, UNTYPED, Column, Value, derived, union

_SELECT: Final = frozenset(
    """
distinctClause targetList fromClause whereClause groupClause groupDistinct havingClause
windowClause valuesLists sortClause limitOffset limitCount limitOption lockingClause withClause
op all larg rarg
""".split()
)
_RES_TARGET: Final = frozenset({"name", "val", "indirection", "location"})
_RECURSION_PASSES_MAX: Final = 50

ModifyWalk = Callable[[Walk, Scope, Node], tuple[Column, ...]]
_modify: dict[str, ModifyWalk] = {}


def provide_modify(kind: str, function: ModifyWalk) -> None:
    """Set the function that analyses INSERT, UPDATE, DELETE or MERGE (`modify` does)."""
    _modify[kind] = function


def columns_of(walk: Walk, parent: Scope, node: Node) -> tuple[Column, ...]:
    """Analyse a query or data-modifying node inside `parent` and return its output columns."""
    ((kind, body),) = node.items()
    walk.count()
    walk.deeper()
    if kind == "SelectStmt":
        columns = select(walk, parent, body)
    else:
        handler = _modify.get(kind)
        if handler is None:
            refuse(f"{kind} is not analysed inside a statement")
        columns = handler(walk, parent, body)
    walk.depth -= 1
    return columns


def select(walk: Walk, parent: Scope, node: Node) -> tuple[Column, ...]:
    """Analyse one SelectStmt. Its INTO clause is the caller's to handle."""
    check_fields("SELECT", node, _SELECT)
    scope = Scope(parent)
    finish = with_clause(walk, scope, node)
    if node.get("op", "SETOP_NONE") != "SETOP_NONE":
        columns = _set_operation(walk, scope, node)
        sort_by_output(walk, columns, node)
    elif "valuesLists" in node:
        columns = _values(walk, scope, node["valuesLists"])
        sort_by_output(walk, columns, node)
    else:
        columns = _simple(walk, scope, node)
    for key in ("limitCount", "limitOffset"):
        if key in node:
            if "ParamRef" not in node[key]:
                walk.by_text()
            clause(walk, scope, node[key], "limit")
    for lock in node.get("lockingClause", ()):
        _lock(walk, scope, lock["LockingClause"])
    if len(columns) > OUTPUTS_MAX:
        raise TooComplex(f"more than {OUTPUTS_MAX} columns")
    finish()
    return columns


def _simple(walk: Walk, scope: Scope, node: Node) -> tuple[Column, ...]:
    before, walk.place = walk.place, "expression"
    from_list(walk, scope, node.get("fromClause", []))
    for definition in node.get("windowClause", ()):
        body = definition["WindowDef"]
        unnamed = {key: value for key, value in body.items() if key != "name"}
        scope.windows[body["name"]] = union(window(walk, scope, unnamed))
    targets = target_list(walk, scope, node.get("targetList", []))
    columns = tuple((name, value) for name, value, _ in targets)
    clause(walk, scope, node.get("whereClause"), "where")
    for key in node.get("groupClause", ()):
        group_key(walk, scope, columns, key)
    clause(walk, scope, node.get("havingClause"), "where")
    order(walk, scope, columns, node.get("sortClause", []))
    for key in node.get("distinctClause", ()):
        if key:
            walk.use(output_or_column(walk, scope, columns, key).refs, "distinct")
        else:
            walk.use(union([value for _, value in columns]), "distinct")
    walk.place = before
    return columns


# -- target lists ---------------------------------------------------------------------------

Target = tuple[str, Value, Node | None]


def target_list(walk: Walk, scope: Scope, nodes: list[Node]) -> list[Target]:
    """Return the output columns of a target list with `*` expanded."""
    targets: list[Target] = []
    for node in nodes:
        body = node["ResTarget"]
        check_fields("an output column", body, _RES_TARGET)
        value_node = body["val"]
        starred = _star(walk, scope, value_node)
        if starred is not None:
            targets += [(name, value, None) for name, value in starred]
        else:
            value = expr(walk, scope, value_node)
            targets.append((body.get("name") or output_name(value_node), value, value_node))
        if len(targets) > OUTPUTS_MAX:
            raise TooComplex(f"more than {OUTPUTS_MAX} columns")
    return targets


def _star(walk: Walk, scope: Scope, node: Node) -> tuple[Column, ...] | None:
    """Return the columns of `*`, `t.*` or `(row).*`; None for any other expression."""
    if "ColumnRef" in node:
        fields = node["ColumnRef"]["fields"]
        if "A_Star" not in fields[-1]:
            return None
        names = [cut(name) for name in string_list(fields[:-1])]
        if not names:
            columns = tuple(
                column for item in scope.items if item.cols_visible for column in item.columns
            )
        else:
            item = scope.find_item(names[-1], names[-2] if len(names) > 1 else "")
            if item is None or len(names) > 2:
                refuse(f"{quote_name(*names)} is not a table of this query")
            columns = item.columns
        walk.reads.update(union([value for _, value in columns]))
        return columns
    if "A_Indirection" in node and "A_Star" in node["A_Indirection"]["indirection"][-1]:
        return _row_star(walk, scope, node["A_Indirection"])
    return None


def _row_star(walk: Walk, scope: Scope, node: Node) -> tuple[Column, ...]:
    steps, arg = node["indirection"][:-1], node["arg"]
    reference = arg.get("ColumnRef")
    if not steps and reference is not None and "A_Star" not in reference["fields"][-1]:
        names = [cut(name) for name in string_list(reference["fields"])]
        if len(names) == 1 and scope.find_column(names[0]) is None:
            star: Node = {"ColumnRef": {"fields": [*reference["fields"], {"A_Star": {}}]}}
            return _star(walk, scope, star) or ()
    value = operand(walk, scope, {"A_Indirection": {"arg": arg, "indirection": steps}}) if (
        steps
    ) else operand(walk, scope, arg)  # fmt: skip
    relation = walk.catalog.by_oid.get(value.row)
    if relation is None:
        refuse("* of a value whose row type is not known is not analysed")
    return calls.row_columns(value.refs, relation)


# -- VALUES and set operations --------------------------------------------------------------


def _values(walk: Walk, scope: Scope, rows: list[Node]) -> tuple[Column, ...]:
    refs = [NO_REFS] * len(rows[0]["List"]["items"])
    types: list[set[int]] = [set() for _ in refs]
    for row in rows:
        walk.count()
        items = row["List"]["items"]
        if len(items) != len(refs):
            refuse("VALUES lists must all be the same length")
        for position, item in enumerate(items):
            value = operand(walk, scope, item)
            if value.refs:
                refs[position] = refs[position] | value.refs
            types[position].add(value.type_oid)
    return tuple(
        (f"column{number}", Value(found, False, kinds.pop() if len(kinds) == 1 else UNTYPED))
        for number, (found, kinds) in enumerate(zip(refs, types, strict=True), 1)
    )


def _set_operation(walk: Walk, scope: Scope, node: Node) -> tuple[Column, ...]:
    left = _arm(walk, scope, node["larg"])
    right = _arm(walk, scope, node["rarg"])
    return unite(walk, node, left, right)


def _arm(walk: Walk, scope: Scope, node: Node) -> tuple[Column, ...]:
    walk.deeper()
    columns = select(walk, scope, node)
    walk.depth -= 1
    return columns


# -- WITH -----------------------------------------------------------------------------------

_CTE: Final = frozenset(
    "ctename aliascolnames ctematerialized ctequery search_clause cycle_clause location "
    "cterecursive".split()
)


def with_clause(walk: Walk, scope: Scope, node: Node) -> Callable[[], None]:
    """Add a statement's CTEs to `scope`; the result analyses those never referenced."""
    clause_node = node.get("withClause")
    if clause_node is None:
        return _nothing
    check_fields("WITH", clause_node, frozenset({"ctes", "recursive", "location"}))
    recursive = bool(clause_node.get("recursive"))
    found: list[Cte] = []
    for entry in clause_node["ctes"]:
        body = entry["CommonTableExpr"]
        check_fields("a WITH query", body, _CTE)
        cte = Cte(body["ctename"], body, recursive)
        if cte.name in {other.name for other in found}:
            refuse(f"WITH query name {quote_name(cte.name)} is given twice")
        found.append(cte)
        if recursive:
            scope.ctes[cte.name] = cte
    level = scope
    if not recursive:
        # Each sees those before it, not itself and not those after it.
        for cte in found:
            inner = Scope(scope.parent, [], dict(scope.ctes))
            _analyse_cte(walk, inner, cte)
            scope.ctes[cte.name] = cte

    def finish() -> None:
        for cte in found:
            cte_columns(walk, level, cte)

    return finish


def _nothing() -> None:
    return None


def cte_columns(walk: Walk, level: Scope, cte: Cte) -> tuple[Column, ...]:
    """Return the columns of a CTE defined at `level`, analysing it on first use."""
    if cte.state == "pending":
        _analyse_cte(walk, Scope(level.parent, [], level.ctes), cte)
    elif cte.state == "running":
        cte.was_self_referenced = True
        if not cte.columns:
            refuse(f"WITH query {quote_name(cte.name)} refers to itself in a form not analysed")
    return cte.columns


def _analyse_cte(walk: Walk, scope: Scope, cte: Cte) -> None:
    cte.state = "running"
    before = set(walk.read_relations)
    query = cte.node["ctequery"]
    body = query.get("SelectStmt")
    names = string_list(cte.node.get("aliascolnames"))
    walk.nested_write = walk.nested_write or body is None
    with walk.at("expression"):
        if cte.is_recursive and body is not None and body.get("op") == "SETOP_UNION":
            _fixpoint(walk, scope, cte, body, names)
        else:
            cte.columns = rename(columns_of(walk, scope, query), names)
    cte.columns = (*cte.columns, *_search_and_cycle(walk, cte))
    cte.relations = tuple(
        relation for oid, relation in walk.read_relations.items() if oid not in before
    )
    cte.state = "done"


def _fixpoint(walk: Walk, scope: Scope, cte: Cte, body: Node, names: list[str]) -> None:
    """Analyse a possibly recursive UNION until its lineage no longer grows."""
    inner = Scope(scope)
    finish = with_clause(walk, inner, body)
    without_arms = {k: v for k, v in body.items() if k not in ("larg", "rarg", "withClause")}
    check_fields("SELECT", without_arms, _SELECT)
    first = rename(_arm(walk, inner, body["larg"]), names)
    # SEARCH and CYCLE columns are not visible inside the recursive term.
    cte.columns = tuple((name, derived(value)) for name, value in first)
    for _ in range(_RECURSION_PASSES_MAX):
        right = _arm(walk, inner, body["rarg"])
        united = unite(walk, body, cte.columns, right)
        if [value.refs for _, value in united] == [value.refs for _, value in cte.columns]:
            break
        cte.columns = united
    else:
        refuse("a recursive WITH query is too complex to analyse")
    cte.columns = united
    sort_by_output(walk, cte.columns, body)
    for key in ("limitCount", "limitOffset"):
        if key in body:
            walk.by_text()
            clause(walk, inner, body[key], "limit")
    if "lockingClause" in body:
        refuse("locking a set operation is not analysed")
    finish()


def _search_and_cycle(walk: Walk, cte: Cte) -> tuple[Column, ...]:
    found: list[Column] = []
    by_name = dict(cte.columns)
    search, cycle = cte.node.get("search_clause"), cte.node.get("cycle_clause")
    if search is not None:
        refs = _refs_of(walk, by_name, search["search_col_list"], "order")
        found.append((search["search_seq_column"], Value(refs)))
    if cycle is not None:
        refs = _refs_of(walk, by_name, cycle["cycle_col_list"], "distinct")
        walk.by_text()
        found.append((cycle["cycle_mark_column"], Value(refs, False, UNTYPED)))
        found.append((cycle["cycle_path_column"], Value(refs)))
    return tuple(found)


def _refs_of(
    walk: Walk, by_name: dict[str, Value], names: list[Node], place: str
) -> frozenset[ColumnRef]:
    values = [by_name.get(name) for name in string_list(names)]
    known = [value for value in values if value is not None]
    if len(known) != len(values):
        refuse("a column of SEARCH or CYCLE cannot be resolved")
    refs = union(known)
    walk.use(refs, place)
    return refs


# -- FOR UPDATE -----------------------------------------------------------------------------


def _lock(walk: Walk, scope: Scope, node: Node) -> None:
    check_fields("FOR UPDATE", node, frozenset({"lockedRels", "strength", "waitPolicy"}))
    wanted = [entry["RangeVar"]["relname"] for entry in node.get("lockedRels", ())]
    items = [item for item in scope.items if not wanted or item.name in wanted]
    if len({item.name for item in items if item.name in wanted}) < len(set(wanted)):
        refuse("FOR UPDATE names a table that is not in FROM")
    for item in items:
        for relation in item.relations:
            walk.effect("rows.lock", relation.ref)


provide(columns_of)
provide_ctes(cte_columns)
