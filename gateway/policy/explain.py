"""What would happen to a statement and why; and the `tests:` of policy files, run the same way.

Both ask the engine exactly as a worker does, for a made-up principal that is in the named
policy groups.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.errors import ClientError, PolicyError, Problem
from gateway.policy.bundle import Bundle
from gateway.policy.decision import DecideRequest, Decision
from gateway.policy.engine import Engine
from gateway.policy.model import PolicyTest
from gateway.policy.names import nearest
from gateway.policy.preview import preview
from gateway.policy.principal import Principal
from gateway.policy.refusals import plain_name
from gateway.policy.rights import Rights
from gateway.sql.analyze import analyze
from gateway.sql.facts import Output, StatementFacts

_LIFETIME_S: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class EffectLine:
    """One effect, its object, and the rules about it."""

    effect: str
    object: str
    columns: tuple[str, ...]
    granted_by: tuple[str, ...]
    denied_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutputLine:
    """One result column and what the client would see in it."""

    name: str
    verdict: str
    sources: tuple[str, ...]
    mask: str | None
    example: tuple[str, str] | None = None  # a made value, and what the mask shows of it


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One statement of the string."""

    kind: str
    effects: tuple[EffectLine, ...]
    outputs: tuple[OutputLine, ...] | None
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision together with the facts behind it."""

    decision: Decision
    level: str | None
    statements: tuple[StatementLine, ...] = ()
    groups: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class TestResult:
    """The outcome of one test; `problem` is empty when it passed."""

    __test__ = False
    where: str
    sql: str
    expected: str
    got: str
    problem: str = ""


def principal_in(bundle: Bundle, groups: Iterable[str]) -> Principal:
    """Return a principal in `groups`; raises PolicyError for one that is not defined."""
    tokens: list[str] = []
    known = bundle.policy.groups
    names = tuple(groups)
    for name in names:
        if name not in known:
            message = f'"{name}" is no group of the policy{nearest(name, known)}'
            raise PolicyError([Problem("groups", 0, 0, message)])
        tokens.append(known[name].from_[0])
    now = time.time()
    issuer = tokens[0].partition(":")[0] if tokens else "test"
    # Where one token group stands behind several policy groups, the principal is in all of them.
    return Principal(
        issuer_id=issuer,
        issuer=issuer,
        subject="explain",
        groups=tuple(tokens),
        token_id=None,
        expires_at=now + _LIFETIME_S,
        issued_at=now,
    )


def explain(engine: Engine, request: DecideRequest) -> Explanation:
    """Return the decision on `request` with everything it rests on."""
    decision = engine.decide(request)
    groups = tuple(sorted(engine.bundle.groups_of(request.principal)))
    try:
        rights = engine.rights(request.principal, request.target, request.requested)
        catalog = engine.catalog(request.target)
        if rights is None or catalog is None:
            return Explanation(decision, None, groups=groups)
        path = request.search_path or catalog.default_search_path
        facts = analyze(request.sql, catalog, search_path=path, param_oids=request.param_oids)
    except ClientError:
        # The decision carries the same refusal.
        return Explanation(decision, None, groups=groups)
    lines = tuple(_statement(engine, request.target, rights, statement) for statement in facts)
    return Explanation(decision, rights.level, lines, groups)


def _statement(
    engine: Engine, target: str, rights: Rights, statement: StatementFacts
) -> StatementLine:
    catalog = engine.catalog(target)
    assert catalog is not None

    def name(ref: tuple[int, int]) -> str:
        relation = catalog.relation_ref(ref[0])
        column = next((c for c in catalog.by_oid[ref[0]].columns if c.attnum == ref[1]), None)
        return f"{plain_name(relation)}.{column.name if column else ref[1]}"

    effects = tuple(
        EffectLine(
            effect=effect.id,
            object=plain_name(effect.relation) if effect.relation else effect.name,
            columns=effect.columns,
            granted_by=tuple(grant.id for grant in rights.grants if grant.covers(effect)),
            denied_by=tuple(deny.id for deny in rights.denies if deny.matches(effect)),
        )
        for effect in statement.effects
    )
    outputs = None
    if statement.outputs is not None:
        outputs = tuple(
            OutputLine(
                name=output.name,
                verdict=output.verdict,
                sources=tuple(sorted(name(ref) for ref in output.sources)),
                mask=_mask(rights, output.sources),
                example=_example(rights, output),
            )
            for output in statement.outputs
        )
    uses = tuple(
        f"{name(use.column)} {use.place}" for use in statement.uses if use.column in rights.masked
    )
    return StatementLine(statement.kind, effects, outputs, tuple(dict.fromkeys(uses)))


def _mask(rights: Rights, sources: Iterable[Any]) -> str | None:
    masks = sorted({rights.masked[ref].mask_id for ref in sources if ref in rights.masked})
    return ",".join(masks) or None


def _example(rights: Rights, output: Output) -> tuple[str, str] | None:
    """Return an example where the column is shown masked; elsewhere it is not shown at all."""
    if output.verdict != "direct" or len(output.sources) != 1:
        return None
    (source,) = output.sources
    column = rights.masked.get(source)
    if column is None or column.blocked:
        return None
    return preview(rights.profile.masks[column.index])


def run_tests(engine: Engine, *, only: Container[str] | None = None) -> list[TestResult]:
    """Run the tests of the engine's bundle, in the order written; `only` those on some targets."""
    tests = enumerate(engine.bundle.policy.tests)
    return [
        _run_test(engine, index, test)
        for index, test in tests
        if only is None or test.target in only
    ]


def _run_test(engine: Engine, index: int, test: PolicyTest) -> TestResult:
    where = engine.bundle.problem("tests", str(index), "").where
    decision = engine.decide(
        DecideRequest(
            principal=principal_in(engine.bundle, test.as_.groups),
            target=test.target,
            requested=test.as_.requested,
            sql=test.sql.encode(),
            search_path=test.search_path or (),
        )
    )
    expect = test.expect
    problems: list[str] = []
    if decision.action != expect.decision:
        problems.append(f"decision {decision.action}, expected {expect.decision}")
    if expect.rule is not None and expect.rule not in decision.rules:
        problems.append(f"rule {expect.rule} did not take part")
    got_error = decision.error["id"] if decision.error else None
    if expect.error is not None and got_error != expect.error:
        problems.append(f"error {got_error}, expected {expect.error}")
    if expect.masks is not None and sorted(expect.masks) != sorted(decision.masks):
        problems.append(f"masks {list(decision.masks)}, expected {sorted(expect.masks)}")
    got = decision.action if got_error is None else f"{decision.action} {got_error}"
    problem = "; ".join(problems)
    if problem and decision.error is not None:
        problem += f" ({decision.error['message']})"
    return TestResult(where, test.sql, expect.decision, got, problem)
