"""What a change of policy does, told from rules and from statements."""

from __future__ import annotations

from pathlib import Path

from gateway.policy.diff import Sample, compare_rules, compare_traffic
from gateway.policy.engine import Engine
from tests.unit.policy.world import POLICY, load, make_catalog

READERS = ("corp:readers",)


def engines(directory: Path, changed: str) -> tuple[Engine, Engine]:
    old, new = directory / "old", directory / "new"
    old.mkdir()
    new.mkdir()
    return (
        Engine(load(old), {"orders": make_catalog()}),
        Engine(load(new, changed), {"orders": make_catalog()}),
    )


def test_rules_that_differ_are_named(tmp_path: Path) -> None:
    changed = POLICY.replace("keep_last: 4", "keep_last: 2").replace("hold: 5s", "hold: 6s")
    changed = changed.replace("{id: no-truncate", "{id: never-truncate")
    old, new = engines(tmp_path, changed)
    assert [(c.section, c.name, c.what) for c in compare_rules(old.bundle, new.bundle)] == [
        ("denies", "never-truncate", "added"),
        ("denies", "no-truncate", "removed"),
        ("guards", "bulk-change", "changed"),
        ("masks", "ssn", "changed"),
    ]
    assert compare_rules(old.bundle, old.bundle) == []


def test_traffic_tells_refused_allowed_and_masked(tmp_path: Path) -> None:
    """Goal: each kind of surprise is named, the refusals first, with how often it was sent."""
    changed = POLICY.replace("except_tables: [salaries]}", "except_tables: [orders]}")
    changed += "  - {id: names, columns: [sales.customers.name], with: {kind: redact}}\n"
    old, new = engines(tmp_path, changed)
    samples = [
        Sample(READERS, "orders", "select name from customers", 2),
        Sample(READERS, "orders", "select amount from salaries", 3),
        Sample(READERS, "orders", "select id from orders", 4),
        Sample(READERS, "orders", "select id from refunds", 5),
        Sample(("corp:nobody",), "orders", "select id from orders", 6),
    ]
    found = compare_traffic(old, new, samples)
    assert [(c.what, c.sample.count, c.before, c.after) for c in found] == [
        ("newly refused", 4, "allow", "deny PN301"),
        ("newly allowed", 3, "deny PN301", "allow"),
        ("masks changed", 2, "allow", "allow masked names"),
    ]
    assert compare_traffic(old, old, samples) == []
