"""The limits that hold for one principal on one target: of all that apply, the strictest each.

Every bound keeps the id of the rule it came from, for the error, the record and
`SHOW postern.limits`. In shadow mode they are counted and recorded, and stop nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from gateway.policy.limitmodel import Limit

# Bound -> the error that exceeding it gives.
ERROR_OF: Final = {
    "rows": "PN501",
    "bytes": "PN501",
    "affected_rows": "PN501",
    "time": "PN502",
    "estimated_cost": "PN503",
    "statements": "PN504",
    "sessions": "PN106",
}
_PER_STATEMENT: Final = ("rows", "bytes", "time", "estimated_cost", "affected_rows")


class Bound(NamedTuple):
    """The most there may be, and the rule that says so. Times are in seconds."""

    max: float
    rule: str


class Window(NamedTuple):
    """At most `max` statements in each `per_s` seconds."""

    max: int
    per_s: float
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is limited. A bound that is None is not limited."""

    rows: Bound | None = None
    bytes: Bound | None = None
    time: Bound | None = None
    estimated_cost: Bound | None = None
    affected_rows: Bound | None = None
    sessions: Bound | None = None
    statements: tuple[Window, ...] = ()  # one per length of window
    enforced: bool = True

    @classmethod
    def strictest(cls, limits: Iterable[Limit], *, enforced: bool = True) -> Bounds:
        """Return the strictest of each bound; of equal ones the first rule by id is named."""
        found: dict[str, Bound] = {}
        windows: dict[float, Window] = {}
        for limit in sorted(limits, key=lambda one: one.id):
            given: dict[str, float | None] = {}
            if limit.per_statement is not None:
                given |= {name: getattr(limit.per_statement, name) for name in _PER_STATEMENT}
            if limit.per_principal is not None:
                given["sessions"] = limit.per_principal.sessions
                if (window := limit.per_principal.statements) is not None:
                    known = windows.get(window.per)
                    if known is None or window.count < known.max:
                        windows[window.per] = Window(window.count, window.per, limit.id)
            for name, value in given.items():
                if value is not None and (name not in found or value < found[name].max):
                    found[name] = Bound(value, limit.id)
        ordered = tuple(windows[per_s] for per_s in sorted(windows))
        return cls(**found, statements=ordered, enforced=enforced)

    def listed(self) -> list[dict[str, Any]]:
        """Return each bound for people and records: name, maximum, rule and error id."""
        rows: list[dict[str, Any]] = []
        for name in (*_PER_STATEMENT, "sessions"):
            bound: Bound | None = getattr(self, name)
            if bound is not None:
                rows.append(
                    {
                        "limit": name,
                        "max": bound.max,
                        "rule": bound.rule,
                        "error": ERROR_OF[name],
                    }
                )
        rows += [
            {
                "limit": "statements",
                "max": window.max,
                "per_s": window.per_s,
                "rule": window.rule,
                "error": ERROR_OF["statements"],
            }
            for window in self.statements
        ]
        return rows

    def to_wire(self) -> dict[str, Any]:
        """Return a plain dict for the channel between processes."""
        wire: dict[str, Any] = {
            name: None if (bound := getattr(self, name)) is None else list(bound)
            for name in (*_PER_STATEMENT, "sessions")
        }
        wire["statements"] = [list(window) for window in self.statements]
        wire["enforced"] = self.enforced
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Bounds:
        """Rebuild what `to_wire` gave; raises KeyError when a field is missing."""
        found = {
            name: None if wire[name] is None else Bound(*wire[name])
            for name in (*_PER_STATEMENT, "sessions")
        }
        windows = tuple(Window(*window) for window in wire["statements"])
        return cls(**found, statements=windows, enforced=wire["enforced"])
