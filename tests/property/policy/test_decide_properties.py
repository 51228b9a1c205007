"""What must hold of every policy and every statement, whatever they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.bundle import Bundle
from gateway.policy.compile import compile_target
from gateway.policy.decide import decide
from gateway.policy.decision import DecideRequest, Decision
from gateway.policy.model import Policy
from gateway.policy.names import KNOWN_EFFECTS
from gateway.policy.principal import Principal
from gateway.policy.profile import Profile
from gateway.sql.facts import ColumnUse, Effect, Output, StatementFacts
from tests.unit.policy.world import TABLES, column, make_catalog, relation

GROUPS = ("a", "b", "c")
CATALOG = make_catalog()
ORDER = {"deny": 0, "approve": 1, "allow": 2}

tables = st.sampled_from([*TABLES, "sales.nosuch"])
effect_ids = st.sampled_from(sorted(KNOWN_EFFECTS))
patterns = st.sampled_from(
    ["*", "rows.*", "rows.read", "rows.update", "schema.alter.*", "table.truncate", "egress.*"]
)
to = st.lists(st.sampled_from([*GROUPS, "*"]), min_size=1, max_size=2, unique=True)
scopes: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"schema": "sales"},
        {"schema": "sales", "tables": ["customers", "ref*"]},
        {"schema": "sales", "except_tables": ["salaries"]},
        {"schema": "hr"},
    ]
)
# Without the derived column of the view: a mask of its own is how a policy gives such a column.
columns = st.sampled_from(
    [f"{t}.{name}" for t, (_, _, names) in TABLES.items() for name in names if name != "shouted"]
)


@st.composite
def grants(draw: st.DrawFn) -> dict[str, Any]:
    """A grant of a level or of one effect."""
    scope = draw(scopes.filter(bool))
    rule: dict[str, Any] = {"to": draw(to), "target": "orders", **scope}
    if draw(st.booleans()):
        rule["level"] = draw(st.sampled_from(["read", "write", "admin"]))
    else:
        rule["effects"] = [draw(patterns.filter(lambda p: p != "*"))]
    if draw(st.booleans()):
        rule["columns"] = {"update": draw(st.sampled_from([["status"], ["email"], ["id", "note"]]))}
    return rule


@st.composite
def guards(draw: st.DrawFn) -> dict[str, Any]:
    """A guard with or without conditions."""
    rule: dict[str, Any] = {
        "to": draw(to),
        "effects": [draw(patterns)],
        "then": "approve",
        "approval": {"from": [draw(st.sampled_from(["people", "others"]))]},
        **draw(scopes),
    }
    if draw(st.booleans()):
        rule["when"] = {draw(st.sampled_from(["any", "all"])): [{"no_where": draw(st.booleans())}]}
    return rule


@st.composite
def denies(draw: st.DrawFn) -> dict[str, Any]:
    """A deny, scoped or not."""
    return {"to": draw(to), "effects": [draw(patterns)], **draw(scopes)}


@st.composite
def masks(draw: st.DrawFn) -> dict[str, Any]:
    """A mask that fits any type."""
    return {
        "columns": draw(st.lists(columns, min_size=1, max_size=3, unique=True)),
        "except": draw(st.lists(st.sampled_from(GROUPS), max_size=1)),
        "with": {"kind": draw(st.sampled_from(["null", "redact"]))},
    }


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """A whole policy as the loader would see it."""
    policy: dict[str, Any] = {
        "version": 1,
        "groups": {name: {"from": [f"i:{name}"]} for name in GROUPS}
        | {name: {"from": [f"i:{name}"], "kind": "human"} for name in ("people", "others")},
    }
    for section, rules in (
        ("grants", grants()),
        ("denies", denies()),
        ("guards", guards()),
        ("masks", masks()),
    ):
        found = draw(st.lists(rules, max_size=3))
        policy[section] = [{"id": f"{section}-{i}", **rule} for i, rule in enumerate(found)]
    return policy


@st.composite
def facts(draw: st.DrawFn) -> StatementFacts:
    """Facts that the analyser might give, and some that it should not."""

    def one_effect() -> Effect:
        table = draw(tables)
        names = list(TABLES[table][2]) if table in TABLES else ["id"]
        chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
        return Effect(
            draw(st.one_of(effect_ids, st.sampled_from(["rows.read", "rows.update"]))),
            relation(table) if draw(st.booleans()) else None,
            tuple(chosen),
            draw(st.sampled_from(["", "sales.total"])),
        )

    refs = [column(name) for name in draw(st.lists(columns, max_size=3))]
    outputs = tuple(
        Output(
            "x", draw(st.sampled_from(["clear", "direct", "derived", "unknown"])), frozenset({r})
        )
        for r in refs
    )
    used = draw(st.lists(columns, max_size=1))
    return StatementFacts(
        kind="select",
        effects=tuple(one_effect() for _ in range(draw(st.integers(1, 3)))),
        outputs=outputs if draw(st.booleans()) else None,
        uses=tuple(
            ColumnUse(column(n), relation(n.rpartition(".")[0]), n.rpartition(".")[2], "where")
            for n in used
        ),
        reads=frozenset(refs),
        no_where=draw(st.booleans()),
        txn=draw(st.sampled_from(["", "", "begin", "commit"])),
        copy=draw(st.sampled_from(["", "", "out", "in"])),
        cache=draw(st.sampled_from(["fingerprint", "text", "never"])),
    )


strings = st.lists(facts(), min_size=1, max_size=2)


def judge(
    policy: Mapping[str, Any], statements: list[StatementFacts], group: str = "a"
) -> Decision:
    """Decide for members of `group`; no grant at all counts as a refusal."""
    bundle = Bundle.build(Policy.model_validate(policy))
    rights = compile_target(bundle, "orders", CATALOG).rights((group,))
    if rights is None:
        return Decision(action="deny")
    return decide(rights, statements, search_path=("sales",))


@given(policies(), strings)
def test_decide_is_pure(policy: dict[str, Any], statements: list[StatementFacts]) -> None:
    """Goal: the same question has one answer, also after the policy went through JSON."""
    first = judge(policy, statements)
    assert judge(policy, statements) == first
    bundle = Bundle.build(Policy.model_validate(policy))
    again = Bundle.from_json(bundle.to_json())
    rights = compile_target(again, "orders", CATALOG).rights(("a",))
    assert rights is None or decide(rights, statements, search_path=("sales",)) == first


@given(policies(), strings, st.randoms(use_true_random=False))
def test_order_of_rules_never_matters(
    policy: dict[str, Any], statements: list[StatementFacts], random: Any
) -> None:
    """Goal: semantics: order of rules never matters. Method: shuffle every list of rules."""
    shuffled = {**policy}
    for section in ("grants", "denies", "guards", "masks"):
        shuffled[section] = random.sample(policy[section], len(policy[section]))
    assert judge(shuffled, statements) == judge(policy, statements)


@given(policies(), strings, denies())
def test_adding_a_deny_never_allows_more(
    policy: dict[str, Any], statements: list[StatementFacts], deny: dict[str, Any]
) -> None:
    """Goal: a deny only takes away."""
    more = {**policy, "denies": [*policy["denies"], {"id": "new", **deny}]}
    assert ORDER[judge(more, statements).action] <= ORDER[judge(policy, statements).action]


@given(policies(), strings, guards())
def test_adding_a_guard_never_allows_more(
    policy: dict[str, Any], statements: list[StatementFacts], guard: dict[str, Any]
) -> None:
    """Goal: a guard only holds back."""
    more = {**policy, "guards": [*policy["guards"], {"id": "new", **guard}]}
    assert ORDER[judge(more, statements).action] <= ORDER[judge(policy, statements).action]


@given(policies(), strings, masks())
def test_adding_a_mask_never_allows_more(
    policy: dict[str, Any], statements: list[StatementFacts], mask: dict[str, Any]
) -> None:
    """Goal: a mask only hides: no refused statement runs, no masked output turns clear."""
    more = {**policy, "masks": [*policy["masks"], {"id": "new", **mask}]}
    before, after = judge(policy, statements), judge(more, statements)
    assert ORDER[after.action] <= ORDER[before.action]
    for old, new in zip(before.statements, after.statements, strict=False):
        for was, is_now in zip(old.outputs or (), new.outputs or (), strict=True):
            assert was < 0 or is_now >= 0


@given(policies(), strings, st.data())
def test_removing_a_grant_never_allows_more(
    policy: dict[str, Any], statements: list[StatementFacts], data: st.DataObject
) -> None:
    """Goal: a grant only gives."""
    if not policy["grants"]:
        return
    gone = data.draw(st.integers(0, len(policy["grants"]) - 1))
    less = {**policy, "grants": [g for i, g in enumerate(policy["grants"]) if i != gone]}
    assert ORDER[judge(less, statements).action] <= ORDER[judge(policy, statements).action]


@given(policies(), strings)
def test_nothing_masked_leaves_in_the_clear(
    policy: dict[str, Any], statements: list[StatementFacts]
) -> None:
    """Goal: in what is not refused, an output that depends on a masked column has a mask."""
    bundle = Bundle.build(Policy.model_validate(policy))
    rights = compile_target(bundle, "orders", CATALOG).rights(("a",))
    if rights is None:
        return
    decision = decide(rights, statements)
    if decision.action == "deny":
        return
    for statement, plan in zip(statements, decision.statements, strict=True):
        assert not any(use.column in rights.masked for use in statement.uses)
        for position, output in enumerate(statement.outputs or ()):
            if output.sources & rights.masked.keys():
                assert plan.outputs is not None
                assert plan.outputs[position] >= 0


@given(policies(), strings)
def test_wire_forms_are_identities(
    policy: dict[str, Any], statements: list[StatementFacts]
) -> None:
    """Goal: what crosses a process boundary arrives. Method: through JSON and back."""
    decision = judge(policy, statements)
    assert Decision.from_wire(orjson.loads(orjson.dumps(decision.to_wire()))) == decision
    error = decision.client_error()
    assert error is None or len(error.text().encode()) <= 300
    rights = compile_target(Bundle.build(Policy.model_validate(policy)), "orders", CATALOG).rights(
        ("a",)
    )
    if rights is not None:
        wire = orjson.loads(orjson.dumps(rights.profile.to_wire()))
        assert Profile.from_wire(wire) == rights.profile


@given(st.binary(max_size=40), st.lists(st.integers(0, 2**32 - 1), max_size=3), st.booleans())
def test_request_survives_the_wire(sql: bytes, oids: list[int], in_transaction: bool) -> None:
    """Goal: the analyzer sees the very bytes, UTF-8 or not."""
    principal = Principal("i", "https://i", "s", ("i:a",), None, 2.0, 1.0, None, "r")
    request = DecideRequest(
        principal=principal,
        target="orders",
        requested="read",
        sql=sql,
        param_oids=tuple(oids),
        search_path=("sales",),
        in_transaction=in_transaction,
    )
    assert DecideRequest.from_wire(orjson.loads(orjson.dumps(request.to_wire()))) == request
    assert replace(request, sql=b"x") != request or sql == b"x"
