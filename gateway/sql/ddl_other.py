"""Statements whose effect is known from their kind alone; none belongs to a level.

Nothing inside them is read: they are refused unless a grant names the effect, and whoever
grants `code.do` or `schema.create.function` grants everything the server's role may do.
"""

from __future__ import annotations

from typing import Final

from gateway.sql import calls
from gateway.sql.effects import Node, Walk
from gateway.sql.expressions import operands
from gateway.sql.scope import Scope, string_list
from gateway.sql.statements import Draft, StatementWalk

EFFECTS: Final[dict[str, str]] = {
    "DoStmt": "code.do",
    "CreateFunctionStmt": "schema.create.function",
    "AlterFunctionStmt": "schema.alter.function",
    "CreateTrigStmt": "schema.create.trigger",
    "CreateEventTrigStmt": "schema.create.event_trigger",
    "AlterEventTrigStmt": "schema.alter.event_trigger",
    "RuleStmt": "schema.create.rule",
    "CreatePolicyStmt": "schema.create.policy",
    "AlterPolicyStmt": "schema.alter.policy",
    "CreateSchemaStmt": "schema.create.schema",
    "CreateRangeStmt": "schema.create.range",
    "DefineStmt": "schema.create.definition",
    "AlterTypeStmt": "schema.alter.definition",
    "AlterEnumStmt": "schema.alter.type",
    "AlterDomainStmt": "schema.alter.domain",
    "AlterCollationStmt": "schema.alter.collation",
    "AlterOperatorStmt": "schema.alter.operator",
    "AlterOpFamilyStmt": "schema.alter.operator",
    "CreateOpClassStmt": "schema.create.operator",
    "CreateOpFamilyStmt": "schema.create.operator",
    "CreateCastStmt": "schema.create.cast",
    "CreateConversionStmt": "schema.create.conversion",
    "CreateTransformStmt": "schema.create.transform",
    "CreateAmStmt": "schema.create.access_method",
    "CreatePLangStmt": "schema.create.language",
    "CreateStatsStmt": "schema.create.statistics",
    "AlterStatsStmt": "schema.alter.statistics",
    "AlterTSConfigurationStmt": "schema.alter.text_search",
    "AlterTSDictionaryStmt": "schema.alter.text_search",
    "AlterObjectDependsStmt": "schema.alter.depends",
    "AlterTableMoveAllStmt": "schema.alter.tablespace",
    "SecLabelStmt": "schema.alter.label",
    "ReindexStmt": "schema.alter.reindex",
    "ClusterStmt": "schema.alter.cluster",
    "AlterOwnerStmt": "role.owner",
    "GrantStmt": "role.grant",
    "GrantRoleStmt": "role.grant",
    "AlterDefaultPrivilegesStmt": "role.grant",
    "CreateRoleStmt": "role.create",
    "AlterRoleStmt": "role.alter",
    "AlterRoleSetStmt": "role.alter",
    "DropRoleStmt": "role.drop",
    "DropOwnedStmt": "role.drop_owned",
    "ReassignOwnedStmt": "role.reassign_owned",
    "CreatedbStmt": "database.create",
    "DropdbStmt": "database.drop",
    "AlterDatabaseStmt": "database.alter",
    "AlterDatabaseSetStmt": "database.alter",
    "AlterDatabaseRefreshCollStmt": "database.alter",
    "CreateTableSpaceStmt": "server.file.write",
    "DropTableSpaceStmt": "server.file.write",
    "AlterTableSpaceOptionsStmt": "server.config",
    "AlterSystemStmt": "server.config",
    "CheckPointStmt": "server.config",
    "LoadStmt": "server.file.read",
    "CreateExtensionStmt": "extension.create",
    "AlterExtensionStmt": "extension.alter",
    "AlterExtensionContentsStmt": "extension.alter",
    "CreateFdwStmt": "egress.fdw",
    "AlterFdwStmt": "egress.fdw",
    "CreateForeignServerStmt": "egress.fdw",
    "AlterForeignServerStmt": "egress.fdw",
    "CreateForeignTableStmt": "egress.fdw",
    "ImportForeignSchemaStmt": "egress.fdw",
    "CreateUserMappingStmt": "egress.fdw",
    "AlterUserMappingStmt": "egress.fdw",
    "DropUserMappingStmt": "egress.fdw",
    "CreateSubscriptionStmt": "egress.subscription",
    "AlterSubscriptionStmt": "egress.subscription",
    "DropSubscriptionStmt": "egress.subscription",
    "CreatePublicationStmt": "replication.publication",
    "AlterPublicationStmt": "replication.publication",
}


def _by_kind(kind: str, effect: str) -> StatementWalk:
    label = kind.removesuffix("Stmt").lower()

    def handle(walk: Walk, _node: Node) -> Draft:
        walk.by_text()
        walk.effect(effect)
        return Draft(label, ddl=effect.startswith(("schema.", "extension.", "code.")))

    return handle


def call_procedure(walk: Walk, node: Node) -> Draft:
    """Analyse CALL: user code by definition."""
    walk.by_text()
    body = node["funccall"]
    parts = string_list(body["funcname"])
    values = operands(walk, Scope(), body.get("args"))
    before = len(walk.effects)
    schema = parts[0] if len(parts) > 1 else ""
    calls.call(walk, schema, parts[-1], body.get("args", []), values)
    if len(walk.effects) == before:
        walk.effect("function.call_volatile", name=".".join(parts))
    return Draft("call")


HANDLERS: Final[dict[str, StatementWalk]] = {
    **{kind: _by_kind(kind, effect) for kind, effect in EFFECTS.items()},
    "CallStmt": call_procedure,
}
