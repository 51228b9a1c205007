"""`postern policy diff --traffic audit` on what a real gateway recorded."""

from __future__ import annotations

from pathlib import Path

import orjson
import psycopg
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.sample import POLICY
from tests.support.stands import Stand, own_directory


def test_recorded_statements_are_decided_under_both(stand: Stand) -> None:
    """Goal: before a change goes live its owner sees whom it hits.

    Method: an analyst's statements, allowed and refused; then orders are taken away, salaries
    given, and names masked.
    """
    changed = POLICY.replace('tables: ["*"], except_tables: [salaries]}', "tables: [customers]}", 1)
    changed += "  - {id: names, columns: [sales.customers.name], with: {kind: redact}}\n"
    with own_directory() as place, GatewayProcess(stand.cluster, Path(place)) as gateway:
        with gateway.connect(["analysts"]) as conn:
            conn.execute("select id, name from sales.customers limit 1")
            for _ in range(3):
                conn.execute("select id from sales.orders where id = 1")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("select * from sales.salaries")
        new = Path(place) / "new"
        new.mkdir()
        (new / "policy.yaml").write_text(changed)
        arguments = ["policy", "diff", str(gateway.directory / "policies")]
        options = ["-c", str(gateway.config), "--traffic", "audit", "--json"]
        wait_until(
            lambda: gateway.audit("--kind", "statement.refused"), what="the trail is written"
        )
        found = orjson.loads(gateway.cli(*arguments, str(new), *options, check=False))
        assert [(r["section"], r["name"], r["what"]) for r in found["rules"]] == [
            ("grants", "read-sales", "changed"),
            ("masks", "names", "added"),
        ]
        assert [(c["what"], c["sample"]["count"]) for c in found["decisions"]] == [
            ("newly refused", 3),
            ("masks changed", 1),
        ]
        same = gateway.cli(*arguments, arguments[-1], *options)
        assert orjson.loads(same)["decisions"] == []
        assert orjson.loads(same)["statements"] >= 3
