"""The engine on real statements: parser, analyser and policy together, without a server."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from gateway.errors import NotReady
from gateway.policy.decision import DecideRequest, Decision
from gateway.policy.engine import Engine
from gateway.policy.explain import explain, principal_in, run_tests
from tests.unit.policy.world import POLICY, load, make_catalog, principal


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Return an engine for the small database."""
    return Engine(load(tmp_path), {"orders": make_catalog()})


def ask(engine: Engine, sql: str | bytes, *groups: str, in_transaction: bool = False) -> Decision:
    """Decide one string for a principal in `groups`."""
    return engine.decide(
        DecideRequest(
            principal=principal(*groups),
            target="orders",
            requested="",
            sql=sql.encode() if isinstance(sql, str) else sql,
            in_transaction=in_transaction,
        )
    )


def text(decision: Decision) -> str:
    """Return the first line of the refusal."""
    error = decision.client_error()
    return error.text() if error is not None else ""


_NAMING = [
    "select * from {}",
    "select nosuch from {}",
    "select nosuch, (select 1 from {}) from orders",
    "select 1 from orders where exists (select from {})",
    "insert into {} values (1)",
    "update {} set id = 1",
    "delete from {} where nosuch = 1",
    "drop table {}",
    "drop table {}, sales.orders, sales.other",
    "comment on table {} is 'x'",
    "alter table {} add column x int",
    "create index on {} (id)",
    "copy {} to stdout",
    "with x as (select 1) select nosuch from x, {}",
    "with {} as (select 1 as a), b as (select * from hr.people) select a from b",
    "select 1; select 2 from {}",
    "lock table {}",
    "truncate {}",
    "select 1 from {} for update",
    "merge into {} t using orders o on t.id = o.id when matched then delete",
]


@pytest.mark.parametrize(
    ("statement", "schema"),
    # A CTE has no schema.
    [
        (one, schema)
        for one in _NAMING
        for schema in ("", "sales.")
        if not (schema and " as (" in one)
    ],
)
def test_refusal_is_no_oracle_for_names(engine: Engine, statement: str, schema: str) -> None:
    """Goal: a table that may not be seen and one that is not there give the same bytes.

    Method: the same statement with an excepted table and with a name of equal length that does
    not exist; whole decisions are compared, error facts included.
    """
    answers = []
    for name in ("salaries", "salariex"):
        decision = ask(engine, statement.format(schema + name), "readers")
        assert decision.action == "deny"
        assert decision.error is not None
        answers.append(orjson.dumps(decision.error | {"reason": ""}).replace(name.encode(), b"T"))
    assert answers[0] == answers[1]


def test_cte_hides_a_name_only_where_it_is_in_scope(engine: Engine) -> None:
    """Goal: a CTE of the same name is not taken for the table, nor the table for the CTE."""
    shadow = ask(engine, "with salaries as (select 1 as a) select nosuch from salaries", "readers")
    assert text(shadow).startswith("PN305")
    before = ask(
        engine,
        "with a as (select 1 from salaries), salaries as (select 1) select nosuch from a",
        "readers",
    )
    assert text(before).startswith('PN301 relation "salaries"')


def test_select_star_is_masked_by_position(engine: Engine) -> None:
    """Goal: a star is as safe as a list."""
    decision = ask(engine, "select * from customers", "readers")
    profile = engine.profile(principal("readers"), "orders", "")
    assert profile is not None
    outputs = decision.statements[0].outputs
    assert outputs is not None
    kinds = [profile.masks[i].kind if i >= 0 else "" for i in outputs]
    assert kinds == ["", "", "email", "partial"]


@pytest.mark.parametrize(
    "sql",
    [
        "select email || '' from customers",
        "select id from customers where email = 'a'",
        "select id from customers order by ssn",
        "select distinct email from customers",
        "select c from customers c",
        "select max(email) from customers",
        "insert into refunds (id, note) select id, email from customers",
        "update refunds set note = (select email from customers limit 1)",
        "create table sales.x as select email from customers",
        "create view sales.x as select ssn from customers",
        "declare c cursor for select upper(email) from customers",
        "copy (select email || '' from customers) to stdout",
        "copy customers to program 'x'",
        "explain select email from customers",
        "select shouted from contacts",
        "alter table customers rename column email to mail",
        "alter table customers_eu no inherit customers",
        "update customers set email = 'x' where id = 1",
    ],
)
def test_admin_under_a_mask_gets_no_value_of_it(engine: Engine, sql: str) -> None:
    """Goal: the highest level is not a way around a mask. Method: uses, laundering, renames."""
    assert ask(engine, sql, "admins").action == "deny"


def test_shows_are_answered_locally_and_tell_no_secrets(engine: Engine) -> None:
    """Goal: a model can read its rights; nothing invisible is among them."""
    answers = {}
    for name in ("whoami", "grants", "masks", "limits"):
        decision = ask(engine, f"SHOW postern.{name}", "readers")
        assert (decision.action, decision.cache) == ("local", "never")
        assert decision.local is not None
        answers[name] = orjson.loads(decision.local["value"])
    assert answers["whoami"]["subject"] == "agent-7"
    assert answers["whoami"]["groups"] == ["readers"]
    assert answers["grants"]["granted"] == ["read sales.*"]
    assert {"column": "sales.customers.email", "mask": "email"} in answers["masks"]
    assert "salaries" not in orjson.dumps(answers).decode()
    assert ask(engine, "set postern.reason = 'why'", "readers").local == {"set": ["reason", "why"]}
    for sql in ("show postern.nosuch", "set postern.nosuch = 1", "select 1; show postern.whoami"):
        assert text(ask(engine, sql, "readers")).startswith("PN305")
    long = "x" * 3_000
    assert text(ask(engine, f"set postern.reason = '{long}'", "readers")).startswith("PN305")


def test_masks_of_tables_that_are_not_granted_are_not_listed(tmp_path: Path) -> None:
    """Goal: SHOW postern.masks is no list of what is worth stealing."""
    extra = "  - {id: iban, columns: [hr.people.iban], with: {kind: redact}}\n"
    engine = Engine(load(tmp_path, POLICY + extra), {"orders": make_catalog()})
    decision = ask(engine, "show postern.masks", "readers")
    assert decision.local is not None
    assert "iban" not in decision.local["value"]


def test_approval_is_not_waited_for_in_a_transaction(engine: Engine) -> None:
    """Goal: no lock is held while people think. Method: the same DELETE inside and outside."""
    assert ask(engine, "delete from orders", "admins").action == "approve"
    inside = ask(engine, "delete from orders", "admins", in_transaction=True)
    assert text(inside).startswith("PN401")
    assert inside.cache == "never"


def test_syntax_error_keeps_its_position(engine: Engine) -> None:
    """Goal: PN304 points where the server would."""
    decision = ask(engine, "select 1 frm orders x y", "readers")
    assert decision.error is not None
    assert decision.error["id"] == "PN304"
    assert decision.error["position"]


@pytest.mark.parametrize("sql", [b"select '\xff'", b"select 1\x00", b"((" * 5000, b""])
def test_odd_bytes_never_raise(engine: Engine, sql: bytes) -> None:
    """Goal: whatever the bytes, the answer is a decision."""
    assert ask(engine, sql, "readers").action in {"deny", "allow"}


def test_no_grant_and_no_catalog(tmp_path: Path) -> None:
    """Goal: no grant is PN103; a granted target without catalog is not ready, never allowed."""
    bundle = load(tmp_path)
    engine = Engine(bundle, {})
    with pytest.raises(NotReady):
        engine.profile(principal("readers"), "orders", "")
    assert text(ask(engine, "select 1", "readers")).startswith("PN107")
    ready = Engine(bundle, {"orders": make_catalog()})
    assert ready.profile(principal("dba"), "orders", "") is None
    assert text(ask(ready, "select 1", "dba")).startswith("PN103")
    assert ready.profile(principal("readers"), "other", "") is None


def test_explain_names_rules_and_masks_per_column(engine: Engine) -> None:
    """Goal: a policy owner sees which rule did what."""
    request = DecideRequest(
        principal=principal_in(engine.bundle, ["readers"]),
        target="orders",
        requested="",
        sql=b"select id, email from customers",
    )
    found = explain(engine, request)
    assert found.level == "read"
    (statement,) = found.statements
    assert statement.effects[0].granted_by == ("read-sales",)
    assert statement.outputs is not None
    assert [(o.name, o.mask) for o in statement.outputs] == [("id", None), ("email", "email")]
    assert statement.outputs[1].sources == ("sales.customers.email",)


def test_policy_tests_run_and_fail(tmp_path: Path) -> None:
    """Goal: a test that expects the wrong thing fails and says why."""
    tests = """
tests:
  - {as: {groups: [readers]}, target: orders, sql: select id from orders, expect: {decision: allow, rule: read-sales}}
  - {as: {groups: [readers]}, target: orders, sql: delete from orders, expect: {decision: allow}}
  - {as: {groups: [readers]}, target: orders, sql: select email from customers, expect: {decision: allow, masks: []}}
"""
    engine = Engine(load(tmp_path, POLICY + tests), {"orders": make_catalog()})
    results = run_tests(engine)
    assert [bool(result.problem) for result in results] == [False, True, True]
    assert results[1].problem.startswith("decision deny, expected allow")
    assert "policy.yaml:" in results[1].where


@pytest.mark.parametrize("name", ["fresh", "salaries"])
def test_creator_is_told_about_its_transaction(engine: Engine, name: str) -> None:
    """Goal: an INSERT into what the same transaction created is refused in words that help.

    Method: who may create and who may not, in and out of transactions, for a table that is there
    and hidden and for one that is not.
    """
    sql = f"insert into hr.{name} values (1)"
    inside = ask(engine, sql, "admins", in_transaction=True)
    assert "created in this transaction can be used after COMMIT" in text(inside)
    assert inside.cache == "never"
    for decision in (
        ask(engine, sql, "admins"),
        ask(engine, sql, "readers", in_transaction=True),
    ):
        assert text(decision).startswith("PN301")
        assert "COMMIT" not in text(decision)
