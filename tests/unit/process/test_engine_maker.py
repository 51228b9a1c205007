"""Engines follow each other, across reloads and restarts, without losing a mask."""

from __future__ import annotations

from pathlib import Path

from gateway.policy.engine import Engine
from gateway.policy.kept import read_kept
from gateway.process.analyzer import EngineMaker
from tests.unit.policy.world import TABLES, load, make_catalog


def renamed() -> dict[str, tuple[int, str, dict[str, int]]]:
    """Return the tables with `sales.customers.email` called `mail`."""
    oid, kind, columns = TABLES["sales.customers"]
    after = {("mail" if name == "email" else name): kind_ for name, kind_ in columns.items()}
    return TABLES | {"sales.customers": (oid, kind, after)}


def test_rename_while_stopped_keeps_the_mask(tmp_path: Path) -> None:
    """Goal: a restart is no way out of a mask. Method: two makers on one file, a rename between."""
    file = tmp_path / "bindings.json"
    active = load(tmp_path).to_json()
    EngineMaker(file)(active, {"orders": make_catalog()}, None)
    after = EngineMaker(file)(active, {"orders": make_catalog("c2", renamed())}, None)
    assert isinstance(after, Engine)
    assert after.problems == ()
    forgetful = EngineMaker(tmp_path / "none.json")
    blocked = forgetful(active, {"orders": make_catalog("c2", renamed())}, None)
    assert isinstance(blocked, Engine)
    assert blocked.problems


def test_rename_while_running_keeps_the_mask(tmp_path: Path) -> None:
    """Goal: the same without a restart, and without a place to keep anything."""
    maker = EngineMaker(tmp_path / "missing" / "bindings.json")
    active = load(tmp_path).to_json()
    first = maker(active, {"orders": make_catalog()}, None)
    second = maker(active, {"orders": make_catalog("c2", renamed())}, first)
    assert isinstance(second, Engine)
    assert second.problems == ()


def test_targets_not_loaded_yet_are_not_forgotten(tmp_path: Path) -> None:
    """Goal: a start with one database down does not lose its bindings."""
    file = tmp_path / "bindings.json"
    active = load(tmp_path).to_json()
    EngineMaker(file)(active, {"orders": make_catalog()}, None)
    EngineMaker(file)(active, {}, None)
    assert set(read_kept(file)) == {"orders"}
