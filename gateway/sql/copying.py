"""COPY: rows in and out without any column identity on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from gateway.sql import ties
from gateway.sql.catalog import Relation
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.expressions import clause
from gateway.sql.facts import ColumnRef, CopyForm, CopyFormat
from gateway.sql.from_clause import RANGE_VAR, target
from gateway.sql.query import columns_of
from gateway.sql.scope import Scope, no_relation, relation_item, string_list
from gateway.sql.statements import QUERY_KINDS, Draft, StatementWalk
from gateway.sql.values import Column, union

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
        columns = _copy_query(walk, node["query"])
    else:
        columns = _copy_relation(walk, node, is_from=is_from)
    if "filename" in node:
        # Never the client's: what leaves this way can be masked by nobody.
        walk.use(union([value for _, value in columns]), "copy")
        return Draft("copy")
    walk.effect("copy.in" if is_from else "copy.out")
    if is_from:
        return Draft("copy", copy="in")
    form = _copy_form(node.get("options", ()), [name for name, _ in columns])
    return Draft("copy", columns, copy="out", copy_form=form)


def _copy_option(option: Node) -> None:
    name = option["defname"]
    if name not in _COPY_OPTIONS:
        refuse("an option of COPY is not analysed")
    if name == "encoding":
        text = option.get("arg", {}).get("String", {}).get("sval", "")
        if text.lower() not in ("utf8", "utf-8", "unicode"):
            refuse("COPY in an encoding other than UTF8 is not analysed")


def _copy_form(options: Sequence[Node], names: list[str]) -> CopyForm:
    """Return how the rows are written. What is not certain is refused: masks depend on it."""
    given: dict[str, Node] = {}
    for entry in options:
        option = entry["DefElem"]
        if option["defname"] in given:
            refuse("an option of COPY is given twice")
        given[option["defname"]] = option.get("arg", {})
    form = _text_of(given, "format", "text")
    if form not in ("text", "csv", "binary"):
        refuse("a format of COPY is not analysed")
    quote = _byte_of(given, "quote", '"')
    return CopyForm(
        format=cast("CopyFormat", form),
        delimiter=_byte_of(given, "delimiter", "," if form == "csv" else "\t"),
        null=_text_of(given, "null", "" if form == "csv" else "\\N"),
        quote=quote,
        escape=_byte_of(given, "escape", quote),
        header="header" in given and _truth(given["header"]),
        force_quote=_forced(given.get("force_quote"), names),
    )


def _text_of(given: Mapping[str, Node], name: str, default: str) -> str:
    if name not in given:
        return default
    text = given[name].get("String", {}).get("sval")
    if not isinstance(text, str):
        refuse("an option of COPY has a value that is not analysed")
    return text


def _byte_of(given: Mapping[str, Node], name: str, default: str) -> str:
    text = _text_of(given, name, default)
    if len(text) != 1 or not text.isascii():
        refuse("an option of COPY is more than one character")
    return text


def _truth(arg: Node) -> bool:
    """Read a boolean as defGetCopyHeaderChoice does; without a value it is true."""
    if not arg:
        return True
    ((kind, body),) = arg.items()
    if kind == "Boolean":
        return bool(body.get("boolval"))
    if kind == "Integer" and body.get("ival", 0) in (0, 1):
        return bool(body.get("ival", 0))
    word = str(body.get("sval", "")).lower() if kind == "String" else ""
    if word not in ("true", "on", "false", "off"):
        refuse("an option of COPY has a value that is not analysed")
    return word in ("true", "on")


def _forced(arg: Node | None, names: list[str]) -> tuple[bool, ...]:
    if arg is None:
        return ()
    if "A_Star" in arg:
        return (True,) * len(names)
    forced = string_list(arg.get("List", {}).get("items"))
    if not forced or not set(forced) <= set(names):
        refuse("the columns of FORCE_QUOTE cannot be resolved")
    return tuple(name in forced for name in names)


def _copy_query(walk: Walk, node: Node) -> tuple[Column, ...]:
    if next(iter(node)) not in QUERY_KINDS:
        refuse("COPY of this statement is not analysed")
    return columns_of(walk, Scope(), node)


def _copy_relation(walk: Walk, node: Node, *, is_from: bool) -> tuple[Column, ...]:
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
    return tuple((name, relation.values[name]) for name in names)


def _refs(relation: Relation, names: list[str]) -> frozenset[ColumnRef]:
    found = []
    for name in names:
        column = relation.by_name.get(name)
        if column is None:
            refuse("a column of COPY cannot be resolved")
        found.append(ColumnRef(relation.oid, column.attnum))
    return frozenset(found)


HANDLERS: Final[dict[str, StatementWalk]] = {"CopyStmt": copy}
