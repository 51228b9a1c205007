"""Ways to get at customers.email, salaries, or the server, tried as the hostile agent would.

Each must end as a refusal, as an effect outside the read level, or as a use or derived output of
the masked column: any of these makes the policy refuse. Plain `direct` is masked on the wire.
"""

from __future__ import annotations

import pytest

from gateway.errors import ClientError
from gateway.sql.analyze import analyze
from gateway.sql.catalog import Catalog
from gateway.sql.facts import EFFECT_LEVELS, ColumnRef, StatementFacts
from tests.adversarial.sql.cases import VALUES
from tests.adversarial.sql.server_cases import SERVER
from tests.unit.sql.conftest import catalog  # noqa: F401


def masked(at: Catalog) -> set[ColumnRef]:
    """Everything that exposes customers.email, salaries or the parent's secret."""
    hidden = {("sales", "customers", "email"), ("app", "parent", "secret")}
    base = {
        ColumnRef(relation.oid, relation.by_name[column].attnum)
        for schema, name, column in hidden
        for relation in [at.relations[schema, name]]
    }
    base |= {ColumnRef(at.relations["sales", "salaries"].oid, n) for n in (1, 2)}
    return {
        ColumnRef(relation.oid, column.attnum)
        for relation in at.by_oid.values()
        if relation.ref.schema in ("sales", "app")
        for column in relation.columns
        if at.lineage(relation.oid, column.attnum) & base
    }


def is_caught(at: Catalog, found: StatementFacts, hidden: set[ColumnRef], not_granted: int) -> bool:
    if any(effect.id not in EFFECT_LEVELS["read"] + EFFECT_LEVELS["write"][:3]
           for effect in found.effects):  # fmt: skip
        return True
    if any(e.relation is not None and e.relation.oid == not_granted for e in found.effects):
        return True
    if any(e.relation is not None and e.relation.kind == "sequence" for e in found.effects):
        return True  # needs a grant on the sequence
    if any(
        e.id != "rows.read" and e.relation is not None and e.relation.schema == "pg_catalog"
        and e.id.startswith("rows.")
        for e in found.effects
    ):  # fmt: skip
        return True  # no schema grant reaches pg_catalog
    if any(use.column in hidden for use in found.uses):
        return True
    if found.copy == "out" and found.outputs is not None:
        # COPY is masked on the wire as a SELECT is, when every masked output is a plain one.
        return any(o.sources & hidden for o in found.outputs)
    # A view column that is computed from a masked one is blocked, however plainly it is read.
    return any(
        o.sources & hidden
        and (o.verdict != "direct" or any(at.exposes(*r)[0] != "direct" for r in o.sources))
        for o in found.outputs or ()
    )


@pytest.mark.parametrize(
    "sql", (VALUES + SERVER).replace(chr(10) * 2, chr(10)).strip().splitlines()
)
def test_no_way_out(catalog: Catalog, sql: str) -> None:  # noqa: F811
    hidden = masked(catalog)
    not_granted = catalog.relations["sales", "salaries"].oid
    try:
        found = analyze(sql.encode(), catalog, search_path=("sales", "app"))
    except ClientError:
        return
    assert any(is_caught(catalog, one, hidden, not_granted) for one in found), found
