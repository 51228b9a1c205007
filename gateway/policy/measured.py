"""Which statements a limit can be held against, and the refusal of those it cannot.

A limit that something escapes is none: rows that no command tag counts, and costs that the
planner cannot be asked for, are refused where such a limit applies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.errors import ClientError, NotUnderstood, quote_name
from gateway.policy.bounds import Bound, Bounds
from gateway.sql.facts import StatementFacts

_CHANGES_ROWS: Final = ("rows.insert", "rows.update", "rows.delete", "rows.merge")
# Kinds whose command tag ends in the number of rows they changed or stored.
_COUNTED: Final = ("insert", "update", "delete", "merge", "create_table_as")
_PLANNABLE: Final = (*_COUNTED, "select", "declare", "refresh")


def is_counted(statement: StatementFacts) -> bool:
    """Tell whether the statement's command tag says how many rows it changed."""
    return statement.kind in _COUNTED or statement.copy == "in"


def is_plannable(statement: StatementFacts) -> bool:
    """Tell whether EXPLAIN in front of the statement gives its estimated cost."""
    return statement.kind in _PLANNABLE


def check_measured(
    bounds: Bounds, facts: Sequence[StatementFacts]
) -> Iterator[tuple[ClientError, str]]:
    """Yield a refusal, and the rule it is for, where a limit applies that nothing measures."""
    if bounds.affected_rows is not None:
        mixed = len(facts) > 1 and any(statement.txn for statement in facts)
        if mixed or any(_is_uncounted(statement) for statement in facts):
            yield _uncounted(bounds.affected_rows, mixed=mixed), bounds.affected_rows.rule
    if bounds.estimated_cost is not None:
        planned = [one for one in facts if is_plannable(one) or _is_unplanned(one)]
        if any(map(_is_unplanned, planned)) or (planned and len(facts) > 1):
            alone = len(facts) == 1
            yield _unestimated(bounds.estimated_cost, alone=alone), bounds.estimated_cost.rule


def _is_uncounted(statement: StatementFacts) -> bool:
    changed = {
        effect.relation.oid if effect.relation is not None else 0
        for effect in statement.effects
        if effect.id in _CHANGES_ROWS
    }
    if not changed or statement.copy == "in":
        return False
    if statement.kind == "explain":
        return any(effect.id == "explain.analyze" for effect in statement.effects)
    # A writing CTE, a foreign key's cascade: the tag speaks of the outermost statement only.
    return statement.kind not in _COUNTED or statement.nested_write or len(changed) > 1


def _is_unplanned(statement: StatementFacts) -> bool:
    """Tell whether the statement runs a query that EXPLAIN cannot be put in front of."""
    if statement.copy == "out":
        return True
    return any(effect.id == "explain.analyze" for effect in statement.effects)


def _uncounted(bound: Bound, *, mixed: bool) -> ClientError:
    what = (
        "transaction control between statements would commit them uncounted"
        if mixed
        else "rows changed on the way (WITH, EXPLAIN ANALYZE, foreign keys) are not counted"
    )
    return NotUnderstood(
        f"{what}, and rule {quote_name(bound.rule)} lets a statement change {bound.max:g} rows",
        hint="Send each INSERT, UPDATE, DELETE or MERGE as a statement of its own.",
        facts={"rule": bound.rule, "limit": "affected_rows"},
    )


def _unestimated(bound: Bound, *, alone: bool) -> ClientError:
    what = (
        "the cost of COPY and of EXPLAIN ANALYZE is not estimated"
        if alone
        else "the cost of several statements in one string is not estimated"
    )
    return NotUnderstood(
        f"{what}, and rule {quote_name(bound.rule)} limits it to {bound.max:g}",
        hint="Send one SELECT, INSERT, UPDATE, DELETE or MERGE at a time.",
        facts={"rule": bound.rule, "limit": "estimated_cost"},
    )
