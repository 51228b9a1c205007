"""ALTER, DROP, TRUNCATE and maintenance: effects on what exists.

What would take a column out of reach of its mask (detaching a partition, dropping a generation
expression) is an effect of its own that no level includes.
"""

from __future__ import annotations

from typing import Final

from gateway.errors import NotGranted
from gateway.sql.catalog import Relation
from gateway.sql.ddl_create import (
    column_def,
    column_type,
    constraint_def,
    named_ref,
    new_ref,
    partition_bound,
)
from gateway.sql.effects import Node, Walk, check_fields, refuse
from gateway.sql.expressions import clause
from gateway.sql.facts import RelationRef
from gateway.sql.from_clause import target
from gateway.sql.scope import Scope, no_relation, relation_item, string_list
from gateway.sql.statements import Draft, StatementWalk

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
            column_type(walk, body["typeName"])
            # USING: the new values are computed from other columns.
            clause(walk, scope, body.get("raw_default"), "assign")
        else:
            column_def(walk, scope, body)
    elif "Constraint" in definition:
        constraint_def(walk, scope, definition["Constraint"])
    elif "PartitionCmd" in definition:
        body = definition["PartitionCmd"]
        walk.effect("schema.alter.table", target(walk, body["name"]).ref)
        if "bound" in body:
            partition_bound(walk, body["bound"])
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
            walk.effect("schema.drop.type", named_ref(walk, names, "type"))
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
        walk.effect(f"schema.drop.{kind}", named_ref(walk, names, kind))
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


def alter_sequence(walk: Walk, node: Node) -> Draft:
    """Analyse ALTER SEQUENCE."""
    walk.by_text()
    _alter(walk, node["sequence"], "sequence", missing_ok=bool(node.get("missing_ok")))
    return Draft("alter_sequence", ddl=True)


HANDLERS: Final[dict[str, StatementWalk]] = {
    "AlterSeqStmt": alter_sequence,
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
