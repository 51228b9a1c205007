"""Binding a policy to a catalog: inheritance, renames, masks that fit nothing, profile keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.policy.compile import compile_target
from gateway.policy.decide import decide
from gateway.policy.kept import from_json, to_json
from gateway.sql.catalog import Tie
from gateway.sql.facts import ColumnRef
from tests.unit.policy.world import (
    POLICY,
    TABLES,
    TEXT,
    compiled,
    load,
    make_catalog,
    rights,
    select,
)


def renamed(old: str, new: str) -> dict[str, tuple[int, str, dict[str, int]]]:
    """Return the tables with a column of sales.customers under another name."""
    tables = dict(TABLES)
    oid, kind, columns = tables["sales.customers"]
    tables["sales.customers"] = (
        oid, kind, {(new if name == old else name): type_ for name, type_ in columns.items()},
    )  # fmt: skip
    return tables


def test_profile_maps_every_column_that_shows_a_masked_one(tmp_path: Path) -> None:
    """Goal: the wire cross-check knows tables, children and views, derived columns included."""
    profile = rights(tmp_path, ("readers",)).profile
    assert set(profile.masked) == {
        (20001, 3), (20001, 4), (20002, 2), (20002, 4), (20006, 2), (20006, 3),
    }  # fmt: skip
    assert profile.filter_errors
    kinds = {profile.masks[index].kind for index in profile.masked.values()}
    assert kinds == {"email", "partial", "null"}
    email = profile.masks[profile.masked[20001, 3]]
    assert (email.type_oid, email.notnull) == (TEXT, True)


def test_mask_without_column_is_a_problem_and_blocks_the_table(tmp_path: Path) -> None:
    """Goal: a column renamed away is not readable under its new name."""
    tables = renamed("email", "mail")
    policy = compile_target(load(tmp_path), "orders", make_catalog(tables=tables))
    assert [p.message for p in policy.problems] == [
        'target "orders" has no column sales.customers.email'
    ]
    held = policy.rights(("readers",))
    assert held is not None
    for table, columns in (("sales.customers", "id"), ("sales.contacts", "id")):
        assert decide(held, [select(table, columns)]).action == "deny"
    assert decide(held, [select("sales.orders", "id")]).action == "allow"


def test_renamed_column_keeps_its_mask(tmp_path: Path) -> None:
    """Goal: masks bind to the column and not to its name, also past a decoy of the old name."""
    before = compiled(tmp_path)
    tables = renamed("email", "mail")
    tables["sales.customers"][2]["email"] = TEXT
    after = compile_target(before.bundle, "orders", make_catalog("c2", tables), kept=before.kept())
    held = after.rights(("readers",))
    assert held is not None
    assert {(20001, 3), (20001, 5)} <= set(held.profile.masked)
    assert not after.problems
    plain = make_catalog("c3", renamed("email", "mail"))
    alone = compile_target(before.bundle, "orders", plain, kept=before.kept())
    kept = alone.rights(("readers",))
    assert kept is not None
    assert decide(kept, [select("sales.customers", "id")]).action == "allow"
    assert kept.profile.masks[kept.profile.masked[20001, 3]].kind == "email"


def test_bindings_outlive_a_process_and_not_a_database(tmp_path: Path) -> None:
    """Goal: a rename between two lives does not lose a mask; a restored copy binds by name.

    Method: through the file's form, once to the same database and once to another of equal OIDs.
    """
    before = compiled(tmp_path)
    stored = from_json(to_json({"orders": before.kept()}))
    plain = make_catalog("c3", renamed("email", "mail"))
    after = compile_target(before.bundle, "orders", plain, kept=stored["orders"])
    held = after.rights(("readers",))
    assert held is not None
    assert not after.problems
    assert held.profile.masks[held.profile.masked[20001, 3]].kind == "email"
    copied = compile_target(
        before.bundle, "orders", replace(plain, database="8/16384"), kept=stored["orders"]
    )
    assert [p.message for p in copied.problems] == [
        'target "orders" has no column sales.customers.email'
    ]


@pytest.mark.parametrize("damaged", [b"", b"[]", b"{", b'{"orders": 1}', b'{"orders": {}}'])
def test_damaged_bindings_are_none(damaged: bytes) -> None:
    """Goal: a torn file is forgotten, which blocks and never opens."""
    assert from_json(damaged) == {}


def test_mask_on_a_missing_table_refuses_statements_on_tables(tmp_path: Path) -> None:
    """Goal: where the hidden table went is unknown, so nothing is read until it is known."""
    tables = {k: v for k, v in TABLES.items() if k != "sales.customers"}
    policy = compile_target(load(tmp_path), "orders", make_catalog(tables=tables))
    held = policy.rights(("readers",))
    assert held is not None
    decision = decide(held, [select("sales.orders", "id")])
    error = decision.client_error()
    assert error is not None
    assert error.text().startswith('PN302 mask "email" of the policy does not fit this database')


def test_shadow_mode_only_warns_of_a_mask_without_column(tmp_path: Path) -> None:
    """Goal: semantics say: error in enforce mode."""
    text = POLICY.replace("mode: enforce", "mode: shadow")
    policy = compile_target(
        load(tmp_path, text), "orders", make_catalog(tables=renamed("email", "mail"))
    )
    assert not policy.problems
    assert any("has no column" in warning.message for warning in policy.warnings)


def test_kind_that_does_not_fit_the_type_is_a_problem_and_blocks(tmp_path: Path) -> None:
    """Goal: found at load, and never a raw value at run time."""
    text = POLICY.replace("[sales.customers.ssn]", "[sales.customers.id]")
    policy = compiled(tmp_path, text)
    assert "mask kind 'partial' does not fit type" in policy.problems[0].message
    held = policy.rights(("readers",))
    assert held is not None
    assert decide(held, [select("sales.customers", "id")]).action == "deny"


def test_strictest_mask_wins_in_any_order(tmp_path: Path) -> None:
    """Goal: two masks on a column: the one that shows less, however they are written."""
    extra = "  - {id: z-null, columns: [sales.customers.ssn], with: {kind: 'null'}}\n"
    first = POLICY.replace("masks:\n", "masks:\n" + extra)
    for text in (POLICY + extra, first):
        profile = rights(tmp_path, ("readers",), text).profile
        assert profile.masks[profile.masked[20001, 4]].kind == "null"


def test_mask_on_the_derived_column_itself_shows_it(tmp_path: Path) -> None:
    """Goal: a policy owner can give a derived column by masking it on its own."""
    extra = "  - {id: shout, columns: [sales.contacts.shouted], with: {kind: redact}}\n"
    held = rights(tmp_path, ("readers",), POLICY + extra)
    assert decide(held, [select("sales.contacts", "shouted")]).masks == ("shout",)


def test_equal_rights_give_equal_keys_and_any_difference_another(tmp_path: Path) -> None:
    """Goal: caches are shared by equals only."""
    policy = compiled(tmp_path)

    def key(groups: tuple[str, ...], requested: str = "") -> str:
        found = policy.rights(groups, requested)
        assert found is not None
        return found.profile.key

    assert key(("readers",)) == key(("readers", "dba")) == key(("readers",), "admin")
    different = [key(("readers",)), key(("agents",)), key(("privacy",)), key(("admins",)),
                 key(("agents",), "read"), key(("admins",), "write")]  # fmt: skip
    assert len(set(different)) == len(different)
    other = compile_target(policy.bundle, "orders", make_catalog("c2")).rights(("readers",))
    assert other is not None
    assert other.profile.key != key(("readers",))


def test_nothing_granted_is_no_profile(tmp_path: Path) -> None:
    """Goal: groups without a grant here hold nothing here."""
    policy = compiled(tmp_path)
    assert policy.rights(("dba",)) is None
    assert policy.rights(()) is None


def test_grant_that_matches_nothing_is_a_warning(tmp_path: Path) -> None:
    """Goal: a misspelt table is told."""
    text = POLICY.replace("tables: [refunds]", "tables: [refund]")
    policy = compiled(tmp_path, text)
    assert any("matches no relation" in warning.message for warning in policy.warnings)


@pytest.mark.parametrize("value", ["{kind: constant, value: 7}", "{kind: constant, value: [1]}"])
def test_constant_must_be_of_the_columns_type(tmp_path: Path, value: str) -> None:
    """Goal: a constant that the type cannot hold is found before it is served."""
    text = POLICY.replace("{kind: partial, keep_last: 4}", "{kind: constant, value: x}")
    text = text.replace("[sales.customers.ssn]", "[sales.customers.id]")
    assert compiled(tmp_path, text).problems


def test_grant_to_write_a_unique_masked_column_is_warned_of(tmp_path: Path) -> None:
    """Goal: whoever lets agents guess is told so. Method: with a unique index and without."""
    grant = "columns: {update: [status, note]}}"
    more = (
        f"{grant}\n  - {{id: sign-up, to: [agents], target: orders, effects: [rows.insert], "
        "schema: sales, tables: [customers], columns: {insert: [id, email]}}"
    )
    bundle = load(tmp_path, POLICY.replace(grant, more))
    email = ColumnRef(20001, 3)
    unique = Tie("unique", frozenset({3}), frozenset({email}))
    catalog = make_catalog()
    warned = compile_target(bundle, "orders", replace(catalog, ties={20001: (unique,)})).warnings
    assert ["sales.customers.email" in problem.message for problem in warned] == [True]
    assert not compile_target(bundle, "orders", catalog).warnings
