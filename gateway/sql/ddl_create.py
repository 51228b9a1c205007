"""CREATE: each an effect `schema.create.<kind>` on what it makes and touches.

What runs later on the owner's behalf (defaults, checks, generated columns, index expressions)
is walked for the functions it calls; what copies values is a use as `source` or `assign`.
"""

from __future__ import annotations

from typing import Final

from gateway.sql import calls
from gateway.sql.catalog import PG_CATALOG
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.expressions import TYPE_NAME, clause, expr
from gateway.sql.facts import ColumnRef, RelationRef
from gateway.sql.from_clause import RANGE_VAR, target
from gateway.sql.query import columns_of
from gateway.sql.scope import Item, Scope, index, relation_item, string_list
from gateway.sql.statements import QUERY_KINDS, Draft, StatementWalk
from gateway.sql.values import CLEAR, Column, union

_SERIAL: Final = frozenset("serial bigserial smallserial serial2 serial4 serial8".split())


def new_ref(walk: Walk, node: Node, kind: str) -> RelationRef:
    """Return the reference of an object about to be created."""
    if "catalogname" in node:
        refuse("a relation is named with a database, which is not analysed")
    schema = node.get("schemaname", "")
    if not schema:
        schema = next((name for name in walk.path if name != PG_CATALOG), "")
    return RelationRef(schema, node["relname"], 0, kind)


def _is_temporary(node: Node) -> bool:
    return node.get("relpersistence") == "t" or node.get("schemaname", "").startswith("pg_temp")


def _create(walk: Walk, node: Node, kind: str) -> None:
    check_fields("a table name", node, RANGE_VAR)
    if _is_temporary(node):
        # Names of a session's own would be found before the snapshot's, and the snapshot is shared.
        refuse(
            "temporary tables, views and sequences are not supported; use a WITH query, or a "
            "table in a schema that you may create tables in"
        )
    walk.effect(f"schema.create.{kind}", new_ref(walk, node, kind))


# -- CREATE TABLE ---------------------------------------------------------------------------

_CREATE: Final = frozenset(
    "relation tableElts inhRelations partbound partspec ofTypename constraints options oncommit "
    "if_not_exists accessMethod".split()
)


def create_table(walk: Walk, node: Node) -> Draft:
    """Analyse CREATE TABLE."""
    walk.by_text()
    check_fields("CREATE TABLE", node, _CREATE)
    if node.get("accessMethod", "heap") != "heap":
        refuse("a table access method other than heap is not analysed")
    _create(walk, node["relation"], "table")
    for parent in node.get("inhRelations", ()):
        walk.effect("schema.alter.table", target(walk, parent["RangeVar"]).ref)
    if "ofTypename" in node:
        calls.find_type(walk, node["ofTypename"])
    own: list[Column] = []
    for element in node.get("tableElts", ()):
        if "ColumnDef" in element:
            own.append((element["ColumnDef"]["colname"], CLEAR))
        elif "TableLikeClause" in element:
            like = target(walk, element["TableLikeClause"]["relation"])
            walk.read_relation(like)
            own += [(column.name, CLEAR) for column in like.columns]
    for parent in node.get("inhRelations", ()):
        own += [(c.name, CLEAR) for c in target(walk, parent["RangeVar"]).columns]
    columns = tuple(dict(own).items())
    scope = Scope(None, [Item(node["relation"]["relname"], columns, index(columns))])
    for element in node.get("tableElts", ()):
        if "ColumnDef" in element:
            column_def(walk, scope, element["ColumnDef"])
        elif "Constraint" in element:
            constraint_def(walk, scope, element["Constraint"])
    if "partbound" in node:
        partition_bound(walk, node["partbound"])
    for part in node.get("partspec", {}).get("partParams", ()):
        clause(walk, scope, part["PartitionElem"].get("expr"), "where")
    return Draft("create_table", ddl=True)


_COLUMN_DEF: Final = frozenset(
    "colname typeName compression is_local is_not_null storage storage_name raw_default "
    "identity identitySequence generated collClause constraints location".split()
)


def column_def(walk: Walk, scope: Scope, node: Node) -> None:
    """Walk a column definition."""
    check_fields("a column definition", node, _COLUMN_DEF)
    if "typeName" in node:
        column_type(walk, node["typeName"])
    clause(walk, scope, node.get("raw_default"), "source")
    for constraint in node.get("constraints", ()):
        constraint_def(walk, scope, constraint["Constraint"])


def column_type(walk: Walk, node: Node) -> None:
    """Check a column's type."""
    check_fields("TypeName", node, TYPE_NAME)
    names = string_list(node["names"])
    if len(names) == 1 and names[0] in _SERIAL:
        return
    calls.cast(walk, CLEAR, calls.find_type(walk, node), is_constant=False)


_CONSTRAINT: Final = frozenset(
    """
contype conname deferrable initdeferred is_enforced skip_validation initially_valid
is_no_inherit raw_expr generated_when generated_kind nulls_not_distinct keys including options
where_clause pktable fk_attrs pk_attrs fk_matchtype fk_upd_action fk_del_action fk_del_set_cols
indexname access_method exclusions without_overlaps location
""".split()
)


def constraint_def(walk: Walk, scope: Scope, node: Node) -> None:
    """Walk a constraint."""
    check_fields("a constraint", node, _CONSTRAINT)
    kind = node.get("contype", "")
    # A default or generated column stores what its expression gives; a check only tests it.
    place = "source" if kind in ("CONSTR_DEFAULT", "CONSTR_GENERATED") else "where"
    clause(walk, scope, node.get("raw_expr"), place)
    clause(walk, scope, node.get("where_clause"), "where")
    for name in string_list(node.get("keys")):
        value = scope.find_column(name)
        if value is not None:
            walk.use(value.refs, "where")
    for name in string_list(node.get("fk_attrs")):
        value = scope.find_column(name)
        if value is not None:
            walk.use(value.refs, "where")
    for exclusion in node.get("exclusions", ()):
        element, names = exclusion["List"]["items"]
        clause(walk, scope, element["IndexElem"].get("expr"), "where")
        calls.operator(walk, names["List"]["items"], None, None)
    if "pktable" in node:
        # Whether a row exists there shows in every later insert.
        referenced = target(walk, node["pktable"])
        names = string_list(node.get("pk_attrs"))
        columns = [c for c in referenced.columns if not names or c.name in names]
        refs = frozenset(ColumnRef(referenced.oid, c.attnum) for c in columns)
        walk.read_relation(referenced)
        walk.reads.update(refs)
        if names:
            walk.use(refs, "where")


def partition_bound(walk: Walk, node: Node) -> None:
    """Walk the bounds of a partition."""
    for key in ("listdatums", "lowerdatums", "upperdatums"):
        for datum in node.get(key, ()):
            if "PartitionRangeDatum" in datum:
                value = datum["PartitionRangeDatum"].get("value")
                clause(walk, Scope(), value, "expression")
            elif "ColumnRef" not in datum:  # MINVALUE and MAXVALUE are bare words here
                expr(walk, Scope(), datum)


# -- CREATE ... AS --------------------------------------------------------------------------

_INTO: Final = frozenset("rel colNames options onCommit skipData accessMethod".split())


def select_into(body: Node) -> Node | None:
    """Return SELECT ... INTO as the CREATE TABLE AS that it is, None for a plain SELECT."""
    leftmost = body
    while "larg" in leftmost:
        leftmost = leftmost["larg"]
    if "intoClause" not in leftmost:
        return None
    if leftmost is not body:
        refuse("SELECT INTO in a set operation is not analysed")
    plain = {key: value for key, value in body.items() if key != "intoClause"}
    return {
        "query": {"SelectStmt": plain},
        "into": body["intoClause"],
        "objtype": "OBJECT_TABLE",
        "is_select_into": True,
    }


def create_table_as(walk: Walk, node: Node) -> Draft:
    """Analyse CREATE TABLE AS, SELECT INTO and CREATE MATERIALIZED VIEW."""
    walk.by_text()
    check_fields(
        "CREATE TABLE AS",
        node,
        frozenset("query into objtype is_select_into if_not_exists".split()),
    )
    into = node["into"]
    check_fields("INTO", into, _INTO)
    kind = "matview" if node.get("objtype") == "OBJECT_MATVIEW" else "table"
    _create(walk, into["rel"], kind)
    _stored_query(walk, node["query"])
    return Draft("create_table_as", ddl=True)


def create_view(walk: Walk, node: Node) -> Draft:
    """Analyse CREATE VIEW."""
    walk.by_text()
    check_fields(
        "CREATE VIEW", node, frozenset("view aliases query replace options withCheckOption".split())
    )
    _create(walk, node["view"], "view")
    if node.get("replace"):
        existing = walk.catalog.find_relation(
            node["view"].get("schemaname", ""), node["view"]["relname"], walk.path
        )
        if existing is not None:
            walk.effect("schema.alter.view", existing.ref)
    _stored_query(walk, node["query"])
    return Draft("create_view", ddl=True)


def _stored_query(walk: Walk, query: Node) -> None:
    if next(iter(query)) not in QUERY_KINDS:
        refuse("storing the result of this statement is not analysed")
    columns = columns_of(walk, Scope(), query)
    walk.use(union([value for _, value in columns]), "source")


# -- CREATE INDEX, SEQUENCE, TYPE -----------------------------------------------------------


def create_index(walk: Walk, node: Node) -> Draft:
    """Analyse CREATE INDEX: an effect on its table, so that table grants cover it."""
    walk.by_text()
    relation = target(walk, node["relation"])
    if node.get("tableSpace"):
        refuse("a tablespace is not analysed")
    walk.effect("schema.create.index", relation.ref)
    scope = Scope(None, [relation_item(relation, "", [])])
    for key in ("indexParams", "indexIncludingParams"):
        for element in node.get(key, ()):
            body = element["IndexElem"]
            if "name" in body and node.get("unique"):
                value = scope.find_column(body["name"])
                if value is not None:
                    walk.use(value.refs, "where")
            clause(walk, scope, body.get("expr"), "where")
            for name in (body.get("opclass"), body.get("collation")):
                if name and len(name) > 1 and string_list(name)[0] != PG_CATALOG:
                    refuse("a user-defined operator class or collation is not analysed")
    clause(walk, scope, node.get("whereClause"), "where")
    return Draft("create_index", ddl=True)


def create_sequence(walk: Walk, node: Node) -> Draft:
    """Analyse CREATE SEQUENCE."""
    walk.by_text()
    check_fields(
        "CREATE SEQUENCE", node, frozenset("sequence options if_not_exists for_identity".split())
    )
    _create(walk, node["sequence"], "sequence")
    return Draft("create_sequence", ddl=True)


def create_type(walk: Walk, node: Node) -> Draft:
    """Analyse CREATE TYPE (composite, enum) and CREATE DOMAIN."""
    walk.by_text()
    if "typevar" in node:
        name = [node["typevar"]["relname"]]
        if "schemaname" in node["typevar"]:
            name.insert(0, node["typevar"]["schemaname"])
    else:
        name = string_list(node.get("typeName") if "vals" in node else node.get("domainname"))
    if not name:
        refuse("a form of CREATE TYPE is not analysed")
    walk.effect("schema.create.type", named_ref(walk, name, "type"))
    for column in node.get("coldeflist", ()):
        column_type(walk, column["ColumnDef"]["typeName"])
    if "domainname" in node:
        column_type(walk, node["typeName"])
    for constraint in node.get("constraints", ()):
        columns = (("value", CLEAR),)
        scope = Scope(None, [Item("", columns, index(columns), rel_visible=False)])
        constraint_def(walk, scope, constraint["Constraint"])
    return Draft("create_type", ddl=True)


def named_ref(walk: Walk, name: list[str], kind: str) -> RelationRef:
    """Return the reference of an object about to be created, by its name's parts."""
    schema = name[-2] if len(name) > 1 else ""
    node: Node = {"relname": name[-1]}
    if schema:
        node["schemaname"] = schema
    return new_ref(walk, node, kind)


HANDLERS: Final[dict[str, StatementWalk]] = {
    "CreateStmt": create_table,
    "CreateTableAsStmt": create_table_as,
    "ViewStmt": create_view,
    "IndexStmt": create_index,
    "CreateSeqStmt": create_sequence,
    "CompositeTypeStmt": create_type,
    "CreateEnumStmt": create_type,
    "CreateDomainStmt": create_type,
}
