"""Somebody acts for somebody: what only one of the two may is nobody's."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import orjson
import pytest

from gateway.policy.decision import DecideRequest, Decision
from gateway.policy.engine import Engine
from gateway.policy.principal import Principal
from tests.unit.policy.world import load, make_catalog, principal

GROUPS: tuple[tuple[str, ...], ...] = (
    (), ("readers",), ("agents",), ("admins",), ("privacy",), ("readers", "admins"),
)  # fmt: skip
STATEMENTS = (
    "select id from sales.orders",
    "select email from sales.customers",
    "select ssn from sales.customers",
    "select id from sales.salaries",
    "update sales.refunds set status = 'x' where id = 1",
    "update sales.refunds set amount = 1 where id = 1",
    "insert into sales.orders (id) values (1)",
    "delete from sales.orders",
    "delete from sales.orders where id = 1",
    "alter table sales.orders add column x int",
    "truncate sales.orders",
    "select 1",
)
PAIRS = list(product(GROUPS, GROUPS))
ORDER = ("deny", "approve", "allow")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    bundle = load(tmp_path_factory.mktemp("policy"))
    return Engine(bundle, {"orders": make_catalog()})


def acting(subject: tuple[str, ...], actor: tuple[str, ...]) -> Principal:
    return replace(
        principal(*subject), actor="bot", actor_issuer="corp",
        actor_groups=tuple(f"corp:{group}" for group in actor),
    )  # fmt: skip


def ask(engine: Engine, who: Principal, sql: str, requested: str = "") -> Decision:
    return engine.decide(
        DecideRequest(
            principal=who, target="orders", requested=requested, sql=sql.encode(),
            param_oids=(), in_transaction=False,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("subject", "actor"), PAIRS)
def test_both_must_be_allowed(
    engine: Engine, subject: tuple[str, ...], actor: tuple[str, ...]
) -> None:
    """Goal: intersection, for every pair. Method: never more than either has alone."""
    for sql in STATEMENTS:
        together = ask(engine, acting(subject, actor), sql)
        alone = [ask(engine, principal(*groups), sql) for groups in (subject, actor)]
        most = min(ORDER.index(one.action) for one in alone)
        assert ORDER.index(together.action) <= most, sql
        if all(one.action == "allow" for one in alone):
            assert together.action == "allow", sql
        if together.action != "deny":
            assert set(together.masks) >= set(alone[0].masks) | set(alone[1].masks), sql


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_it_does_not_matter_who_acts_for_whom(
    engine: Engine, one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    for sql in STATEMENTS:
        there, back = ask(engine, acting(one, other), sql), ask(engine, acting(other, one), sql)
        assert (there.action, there.masks) == (back.action, back.masks), sql


def test_an_actor_without_groups_takes_everything(engine: Engine) -> None:
    assert engine.profile(acting(("admins",), ()), "orders", "") is None
    assert ask(engine, acting(("admins",), ()), "select 1").action == "deny"


def test_level_masks_and_key(engine: Engine) -> None:
    """Goal: a session runs at the lower level, with the masks of both, under its own key."""
    profile = engine.profile(acting(("admins",), ("readers",)), "orders", "")
    alone = engine.profile(principal("readers"), "orders", "")
    assert profile is not None
    assert alone is not None
    assert profile.level == "read"
    assert profile.key != alone.key
    seen = engine.profile(acting(("privacy",), ("readers",)), "orders", "")
    assert seen is not None
    assert {mask.id for mask in seen.masks} == {"email", "ssn"}


def test_what_is_shown_of_grants_names_both(engine: Engine) -> None:
    """A model that plans by the person's grants alone would be refused what the agent lacks."""
    shown = {}
    for actor in ((), ("readers",), ("agents",)):
        decision = ask(engine, acting(("admins",), actor), "show postern.grants")
        if decision.local is not None:
            shown[actor] = orjson.loads(decision.local["value"])
    assert set(shown) == {("readers",), ("agents",)}
    person = [answer["granted"] for answer in shown.values()]
    assert person[0] == person[1]
    for actor, answer in shown.items():
        alone = ask(engine, principal(*actor), "show postern.grants")
        assert alone.local is not None
        granted = orjson.loads(alone.local["value"])["granted"]
        assert answer["and_granted_to_actor"] == granted != answer["granted"]


def test_masks_shown_are_of_tables_both_may_read(engine: Engine) -> None:
    seen = 0
    for subject, actor in PAIRS:
        local = ask(engine, acting(subject, actor), "show postern.masks").local
        for item in orjson.loads(local["value"]) if local is not None else ():
            table = item["column"].rpartition(".")[0]
            read = f"select id from {table}"
            seen += 1
            assert {ask(engine, principal(*who), read).action for who in (subject, actor)} == {
                "allow"
            }, (subject, actor, table)
    assert seen > 10
