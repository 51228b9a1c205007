"""The first relation a string of SQL names that its principal may not see, or that is not there.

Asked only when a statement is refused anyway. The analyser and the decision meet names in their
own orders and stop at the first mistake, so which of two errors comes first would tell whether
an invisible relation exists. This walk knows nothing but names: invisible and missing relations
are one thing to it, and the refusal speaks about the first of them in the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from gateway.errors import ClientError
from gateway.policy.rights import Rights
from gateway.sql.catalog import Catalog
from gateway.sql.facts import Effect, RelationRef
from gateway.sql.parse import parse

_VISITS_MAX: Final = 200_000
_NO_NAMES: Final[frozenset[str]] = frozenset()
# RangeVars that name something new, or an alias: they refer to no stored relation.
_NEW: Final = {
    "CreateStmt": "relation",
    "CreateForeignTableStmt": "relation",
    "ViewStmt": "view",
    "CreateSeqStmt": "sequence",
    "CompositeTypeStmt": "typevar",
}
# Statements that name relations in lists of words, by the kind of object.
_WORD_LISTS: Final = {"DropStmt": ("removeType", "objects"), "CommentStmt": ("objtype", "object")}
_WORD_KINDS: Final = frozenset(
    f"OBJECT_{kind}"
    for kind in ("TABLE", "VIEW", "MATVIEW", "SEQUENCE", "INDEX", "FOREIGN_TABLE", "COLUMN")
)
_NEW_FIELDS: Final = ("rel", "lockedRels")


def first_hidden(
    sql: bytes, catalog: Catalog, path: tuple[str, ...], rights: Rights
) -> RelationRef | None:
    """Return it as written (schema empty when none was), or None. Never raises."""
    try:
        nodes = parse(sql)
    except ClientError:
        return None  # it does not parse: what went wrong has nothing to do with names
    for schema, name in _names(nodes):
        relation = catalog.find_relation(schema, name, path)
        if relation is None or not sees(rights, relation.ref, is_system=relation.is_system):
            return RelationRef(schema, name, 0, "table")
    return None


def sees(rights: Rights, relation: RelationRef, *, is_system: bool = False) -> bool:
    """Tell whether any grant lets the principal know that `relation` is there."""
    if is_system:
        return True
    effect = Effect("rows.read", relation)
    return any(
        grant.sees(effect) and (grant.level is not None or bool(grant.effects))
        for grant in rights.grants
    )


def _names(nodes: Any) -> Iterator[tuple[str, str]]:
    """Yield the relations of parse trees in order, names of CTEs in scope left out."""
    stack: list[tuple[Any, frozenset[str]]] = [(node, _NO_NAMES) for node in reversed(nodes)]
    for _ in range(_VISITS_MAX):
        if not stack:
            return
        node, ctes = stack.pop()
        if isinstance(node, list):
            stack.extend((item, ctes) for item in reversed(node))
        elif isinstance(node, dict):
            if "relname" in node and "relpersistence" in node:
                schema = node.get("schemaname", "")
                if schema or node["relname"] not in ctes:
                    yield schema, node["relname"]
            for kind, (type_field, list_field) in _WORD_LISTS.items():
                if isinstance(found := node.get(kind), dict):
                    yield from _words(found.get(type_field, ""), found.get(list_field))
            stack.extend(reversed(list(_children(node, ctes))))


def _words(kind: str, objects: Any) -> Iterator[tuple[str, str]]:
    """Yield the relations that a list of word lists names."""
    if kind not in _WORD_KINDS:
        return
    for item in objects if isinstance(objects, list) else [objects]:
        parts = item.get("List", {}).get("items", []) if isinstance(item, dict) else []
        words = [part.get("String", {}).get("sval", "") for part in parts]
        if kind == "OBJECT_COLUMN":
            words.pop()
        if words:
            yield (words[-2] if len(words) > 1 else ""), words[-1]


def _children(node: dict[str, Any], ctes: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    """Yield what is below `node`, each with the CTEs it can see."""
    clause = node.get("withClause")
    inner = ctes
    if isinstance(clause, dict):
        queries = [item["CommonTableExpr"] for item in clause.get("ctes", ())]
        names = [query.get("ctename", "") for query in queries]
        recursive = bool(clause.get("recursive"))
        inner = ctes | frozenset(names)
        for position, query in enumerate(queries):
            # Without RECURSIVE a CTE sees only those before it.
            yield query, inner if recursive else ctes | frozenset(names[:position])
    for field, value in node.items():
        if field == "withClause" or field in _NEW_FIELDS:
            continue
        if field in _NEW and isinstance(value, dict):
            yield {key: item for key, item in value.items() if key != _NEW[field]}, inner
        else:
            yield value, inner
