"""The name PostgreSQL gives an output column without an alias (parse_target.c, FigureColname)."""

from __future__ import annotations

from typing import Final

from gateway.sql.effects import Node
from gateway.sql.scope import cut, string_list

UNNAMED: Final = "?column?"
_FIXED: Final = {
    "A_ArrayExpr": "array",
    "RowExpr": "row",
    "CoalesceExpr": "coalesce",
    "GroupingFunc": "grouping",
    "XmlSerialize": "xmlserialize",
    "MergeSupportFunc": "merge_action",
    "JsonObjectConstructor": "json_object",
    "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array",
    "JsonObjectAgg": "json_objectagg",
    "JsonArrayAgg": "json_arrayagg",
    "JsonParseExpr": "json",
    "JsonScalarExpr": "json_scalar",
    "JsonSerializeExpr": "json_serialize",
}
_JSON_FUNCTIONS: Final = {
    "JSON_EXISTS_OP": "json_exists",
    "JSON_QUERY_OP": "json_query",
    "JSON_VALUE_OP": "json_value",
}
_XML: Final = {
    "IS_XMLCONCAT": "xmlconcat",
    "IS_XMLELEMENT": "xmlelement",
    "IS_XMLFOREST": "xmlforest",
    "IS_XMLPARSE": "xmlparse",
    "IS_XMLPI": "xmlpi",
    "IS_XMLROOT": "xmlroot",
}


def output_name(node: Node) -> str:
    """Return the output name of an expression without an alias."""
    return cut(_figure(node)[0] or UNNAMED)


def _figure(node: Node) -> tuple[str, int]:
    """Return a name and how strong it is: 0 none, 1 weak (a type's), 2 good."""
    if not node:
        return "", 0
    ((kind, body),) = node.items()
    if kind == "ColumnRef":
        names = [field for field in body["fields"] if "String" in field]
        return (string_list(names[-1:])[0], 2) if names else ("", 0)
    if kind == "A_Indirection":
        names = [step for step in body["indirection"] if "String" in step]
        return (string_list(names[-1:])[0], 2) if names else _figure(body["arg"])
    if kind == "FuncCall":
        return string_list(body["funcname"])[-1], 2
    if kind == "A_Expr":
        return ("nullif", 2) if body["kind"] == "AEXPR_NULLIF" else ("", 0)
    if kind == "TypeCast":
        return _cast_name(body)
    if kind == "CollateClause":
        return _figure(body["arg"])
    if kind == "CaseExpr":
        name, strength = _figure(body.get("defresult", {}))
        return (name, strength) if strength > 1 else ("case", 1)
    return _special_name(kind, body)


def _cast_name(body: Node) -> tuple[str, int]:
    name, strength = _figure(body["arg"])
    if strength > 0:
        return name, strength
    return string_list(body["typeName"]["names"])[-1], 1


def _special_name(kind: str, body: Node) -> tuple[str, int]:
    if kind == "SubLink":
        return _sublink_name(body)
    if kind == "MinMaxExpr":
        return ("least" if body.get("op") == "IS_LEAST" else "greatest"), 2
    if kind == "SQLValueFunction":
        return str(body.get("op", "")).removeprefix("SVFOP_").lower().removesuffix("_n"), 2
    if kind == "XmlExpr":
        # IS DOCUMENT has no name.
        name = _XML.get(str(body.get("op", "")), "")
        return name, 2 if name else 0
    if kind == "JsonFuncExpr":
        return _JSON_FUNCTIONS.get(str(body.get("op", "")), ""), 2
    name = _FIXED.get(kind, "")
    return name, 2 if name else 0


def _sublink_name(body: Node) -> tuple[str, int]:
    kind = body["subLinkType"]
    if kind == "EXISTS_SUBLINK":
        return "exists", 2
    if kind == "ARRAY_SUBLINK":
        return "array", 2
    if kind != "EXPR_SUBLINK":
        return "", 0
    query = body["subselect"].get("SelectStmt", {})
    while "larg" in query:
        query = query["larg"]
    targets = query.get("targetList")
    if not targets:
        # The first column of a VALUES list is called column1.
        return ("column1", 2) if "valuesLists" in query else ("", 0)
    first = targets[0]["ResTarget"]
    if "name" in first:
        return first["name"], 2
    return _figure(first["val"])
