"""COPY: rows in and out without any column identity on the wire."""

from __future__ import annotations

from typing import Final

from gateway.sql import ties
from gateway.sql.catalog import Relation
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.expressions import clause
from gateway.sql.facts import ColumnRef
from gateway.sql.from_clause import RANGE_VAR, target
from gateway.sql.query import columns_of
from gateway.sql.scope import Scope, no_relation, relation_item, string_list
from gateway.sql.statements import QUERY_KINDS, Draft, StatementWalk
from gateway.sql.values import union

_COPY: Final = frozenset(
    "relation query attlist is_from is_program filename options whereClause".split()
)
_COPY_OPTIONS: Final = frozenset(
    "format freeze delimiter null header quote escape force_quote force_not_null force_null "
    "encoding default on_error log_verbosity reject_limit".split()
)


def copy(walk: Walk, node: Node) -> Draft:
    """Analyse COPY. Only STDIN and STDOUT are the client's; files and programs are egress."""
    check_fields("COPY", node, _COPY)
    walk.by_text()
    is_from = bool(node.get("is_from"))
    for entry in node.get("options", ()):
        _copy_option(entry["DefElem"])
    if node.get("is_program"):
        walk.effect("egress.program")
    elif "filename" in node:
        walk.effect("server.file.read" if is_from else "egress.file")
    if "query" in node:
        _copy_query(walk, node["query"])
    else:
        _copy_relation(walk, node, is_from=is_from)
    if "filename" in node:
        return Draft("copy")
    walk.effect("copy.in" if is_from else "copy.out")
    return Draft("copy", copy="in" if is_from else "out")


def _copy_option(option: Node) -> None:
    name = option["defname"]
    if name not in _COPY_OPTIONS:
        refuse("an option of COPY is not analysed")
    if name == "encoding":
        text = option.get("arg", {}).get("String", {}).get("sval", "")
        if text.lower() not in ("utf8", "utf-8", "unicode"):
            refuse("COPY in an encoding other than UTF8 is not analysed")


def _copy_query(walk: Walk, node: Node) -> None:
    if next(iter(node)) not in QUERY_KINDS:
        refuse("COPY of this statement is not analysed")
    columns = columns_of(walk, Scope(), node)
    walk.use(union([value for _, value in columns]), "copy")


def _copy_relation(walk: Walk, node: Node, *, is_from: bool) -> None:
    check_fields("a table name", node["relation"], RANGE_VAR)
    relation = target(walk, node["relation"])
    allowed = ("table", "partitioned", "foreign", "view") if is_from else ("table", "matview",
                                                                     "foreign")  # fmt: skip
    if relation.ref.kind not in allowed:
        raise no_relation(node["relation"].get("schemaname", ""), node["relation"]["relname"])
    names = string_list(node.get("attlist"))
    if not names:
        names = [c.name for c in relation.columns if not c.generated]
    refs = _refs(relation, names)
    if is_from:
        if relation.has_rules:
            refuse("the relation has rewrite rules")
        walk.effect("rows.insert", relation.ref, names)
        ties.inserted(walk, relation, names)
        if "whereClause" in node:
            clause(
                walk, Scope(None, [relation_item(relation, "", [])]), node["whereClause"], "where"
            )
    else:
        walk.read_relation(relation)
        walk.reads.update(refs)
        walk.use(refs, "copy")


def _refs(relation: Relation, names: list[str]) -> frozenset[ColumnRef]:
    found = []
    for name in names:
        column = relation.by_name.get(name)
        if column is None:
            refuse("a column of COPY cannot be resolved")
        found.append(ColumnRef(relation.oid, column.attnum))
    return frozenset(found)


HANDLERS: Final[dict[str, StatementWalk]] = {"CopyStmt": copy}
