"""A small database and a policy for it, built by hand: no server, no parser."""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from gateway.policy.bundle import Bundle
from gateway.policy.compile import TargetPolicy, compile_target
from gateway.policy.load import load_bundle
from gateway.policy.principal import Principal
from gateway.policy.rights import Rights
from gateway.sql.catalog import Catalog, ColumnInfo, Relation, ViewInfo, make_relation
from gateway.sql.facts import (
    ColumnRef,
    ColumnUse,
    Effect,
    Output,
    RelationRef,
    StatementFacts,
)

TEXT, INT, JSONB = 25, 23, 3802

TABLES: dict[str, tuple[int, str, dict[str, int]]] = {
    "sales.customers": (20001, "table", {"id": INT, "name": TEXT, "email": TEXT, "ssn": TEXT}),
    "sales.customers_eu": (20002, "table", {"id": INT, "email": TEXT, "name": TEXT, "ssn": TEXT}),
    "sales.orders": (20003, "table", {"id": INT, "customer_id": INT, "total": INT}),
    "sales.refunds": (20004, "table", {"id": INT, "status": TEXT, "note": TEXT, "amount": INT}),
    "sales.salaries": (20005, "table", {"id": INT, "amount": INT}),
    "sales.contacts": (20006, "view", {"id": INT, "mail": TEXT, "shouted": TEXT}),
    "hr.people": (20007, "table", {"id": INT, "iban": TEXT}),
}

POLICY = """
version: 1
mode: enforce
groups:
  agents: {from: ["corp:agents"], kind: agent}
  readers: {from: ["corp:readers"], kind: agent}
  admins: {from: ["corp:admins"], kind: agent}
  privacy: {from: ["corp:privacy"], kind: human}
  dba: {from: ["corp:dba"], kind: human}
  security: {from: ["corp:security"], kind: human}
tags:
  pii: ["sales.customers.email"]
grants:
  - {id: read-sales, to: [agents, readers, privacy], target: orders, level: read, schema: sales, except_tables: [salaries]}
  - {id: refund, to: [agents], target: orders, level: write, schema: sales, tables: [refunds], columns: {update: [status, note]}}
  - {id: admin-sales, to: [admins], target: orders, level: admin, schema: sales, functions: [sales.total]}
denies:
  - {id: no-egress, to: ["*"], effects: ["egress.*", "server.*", "role.*"]}
  - {id: no-truncate, to: ["*"], effects: [table.truncate], schema: sales, tables: [orders]}
guards:
  - id: bulk-change
    to: [agents, admins]
    effects: [rows.delete]
    when: {any: [{no_where: true}]}
    then: approve
    approval: {from: [dba, security], hold: 5s}
  - {id: schema-change, to: [admins], effects: ["schema.alter.*"], then: approve, approval: {from: [dba], quorum: 2}}
masks:
  - {id: email, columns: {tag: pii}, except: [privacy], with: {kind: email}}
  - {id: ssn, columns: [sales.customers.ssn], with: {kind: partial, keep_last: 4}}
"""


def make_catalog(
    version: str = "c1", tables: dict[str, tuple[int, str, dict[str, int]]] | None = None
) -> Catalog:
    """Return the catalog of `TABLES`: a partition, and a view that shows an e-mail twice."""
    relations: list[Relation] = []
    for name, (oid, kind, columns) in (tables or TABLES).items():
        schema, _, table = name.partition(".")
        infos = [
            ColumnInfo(column, number, type_oid, not_null=column == "email")
            for number, (column, type_oid) in enumerate(columns.items(), 1)
        ]
        relation = make_relation(RelationRef(schema, table, oid, kind), infos)
        if name == "sales.customers":
            relation = replace(relation, children=(20002,))
        if name == "sales.customers_eu":
            relation = replace(relation, parents=(20001,))
        relations.append(relation)
    email = ColumnRef(20001, 3)
    views = {
        20006: ViewInfo(
            {
                1: ("direct", frozenset({ColumnRef(20001, 1)})),
                2: ("direct", frozenset({email})),
                3: ("derived", frozenset({email})),
            },
            frozenset({email, ColumnRef(20001, 1)}),
        )
    }
    return Catalog(
        version=version,
        server_version=150004,
        user="postern",
        default_search_path=("sales",),
        schemas=frozenset({"sales", "hr", "pg_catalog"}),
        relations={(r.ref.schema, r.ref.name): r for r in relations},
        by_oid={r.oid: r for r in relations},
        functions={},
        types={},
        types_by_oid={},
        views=views,
        database="7/16384",
    )


def write_policy(directory: Path, text: str, name: str = "policy.yaml") -> Path:
    """Write a policy file and return its directory."""
    (directory / name).write_text(textwrap.dedent(text))
    return directory


def load(directory: Path, text: str = POLICY) -> Bundle:
    """Return the bundle of one policy text."""
    return load_bundle(write_policy(directory, text), targets=["orders", "other"], issuers=["corp"])


def compiled(directory: Path, text: str = POLICY) -> TargetPolicy:
    """Return the policy bound to the small database."""
    return compile_target(load(directory, text), "orders", make_catalog())


def rights(
    directory: Path, groups: Collection[str], text: str = POLICY, requested: str = ""
) -> Rights:
    """Return the rights of `groups` on the small database; fails when there are none."""
    found = compiled(directory, text).rights(groups, requested)
    assert found is not None
    return found


def principal(*groups: str) -> Principal:
    """Return a principal whose token holds `corp:<group>` for each group."""
    return Principal(
        issuer_id="corp",
        issuer="https://idp.example.com",
        subject="agent-7",
        groups=tuple(f"corp:{group}" for group in groups),
        token_id="t1",
        expires_at=2_000_000_000.0,
        issued_at=1_900_000_000.0,
    )


def relation(name: str) -> RelationRef:
    """Return the reference of a table; one that is not in the database has OID 0."""
    schema, _, table = name.rpartition(".")
    oid, kind, _ = TABLES.get(name, (0, "table", {}))
    return RelationRef(schema, table, oid, kind)


def column(name: str) -> ColumnRef:
    """Return the identity of `schema.table.column`."""
    table, _, attribute = name.rpartition(".")
    oid, _, columns = TABLES[table]
    return ColumnRef(oid, list(columns).index(attribute) + 1)


def effect(effect_id: str, table: str = "", *columns: str, name: str = "") -> Effect:
    """Return an effect on a table by name."""
    return Effect(effect_id, relation(table) if table else None, columns, name)


def select(
    table: str, *columns: str, uses: Collection[ColumnUse] = (), kind: str = "select"
) -> StatementFacts:
    """Return the facts of `SELECT columns FROM table`."""
    refs = [column(f"{table}.{name}") for name in columns] if table in TABLES else []
    outputs = tuple(
        Output(name, "direct", frozenset({ref})) for name, ref in zip(columns, refs, strict=False)
    )
    return StatementFacts(
        kind=kind,
        effects=(effect("rows.read", table, *columns),),
        outputs=outputs,
        uses=tuple(uses),
        reads=frozenset(refs),
        cache="fingerprint",
    )


def use(name: str, place: str) -> ColumnUse:
    """Return the use of `schema.table.column` at `place`."""
    table, _, attribute = name.rpartition(".")
    return ColumnUse(column(name), relation(table), attribute, place)
