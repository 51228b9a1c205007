"""Statements that change schemas: each an effect `schema.<verb>.<kind>` on what it touches.

What runs later on the owner's behalf (defaults, checks, generated columns, index expressions)
is walked for the functions it calls; what copies values is a use as `source` or `assign`.
"""

from __future__ import annotations

from typing import Final

from gateway.errors import NotGranted
from gateway.sql import calls
from gateway.sql.catalog import PG_CATALOG, Relation
from gateway.sql.ddl_other import HANDLERS as OTHER_HANDLERS
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.expressions import TYPE_NAME, clause, expr
from gateway.sql.facts import ColumnRef, RelationRef
from gateway.sql.from_clause import RANGE_VAR, target
from gateway.sql.query import columns_of
from gateway.sql.scope import Item, Scope, index, no_relation, relation_item, string_list
from gateway.sql.statements import QUERY_KINDS, Draft, StatementWalk
from gateway.sql.values import CLEAR, Column, union

_SERIAL: Final = frozenset("serial bigserial smallserial serial2 serial4 serial8".split())
_OBJECTS: Final = {
    "OBJECT_TABLE": "table",
    "OBJECT_FOREIGN_TABLE": "foreign_table",
    "OBJECT_VIEW": "view",
    "OBJECT_MATVIEW": "matview",
    "OBJECT_INDEX": "index",
    "OBJECT_SEQUENCE": "sequence",
    "OBJECT_TYPE": "type",
    "OBJECT_DOMAIN": "type",
    "OBJECT_SCHEMA": "schema",
}
_RELATIONS: Final = frozenset({"table", "foreign_table", "view", "matview", "index", "sequence"})


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
        walk.effect("schema.create.temp_table", RelationRef("pg_temp", node["relname"], 0, kind))
        walk.pin = "temp"
    else:
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
            _column_def(walk, scope, element["ColumnDef"])
        elif "Constraint" in element:
            _constraint(walk, scope, element["Constraint"])
    if "partbound" in node:
        _partition_bound(walk, node["partbound"])
    for part in node.get("partspec", {}).get("partParams", ()):
        clause(walk, scope, part["PartitionElem"].get("expr"), "where")
    return Draft("create_table", ddl=True)


_COLUMN_DEF: Final = frozenset(
    "colname typeName compression is_local is_not_null storage storage_name raw_default "
    "identity identitySequence generated collClause constraints location".split()
)


def _column_def(walk: Walk, scope: Scope, node: Node) -> None:
    check_fields("a column definition", node, _COLUMN_DEF)
    if "typeName" in node:
        _column_type(walk, node["typeName"])
    clause(walk, scope, node.get("raw_default"), "source")
    for constraint in node.get("constraints", ()):
        _constraint(walk, scope, constraint["Constraint"])


def _column_type(walk: Walk, node: Node) -> None:
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


def _constraint(walk: Walk, scope: Scope, node: Node) -> None:
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


def _partition_bound(walk: Walk, node: Node) -> None:
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


def alter_sequence(walk: Walk, node: Node) -> Draft:
    """Analyse ALTER SEQUENCE."""
    walk.by_text()
    _alter(walk, node["sequence"], "sequence", missing_ok=bool(node.get("missing_ok")))
    return Draft("alter_sequence", ddl=True)


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
    walk.effect("schema.create.type", _named(walk, name, "type"))
    for column in node.get("coldeflist", ()):
        _column_type(walk, column["ColumnDef"]["typeName"])
    if "domainname" in node:
        _column_type(walk, node["typeName"])
    for constraint in node.get("constraints", ()):
        columns = (("value", CLEAR),)
        scope = Scope(None, [Item("", columns, index(columns), rel_visible=False)])
        _constraint(walk, scope, constraint["Constraint"])
    return Draft("create_type", ddl=True)


def _named(walk: Walk, name: list[str], kind: str) -> RelationRef:
    schema = name[-2] if len(name) > 1 else ""
    node: Node = {"relname": name[-1]}
    if schema:
        node["schemaname"] = schema
    return new_ref(walk, node, kind)


# -- ALTER ----------------------------------------------------------------------------------

_SAFE_ALTER: Final = frozenset(
    """
AT_AddColumn AT_ColumnDefault AT_DropNotNull AT_SetNotNull AT_SetStatistics AT_SetOptions
AT_ResetOptions AT_SetStorage AT_SetCompression AT_DropColumn AT_AddConstraint AT_AlterConstraint
AT_ValidateConstraint AT_DropConstraint AT_AlterColumnType AT_AddIdentity AT_SetIdentity
AT_DropIdentity AT_ClusterOn AT_DropCluster AT_SetLogged AT_SetUnLogged AT_SetRelOptions
AT_ResetRelOptions AT_ReplaceRelOptions AT_AddInherit AT_AttachPartition AT_AddIndexConstraint
""".split()
)
# These would take a column out of reach of a mask, or change who may do what.
_OTHER_ALTER: Final = {
    "AT_DetachPartition": "schema.alter.detach",
    "AT_DetachPartitionFinalize": "schema.alter.detach",
    "AT_DropInherit": "schema.alter.detach",
    "AT_DropExpression": "schema.alter.drop_expression",
    "AT_SetExpression": "schema.alter.drop_expression",
    "AT_ChangeOwner": "role.owner",
    "AT_EnableRowSecurity": "schema.alter.row_security",
    "AT_DisableRowSecurity": "schema.alter.row_security",
    "AT_ForceRowSecurity": "schema.alter.row_security",
    "AT_NoForceRowSecurity": "schema.alter.row_security",
}


def alter_table(walk: Walk, node: Node) -> Draft:
    """Analyse ALTER TABLE and its twins for indexes, views and sequences."""
    walk.by_text()
    check_fields("ALTER TABLE", node, frozenset("relation cmds objtype missing_ok".split()))
    kind = _OBJECTS.get(node.get("objtype", "OBJECT_TABLE"))
    if kind is None:
        refuse("a form of ALTER is not analysed")
    if kind == "type":
        walk.effect("schema.alter.type", new_ref(walk, node["relation"], "type"))
        return Draft("alter_type", ddl=True)
    relation = _alter(walk, node["relation"], kind, missing_ok=bool(node.get("missing_ok")))
    scope = Scope(None, [relation_item(relation, "", [])] if relation is not None else [])
    for entry in node["cmds"]:
        _alter_command(walk, scope, relation, entry["AlterTableCmd"])
    return Draft(f"alter_{kind}", ddl=True)


def _alter(walk: Walk, node: Node, kind: str, *, missing_ok: bool) -> Relation | None:
    schema, name = node.get("schemaname", ""), node["relname"]
    relation = walk.catalog.find_relation(schema, name, walk.path)
    if relation is None:
        if not missing_ok:
            raise no_relation(schema, name)
        walk.effect(f"schema.alter.{kind}", new_ref(walk, node, kind))
        return None
    walk.effect(f"schema.alter.{kind}", relation.ref)
    return relation


def _alter_command(walk: Walk, scope: Scope, relation: Relation | None, node: Node) -> None:
    kind = node.get("subtype", "AT_AddColumn")
    if kind in _OTHER_ALTER:
        walk.effect(_OTHER_ALTER[kind], relation.ref if relation is not None else None)
    elif kind not in _SAFE_ALTER:
        walk.effect("unknown", name=kind)
    definition = node.get("def", {})
    if "ColumnDef" in definition:
        body = definition["ColumnDef"]
        if kind == "AT_AlterColumnType":
            _column_type(walk, body["typeName"])
            # USING: the new values are computed from other columns.
            clause(walk, scope, body.get("raw_default"), "assign")
        else:
            _column_def(walk, scope, body)
    elif "Constraint" in definition:
        _constraint(walk, scope, definition["Constraint"])
    elif "PartitionCmd" in definition:
        body = definition["PartitionCmd"]
        walk.effect("schema.alter.table", target(walk, body["name"]).ref)
        if "bound" in body:
            _partition_bound(walk, body["bound"])
    elif "RangeVar" in definition:
        walk.effect("schema.alter.table", target(walk, definition["RangeVar"]).ref)
    elif kind in ("AT_ColumnDefault", "AT_SetExpression") and definition:
        clause(walk, scope, definition, "source")
    elif kind in ("AT_AddColumn", "AT_AddConstraint") and definition:
        refuse("a form of ALTER TABLE is not analysed")


def rename(walk: Walk, node: Node) -> Draft:
    """Analyse ALTER ... RENAME."""
    walk.by_text()
    kind = node.get("renameType", "")
    if kind in ("OBJECT_COLUMN", "OBJECT_TABCONSTRAINT"):
        kind = (
            node.get("relationType", "OBJECT_TABLE") if kind == "OBJECT_COLUMN" else "OBJECT_TABLE"
        )
    name = _OBJECTS.get(kind)
    if name in _RELATIONS and "relation" in node and name is not None:
        _alter(walk, node["relation"], name, missing_ok=bool(node.get("missing_ok")))
    else:
        walk.effect(f"schema.alter.{kind.removeprefix('OBJECT_').lower()}")
    return Draft("rename", ddl=True)


def set_schema(walk: Walk, node: Node) -> Draft:
    """Analyse ALTER ... SET SCHEMA: an alteration here and a creation there."""
    walk.by_text()
    kind = _OBJECTS.get(node.get("objectType", ""))
    if kind not in _RELATIONS or "relation" not in node or kind is None:
        walk.effect(f"schema.alter.{node.get('objectType', '').removeprefix('OBJECT_').lower()}")
        return Draft("set_schema", ddl=True)
    relation = _alter(walk, node["relation"], kind, missing_ok=False)
    if relation is not None:
        ref = RelationRef(node["newschema"], relation.ref.name, 0, kind)
        walk.effect(f"schema.create.{kind}", ref)
    return Draft("set_schema", ddl=True)


# -- DROP, TRUNCATE, REFRESH ----------------------------------------------------------------


def drop(walk: Walk, node: Node) -> Draft:
    """Analyse DROP of anything but roles, databases and tablespaces."""
    walk.by_text()
    check_fields(
        "DROP", node, frozenset("objects removeType behavior missing_ok concurrent".split())
    )
    object_type = node.get("removeType", "")
    kind = _OBJECTS.get(object_type, object_type.removeprefix("OBJECT_").lower())
    if kind == "extension":
        walk.effect("extension.drop")
    elif kind in _RELATIONS:
        for entry in node["objects"]:
            _drop_relation(walk, string_list(entry["List"]["items"]), kind, node)
    elif kind == "type":
        for entry in node["objects"]:
            names = string_list(entry["TypeName"]["names"])
            walk.effect("schema.drop.type", _named(walk, names, "type"))
    elif kind == "schema":
        for name in string_list(node["objects"]):
            walk.effect("schema.drop.schema", name=name)
    else:
        walk.effect(f"schema.drop.{kind}")
    if node.get("behavior") == "DROP_CASCADE":
        # What else goes is not in the text.
        walk.effect("schema.drop.cascade")
    return Draft("drop", ddl=True)


def _drop_relation(walk: Walk, names: list[str], kind: str, node: Node) -> None:
    schema = names[-2] if len(names) > 1 else ""
    relation = walk.catalog.find_relation(schema, names[-1], walk.path)
    if relation is not None:
        walk.effect(f"schema.drop.{kind}", relation.ref)
    elif node.get("missing_ok"):
        walk.effect(f"schema.drop.{kind}", _named(walk, names, kind))
    else:
        raise no_relation(schema, names[-1])


def truncate(walk: Walk, node: Node) -> Draft:
    """Analyse TRUNCATE."""
    walk.by_text()
    check_fields("TRUNCATE", node, frozenset("relations restart_seqs behavior".split()))
    for entry in node["relations"]:
        walk.effect("table.truncate", target(walk, entry["RangeVar"]).ref)
    if node.get("behavior") == "DROP_CASCADE":
        walk.effect("table.truncate_cascade")
    return Draft("truncate")


def refresh(walk: Walk, node: Node) -> Draft:
    """Analyse REFRESH MATERIALIZED VIEW."""
    walk.by_text()
    walk.effect("schema.refresh.matview", target(walk, node["relation"]).ref)
    return Draft("refresh", ddl=True)


# -- maintenance ----------------------------------------------------------------------------


def vacuum(walk: Walk, node: Node) -> Draft:
    """Analyse VACUUM and ANALYZE."""
    walk.by_text()
    verb = "vacuum" if node.get("is_vacuumcmd") else "analyze"
    rels = node.get("rels", ())
    for entry in rels:
        relation = entry["VacuumRelation"].get("relation")
        if relation is None:
            raise NotGranted("the relation does not exist or is not granted")
        walk.effect(f"table.{verb}", target(walk, relation).ref)
    if not rels:
        walk.effect(f"database.{verb}")
    return Draft(verb)


def lock(walk: Walk, node: Node) -> Draft:
    """Analyse LOCK TABLE."""
    walk.by_text()
    for entry in node["relations"]:
        walk.effect("table.lock", target(walk, entry["RangeVar"]).ref)
    return Draft("lock")


def comment(walk: Walk, node: Node) -> Draft:
    """Analyse COMMENT ON."""
    walk.by_text()
    kind = node.get("objtype", "").removeprefix("OBJECT_").lower()
    items = node.get("object", {}).get("List", {}).get("items", [])
    names = string_list(items) if all("String" in item for item in items) else []
    if kind == "column" and names:
        names = names[:-1]
    elif kind not in _RELATIONS:
        names = []
    if not names:
        walk.effect(f"schema.comment.{kind}")
        return Draft("comment", ddl=True)
    schema = names[-2] if len(names) > 1 else ""
    relation = walk.catalog.find_relation(schema, names[-1], walk.path)
    if relation is None:
        raise no_relation(schema, names[-1])
    walk.effect("table.comment", relation.ref)
    return Draft("comment", ddl=True)


HANDLERS: Final[dict[str, StatementWalk]] = {
    **OTHER_HANDLERS,
    "CreateStmt": create_table,
    "CreateTableAsStmt": create_table_as,
    "ViewStmt": create_view,
    "IndexStmt": create_index,
    "CreateSeqStmt": create_sequence,
    "AlterSeqStmt": alter_sequence,
    "CompositeTypeStmt": create_type,
    "CreateEnumStmt": create_type,
    "CreateDomainStmt": create_type,
    "AlterTableStmt": alter_table,
    "RenameStmt": rename,
    "AlterObjectSchemaStmt": set_schema,
    "DropStmt": drop,
    "TruncateStmt": truncate,
    "RefreshMatViewStmt": refresh,
    "VacuumStmt": vacuum,
    "LockStmt": lock,
    "CommentStmt": comment,
}
