"""The decision: coverage, denies, masks, guards, and the words of a refusal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.policy.decide import decide
from gateway.policy.decision import Decision, StatementPlan
from gateway.sql.facts import CopyForm, Output, StatementFacts
from tests.unit.policy.world import POLICY, column, effect, rights, select, use

AGENT, READER, ADMIN, PRIVACY = (("agents",), ("readers",), ("admins",), ("privacy",))


def run(
    tmp_path: Path,
    groups: tuple[str, ...],
    *facts: StatementFacts,
    text: str = POLICY,
    requested: str = "",
) -> Decision:
    """Decide `facts` for `groups` with `sales` as the search path."""
    return decide(rights(tmp_path, groups, text, requested), facts, search_path=("sales",))


def message(decision: Decision) -> str:
    """Return the first line of the ErrorResponse."""
    error = decision.client_error()
    assert error is not None
    assert len(error.text().encode()) <= 300
    return error.text()


# --- coverage -----------------------------------------------------------------------------


def test_granted_read_is_allowed_and_names_its_rule(tmp_path: Path) -> None:
    """Goal: what a grant covers runs, and the record says why."""
    decision = run(tmp_path, READER, select("sales.orders", "id", "total"))
    assert (decision.action, decision.rules, decision.error) == ("allow", ("read-sales",), None)
    assert decision.effects == ("rows.read",)
    assert decision.objects == ("sales.orders",)
    assert decision.cache == "fingerprint"
    assert decision.statements[0].outputs is None  # no masked column anywhere near


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            select("sales.salaries", "amount"),
            'PN301 relation "salaries" does not exist or is not granted; granted here: read sales.*',
        ),
        (
            select("hr.people", "iban"),
            'PN301 relation "hr"."people" does not exist or is not granted; granted here: read sales.*',
        ),
        (
            StatementFacts(kind="insert", effects=(effect("rows.insert", "sales.orders", "id"),)),
            'PN303 rows.insert on "orders" is not granted: this may only be read here',
        ),
        (
            StatementFacts(kind="drop", effects=(effect("schema.drop.table", "sales.orders"),)),
            'PN303 schema.drop.table on "orders" is not granted: this may only be read here',
        ),
        (
            StatementFacts(kind="do", effects=(effect("code.do"),)),
            "PN301 code.do is not granted; granted here: read sales.*",
        ),
        (
            StatementFacts(kind="copy", effects=(effect("egress.program"),)),
            'PN302 egress.program is denied by rule "no-egress"',
        ),
        (
            StatementFacts(kind="select", effects=(effect("function.call", name="sales.total"),)),
            'PN301 function.call of "sales"."total" is not granted; granted here: read sales.*',
        ),
        (
            StatementFacts(kind="x", effects=(effect("unknown"),)),
            "PN305 the statement does something that is not analysed",
        ),
    ],
)
def test_refusal_says_what_and_what_works(
    tmp_path: Path, facts: StatementFacts, expected: str
) -> None:
    """Goal: a model can act on the first line alone. Method: golden texts for a reader."""
    decision = run(tmp_path, READER, facts)
    assert decision.action == "deny"
    assert decision.statements == ()
    assert message(decision) == expected


@pytest.mark.parametrize("effect_id", ["table.lock", "schema.drop.table", "schema.alter.table"])
def test_more_than_write_is_not_called_read_only(tmp_path: Path, effect_id: str) -> None:
    """Goal: PN303 only where reading is all that is granted.

    Method: the same effect on a table that may be written and on one that may only be read.
    """
    written = StatementFacts(kind="x", effects=(effect(effect_id, "sales.refunds"),))
    text = message(run(tmp_path, AGENT, written))
    assert text.startswith(f'PN301 {effect_id} on "refunds" is not granted; granted here: ')
    only_read = StatementFacts(kind="x", effects=(effect(effect_id, "sales.orders"),))
    assert message(run(tmp_path, AGENT, only_read)).startswith("PN303")


@pytest.mark.parametrize("table", ["salaries", "nosuch"])
@pytest.mark.parametrize("where", ["", "sales."])
def test_invisible_and_missing_read_the_same(tmp_path: Path, table: str, where: str) -> None:
    """Goal: a refusal is no oracle. Method: an excepted table against one that is not there."""
    facts = select(f"sales.{table}" if table == "salaries" else f"{where}{table}")
    decision = run(tmp_path, READER, facts)
    assert message(decision).replace(table, "T") == (
        'PN301 relation "T" does not exist or is not granted; granted here: read sales.*'
    )
    assert decision.error is not None
    assert decision.error["facts"] == {"object": f'"{table}"'}


def test_deny_does_not_reveal_an_invisible_table(tmp_path: Path) -> None:
    """Goal: a scoped deny on an invisible table reads as not granted, and is recorded."""
    text = POLICY.replace(
        "guards:",
        "  - {id: no-hr, to: ['*'], effects: [rows.read], schema: hr}\nguards:",
    )
    decision = run(tmp_path, READER, select("hr.people", "id"), text=text)
    assert message(decision).startswith(
        'PN301 relation "hr"."people" does not exist or is not granted'
    )
    assert "no-hr" in decision.rules


def test_every_effect_must_be_covered(tmp_path: Path) -> None:
    """Goal: one covered effect does not carry another. Method: read plus an uncovered read."""
    facts = StatementFacts(
        kind="select",
        effects=(effect("rows.read", "sales.orders"), effect("rows.read", "hr.people")),
    )
    assert run(tmp_path, READER, facts).action == "deny"


def test_deny_beats_grant_and_approval(tmp_path: Path) -> None:
    """Goal: no approval overrides a deny. Method: TRUNCATE and an alter in one statement."""
    facts = StatementFacts(
        kind="truncate",
        effects=(
            effect("table.truncate", "sales.orders"),
            effect("schema.alter.table", "sales.orders"),
        ),
    )
    decision = run(tmp_path, ADMIN, facts)
    assert message(decision).startswith("PN302")
    assert decision.approval is None


def test_columns_narrow_the_verb_they_name(tmp_path: Path) -> None:
    """Goal: update of a granted column runs, of another not, of all (none named) not."""
    for columns, action in ((("status",), "allow"), (("amount",), "deny"), ((), "deny")):
        facts = StatementFacts(
            kind="update",
            effects=(
                effect("rows.read", "sales.refunds", "id"),
                effect("rows.update", "sales.refunds", *columns),
            ),
        )
        decision = run(tmp_path, AGENT, facts)
        assert decision.action == action, columns
    assert "granted for columns" in message(decision)


def test_requested_profile_lowers_and_never_raises(tmp_path: Path) -> None:
    """Goal: the user name asks for less, never for more."""
    insert = StatementFacts(kind="insert", effects=(effect("rows.insert", "sales.refunds", "id"),))
    assert run(tmp_path, AGENT, insert).action == "allow"
    assert message(run(tmp_path, AGENT, insert, requested="read")).startswith("PN303")
    assert run(tmp_path, READER, insert, requested="admin").action == "deny"
    assert rights(tmp_path, AGENT, requested="read").level == "read"
    assert rights(tmp_path, READER, requested="write").level == "read"


def test_functions_need_their_own_grant(tmp_path: Path) -> None:
    """Goal: listed functions run, unresolved ones never."""
    for effect_id, name, action in (
        ("function.call", "sales.total", "allow"),
        ("function.call_volatile", "sales.total", "allow"),
        ("function.call_unknown", "sales.total", "deny"),
        ("function.call", "sales.other", "deny"),
    ):
        facts = StatementFacts(kind="select", effects=(effect(effect_id, name=name),))
        assert run(tmp_path, ADMIN, facts).action == action, (effect_id, name)


def test_transaction_control_in_a_string_is_not_for_readers(tmp_path: Path) -> None:
    """Goal: no way out of a read-only transaction through a compound string."""
    begin = StatementFacts(kind="begin", effects=(effect("txn.begin"),), txn="begin")
    read = select("sales.orders", "id")
    assert run(tmp_path, READER, begin).action == "allow"
    assert message(run(tmp_path, READER, begin, read)).startswith("PN301 transaction control")
    assert run(tmp_path, ADMIN, begin, read).action == "allow"


def test_one_refusal_refuses_the_string(tmp_path: Path) -> None:
    """Goal: all or nothing, whatever the position."""
    good, bad = select("sales.orders", "id"), select("hr.people", "id")
    for facts in ((good, bad), (bad, good)):
        decision = run(tmp_path, READER, *facts)
        assert (decision.action, decision.statements) == ("deny", ())
    assert len(run(tmp_path, READER, good, good).statements) == 2
    assert run(tmp_path, READER, good, good).cache == "text"


def test_empty_string_is_allowed(tmp_path: Path) -> None:
    """Goal: an empty query answers as PostgreSQL does."""
    assert run(tmp_path, READER).action == "allow"


# --- masks --------------------------------------------------------------------------------


def test_plain_output_is_masked(tmp_path: Path) -> None:
    """Goal: each output names its mask. Method: clear, e-mail, ssn; and for one excepted."""
    facts = select("sales.customers", "id", "email", "ssn")
    held = rights(tmp_path, READER)
    decision = decide(held, [facts])
    outputs = decision.statements[0].outputs
    assert outputs is not None
    assert [i if i < 0 else held.profile.masks[i].id for i in outputs] == [-1, "email", "ssn"]
    assert decision.masks == ("email", "ssn")
    assert run(tmp_path, PRIVACY, facts).masks == ("ssn",)


def test_view_child_and_derived_column(tmp_path: Path) -> None:
    """Goal: masks are inherited one to one, and refused where they are not."""
    held = rights(tmp_path, READER)
    mail = decide(held, [select("sales.contacts", "id", "mail")])
    assert mail.masks == ("email",)
    child = decide(held, [select("sales.customers_eu", "email")])
    assert child.masks == ("email",)
    shouted = decide(held, [select("sales.contacts", "shouted")], search_path=("sales",))
    assert message(shouted) == (
        'PN307 column "shouted" of "contacts" shows a masked column in a derived form '
        "and is not given"
    )


@pytest.mark.parametrize(
    "place",
    ["expression", "where", "join", "group", "order", "distinct", "aggregate", "window", "limit",
     "whole_row", "returning", "assign", "source", "copy", "explain", "function", "new"],
)  # fmt: skip
def test_any_other_use_is_refused(tmp_path: Path, place: str) -> None:
    """Goal: no place is forgotten, not even one that is named later."""
    facts = select("sales.customers", "id", uses=[use("sales.customers.email", place)])
    decision = run(tmp_path, READER, facts)
    assert message(decision).startswith('PN307 masked column "email" of "customers" is used')
    assert run(tmp_path, PRIVACY, facts).action == "allow"


def test_unknown_or_derived_output_with_a_mask_in_reach_is_refused(tmp_path: Path) -> None:
    """Goal: what cannot be told apart is not sent."""
    email = column("sales.customers.email")
    base = select("sales.customers", "id")
    for output in (
        Output("x", "unknown", frozenset()),
        Output("x", "derived", frozenset({email})),
        Output("x", "clear", frozenset({email})),
        Output("x", "direct", frozenset({email, column("sales.customers.name")})),
    ):
        facts = replace(base, outputs=(output,), reads=base.reads | {email})
        assert message(run(tmp_path, READER, facts)).startswith("PN307"), output
    away = replace(base, outputs=(Output("x", "unknown", frozenset()),))
    assert run(tmp_path, READER, away).action == "allow"


def test_copy_out_is_masked_only_where_its_form_and_columns_are_known(tmp_path: Path) -> None:
    """Goal: CopyData has no column identity, so nothing may be left open about it."""
    known = replace(
        select("sales.customers", "id", "email", kind="copy"),
        effects=(effect("copy.out", "sales.customers"), effect("rows.read", "sales.customers")),
        copy="out",
        copy_form=CopyForm(format="csv"),
    )
    decision = run(tmp_path, READER, known)
    assert decision.masks == ("email",)
    (plan,) = decision.statements
    assert plan.copy_form == CopyForm(format="csv")
    assert not plan.returns_rows
    assert StatementPlan.from_wire(plan.to_wire()) == plan
    copy = replace(known, copy_form=None)
    assert message(run(tmp_path, READER, replace(known, outputs=None))).startswith("PN307")
    assert message(run(tmp_path, READER, copy)).startswith("PN307")
    safe = replace(copy, reads=frozenset({column("sales.customers.id")}), outputs=None)
    assert run(tmp_path, READER, safe).action == "allow"


def test_masked_value_is_not_written_back(tmp_path: Path) -> None:
    """Goal: a masked value cannot replace the real one. Method: with and without column grant."""
    update = StatementFacts(
        kind="update", effects=(effect("rows.update", "sales.customers", "email"),)
    )
    refused = run(tmp_path, ADMIN, update)
    assert "is masked for you" in message(refused)
    named = POLICY.replace(
        "denies:",
        "  - {id: fix, to: [admins], target: orders, level: write, schema: sales, "
        "tables: [customers], columns: {update: [email]}}\ndenies:",
    )
    assert run(tmp_path, ADMIN, update, text=named).action == "allow"
    unnamed = replace(update, effects=(effect("rows.insert", "sales.customers"),))
    assert run(tmp_path, ADMIN, unnamed, text=named).action == "deny"


# --- guards, shadow -----------------------------------------------------------------------


def test_guard_holds_and_conditions_decide(tmp_path: Path) -> None:
    """Goal: a DELETE without WHERE needs people, one with WHERE does not."""
    facts = StatementFacts(
        kind="delete", effects=(effect("rows.delete", "sales.orders"),), no_where=True
    )
    held = run(tmp_path, ADMIN, facts)
    assert held.action == "approve"
    assert held.cache == "never"
    assert held.approval is not None
    assert held.approval["from"] == ["dba", "security"]
    assert held.approval["because"] == ["no WHERE"]
    assert "bulk-change" in held.rules
    assert len(held.statements) == 1
    assert run(tmp_path, ADMIN, replace(facts, no_where=False)).action == "allow"


def test_estimate_that_nobody_makes_counts_as_over(tmp_path: Path) -> None:
    """Goal: a guard on an estimate holds as long as there is no estimate."""
    text = POLICY.replace("{no_where: true}", "{estimated_rows_over: 500}")
    facts = StatementFacts(kind="delete", effects=(effect("rows.delete", "sales.orders"),))
    held = run(tmp_path, ADMIN, facts, text=text)
    assert held.approval is not None
    assert held.approval["because"] == ["estimated rows unknown, counted as over 500"]


def test_several_guards_add_up(tmp_path: Path) -> None:
    """Goal: one approval satisfies every guard, or the statement is refused."""
    facts = StatementFacts(
        kind="x",
        effects=(
            effect("rows.delete", "sales.orders"),
            effect("schema.alter.table", "sales.orders"),
        ),
        no_where=True,
    )
    held = run(tmp_path, ADMIN, facts)
    assert held.approval is not None
    assert (held.approval["from"], held.approval["quorum"]) == (["dba"], 2)
    assert held.approval["hold_s"] == 5
    apart = POLICY.replace("from: [dba, security]", "from: [security]")
    assert message(run(tmp_path, ADMIN, facts, text=apart)).startswith("PN302 rules")


def test_shadow_lets_through_what_it_would_refuse_but_no_masked_value(tmp_path: Path) -> None:
    """Goal: shadow only records; masks still hold."""
    text = POLICY.replace("mode: enforce", "mode: shadow")
    decision = run(tmp_path, READER, select("hr.people", "id"), text=text)
    assert (decision.action, decision.error) == ("allow", None)
    assert decision.shadow is not None
    assert decision.shadow["action"] == "deny"
    assert decision.shadow["error"] is not None
    assert decision.shadow["error"]["id"] == "PN301"
    leak = select("sales.customers", "id", uses=[use("sales.customers.email", "where")])
    assert run(tmp_path, READER, leak, text=text).action == "deny"
    both = replace(leak, effects=(*leak.effects, effect("rows.read", "hr.people")))
    assert run(tmp_path, READER, both, text=text).action == "deny"
    unknown = StatementFacts(kind="x", effects=(effect("unknown"),))
    assert run(tmp_path, READER, unknown, text=text).action == "deny"
