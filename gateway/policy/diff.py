"""What a change of policy does: to the rules, and to statements that were really sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.policy.bundle import Bundle
from gateway.policy.decision import DecideRequest, Decision
from gateway.policy.engine import Engine
from gateway.policy.explain import principal_in

_LISTS: Final = ("grants", "denies", "guards", "masks", "limits")
_MAPS: Final = ("groups", "tags")
_BECAME: Final = {"deny": "newly refused", "approve": "newly held", "allow": "newly allowed"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A statement as it was sent, by members of which token groups, and how often."""

    groups: tuple[str, ...]
    target: str
    sql: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One rule that is not as it was: `added`, `removed` or `changed`."""

    section: str
    name: str
    what: str


@dataclass(frozen=True, slots=True)
class DecisionChange:
    """One statement that is decided otherwise."""

    what: str  # newly refused, newly held, newly allowed, masks changed
    sample: Sample
    before: str
    after: str
    detail: str


def compare_rules(old: Bundle, new: Bundle) -> list[RuleChange]:
    """Return the rules that differ, section by section."""
    found: list[RuleChange] = []
    for section in (*_MAPS, *_LISTS):
        before, after = (_rules(bundle, section) for bundle in (old, new))
        for name in sorted(before.keys() | after.keys()):
            if name not in before:
                found.append(RuleChange(section, name, "added"))
            elif name not in after:
                found.append(RuleChange(section, name, "removed"))
            elif before[name] != after[name]:
                found.append(RuleChange(section, name, "changed"))
    if old.policy.mode != new.policy.mode:
        found.append(RuleChange("mode", f"{old.policy.mode} to {new.policy.mode}", "changed"))
    return found


def _rules(bundle: Bundle, section: str) -> dict[str, Any]:
    rules = getattr(bundle.policy, section)
    return dict(rules) if section in _MAPS else {rule.id: rule for rule in rules}


def compare_traffic(old: Engine, new: Engine, samples: Iterable[Sample]) -> list[DecisionChange]:
    """Return the samples that the two policies decide differently, the worst surprise first."""
    found = [change for sample in samples if (change := _compare(old, new, sample)) is not None]
    order = list(_BECAME.values())
    return sorted(
        found,
        key=lambda c: (order.index(c.what) if c.what in order else len(order), -c.sample.count),
    )


def _compare(old: Engine, new: Engine, sample: Sample) -> DecisionChange | None:
    before, after = (_decide(engine, sample) for engine in (old, new))
    if before.action != after.action:
        what = _BECAME.get(after.action, "newly allowed")
    elif before.masks != after.masks:
        what = "masks changed"
    else:
        return None
    return DecisionChange(what, sample, _words(before), _words(after), _detail(after))


def _decide(engine: Engine, sample: Sample) -> Decision:
    principal = replace(principal_in(engine.bundle, ()), groups=sample.groups)
    return engine.decide(
        DecideRequest(
            principal=principal, target=sample.target, requested="", sql=sample.sql.encode()
        )
    )


def _words(decision: Decision) -> str:
    masks = f" masked {','.join(decision.masks)}" if decision.masks else ""
    error = f" {decision.error['id']}" if decision.error else ""
    return f"{decision.action}{error}{masks}"


def _detail(decision: Decision) -> str:
    if decision.error is not None:
        return decision.error["message"]
    return f"by {', '.join(decision.rules)}" if decision.rules else ""
