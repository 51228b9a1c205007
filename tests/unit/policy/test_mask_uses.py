"""`on_predicate` and `on_derived`: what a mask lets its column be used for, on real statements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import zstandard

from gateway.policy.engine import Engine
from gateway.sql.catalog import Catalog
from gateway.sql.catalog_load import build_catalog
from tests.unit.policy.test_engine import ask, text
from tests.unit.policy.world import load
from tests.unit.sql.conftest import SNAPSHOT

POLICY = """
version: 1
mode: enforce
groups:
  agents: {from: ["corp:agents"], kind: agent}
grants:
  - {id: admin-sales, to: [agents], target: orders, level: admin, schema: sales}
masks:
  - {id: email, columns: [sales.customers.email], with: {kind: email}OPTIONS}
  - {id: ssn, columns: [sales.customers.ssn], with: {kind: redact}}
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    found = build_catalog(orjson.loads(zstandard.decompress(SNAPSHOT.read_bytes())))
    return replace(found, default_search_path=("sales",))


def engine_with(directory: Path, catalog: Catalog, options: str) -> Engine:
    policy = POLICY.replace("OPTIONS", f", {options}" if options else "")
    return Engine(load(directory, policy), {"orders": catalog})


_USES = {
    "equality": ("select id from customers where email = 'a'", "select id from customers where "
                 "$1 = email and id > 1", "select count(*) from customers where not email = 'x'"),
    "predicate": ("select id from customers where email like 'a%'", "select id from customers "
                  "where lower(email) = 'a'", "select o.id from orders o join customers c on "
                  "c.email = o.note", "select id from customers where email = name",
                  "select id from customers where email in ('a')"),
    "derived": ("select upper(email) from customers", "select max(email) from customers",
                "select id from customers order by email", "select distinct email from customers",
                "select rank() over (order by email) from customers", "select count(*) from "
                "customers group by email"),
    "never": ("insert into orders (id, note) select id, email from customers",
              "copy (select upper(ssn) from customers) to stdout",
              "create table sales.x as select email from customers",
              "explain select id from customers where email = 'a'",
              "select upper(ssn) from customers", "select id from customers where ssn = 'a'",
              "select to_json(c) from customers c"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ("on_predicate: deny", set()),
        ("on_predicate: equality", {"equality"}),
        ("on_predicate: allow", {"equality", "predicate"}),
        ("on_derived: allow", {"derived"}),
        (
            "on_derived: allow, on_predicate: equality",
            {"equality", "derived"},
        ),
        (
            "on_derived: allow, on_predicate: allow",
            {"equality", "predicate", "derived"},
        ),
    ],
)
def test_masks_allow_the_uses_they_name(
    tmp_path: Path, catalog: Catalog, options: str, allowed: set[str]
) -> None:
    """Goal: each choice opens what it says and nothing else, whatever a neighbour column has."""
    engine = engine_with(tmp_path, catalog, options)
    for kind, statements in _USES.items():
        for sql in statements:
            refusal = text(ask(engine, sql, "agents"))
            assert refusal.startswith("PN307") == (kind not in allowed), (sql, refusal)
            assert not refusal or kind not in allowed, (sql, refusal)


def test_strictest_mask_decides_about_uses(tmp_path: Path, catalog: Catalog) -> None:
    """Goal: a second mask on a column takes back what the first allows."""
    policy = POLICY.replace("OPTIONS", ", on_predicate: allow") + (
        "  - {id: also, columns: [sales.customers.email], with: {kind: redact}}\n"
    )
    engine = Engine(load(tmp_path, policy), {"orders": catalog})
    decision = ask(engine, "select id from customers where email = 'a'", "agents")
    assert text(decision).startswith("PN307")


def test_allowed_uses_leave_the_output_masked(tmp_path: Path, catalog: Catalog) -> None:
    """Goal: a predicate does not unmask."""
    engine = engine_with(tmp_path, catalog, "on_predicate: equality")
    decision = ask(engine, "select email from customers where email = 'a'", "agents")
    assert decision.action == "allow"
    assert decision.masks == ("email",)
    assert decision.statements[0].outputs == (0,)
