"""A whole policy: the merged files, their digest, and the JSON form that processes exchange.

The digest covers what the policy says and not how it is written: comments, file names and the
order of rules do not change it. The JSON form carries the digest and is refused when the two
disagree, so that a half-written activation cannot be loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import ValidationError

from gateway.errors import PolicyError, Problem
from gateway.policy.model import Policy
from gateway.policy.principal import Principal
from gateway.policy.yamltree import Path, Tree

FORMAT: Final = 1
ACTIVE: Final = "active policy"
# Where each rule stands: (section, index or name) -> file and path in it.
Origins = dict[tuple[str, str | int], tuple[Tree, Path]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A validated policy. Build it with `load_bundle` or `from_json`."""

    policy: Policy
    digest: str
    places: Mapping[str, tuple[str, int, int]]
    warnings: tuple[Problem, ...] = ()

    @classmethod
    def build(
        cls, policy: Policy, *, origins: Origins | None = None, warnings: Sequence[Problem] = ()
    ) -> Bundle:
        """Return the bundle of `policy`, which must have passed `check_references`."""
        ordered = _ordered(policy)
        return cls(ordered, _digest(ordered), _places(policy, origins or {}), tuple(warnings))

    def to_json(self) -> bytes:
        """Return the form in which the activated policy is stored and read by all processes."""
        return orjson.dumps(
            {
                "format": FORMAT,
                "digest": self.digest,
                "policy": _dump(self.policy),
                "places": {key: list(place) for key, place in self.places.items()},
                "warnings": [[w.file, w.line, w.column, w.message] for w in self.warnings],
            },
            option=orjson.OPT_SORT_KEYS,
        )

    @classmethod
    def from_json(cls, data: bytes) -> Bundle:
        """Rebuild what `to_json` gave; raises PolicyError when it is damaged or of other form."""
        try:
            wire = orjson.loads(data)
            if wire["format"] != FORMAT:
                raise _broken(f"format {wire['format']!r}, this version reads {FORMAT}")
            policy = Policy.model_validate(wire["policy"])
            places = {key: (str(f), int(r), int(c)) for key, (f, r, c) in wire["places"].items()}
            warnings = tuple(Problem(*warning) for warning in wire["warnings"])
            digest = wire["digest"]
        except (ValidationError, ValueError, KeyError, TypeError) as error:
            raise _broken(f"cannot be read: {type(error).__name__}") from error
        if _digest(policy) != digest:
            raise _broken("the digest does not fit the contents")
        return cls(policy, digest, places, warnings)

    def problem(self, section: str, name: str, message: str) -> Problem:
        """Return a Problem at the rule `name` of `section`."""
        file, line, column = self.places.get(f"{section}/{name}", (ACTIVE, 0, 0))
        return Problem(file, line, column, message)

    def groups_of(self, principal: Principal) -> frozenset[str]:
        """Return the policy groups that the principal's token groups put it in."""
        held = frozenset(principal.groups)
        groups = self.policy.groups.items()
        return frozenset(name for name, group in groups if held.intersection(group.from_))

    def is_agent(self, principal: Principal) -> bool:
        """Tell whether the principal must never approve: in an agents' group, or in none."""
        groups = self.groups_of(principal)
        return (
            principal.actor is not None
            or not groups
            or any(self.policy.groups[name].kind == "agent" for name in groups)
        )


def _broken(message: str) -> PolicyError:
    return PolicyError([Problem(ACTIVE, 0, 0, message)])


def _ordered(policy: Policy) -> Policy:
    """Return `policy` with its rules sorted by id, so that their order can have no effect."""
    lists: dict[str, Any] = {
        section: tuple(sorted(getattr(policy, section), key=lambda rule: str(rule.id)))
        for section in ("grants", "denies", "guards", "masks", "limits")
        if section in policy.model_fields_set
    }
    return policy.model_copy(update=lists)


def _dump(policy: Policy) -> dict[str, Any]:
    return policy.model_dump(by_alias=True, mode="json", exclude_unset=True)


def _digest(policy: Policy) -> str:
    canonical = orjson.dumps(_dump(policy), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(b"postern-policy-v1\0" + canonical).hexdigest()


def _places(policy: Policy, origins: Origins) -> dict[str, tuple[str, int, int]]:
    places: dict[str, tuple[str, int, int]] = {}
    for (section, key), (tree, path) in origins.items():
        name = key if isinstance(key, str) else _name_of(getattr(policy, section), key)
        places[f"{section}/{name}"] = (tree.file, *tree.place(path))
    return places


def _name_of(rules: Sequence[Any], index: int) -> str:
    return str(getattr(rules[index], "id", index))


def canonical_groups(groups: Iterable[str]) -> tuple[str, ...]:
    """Return group names in the one order used in keys and texts."""
    return tuple(sorted(set(groups)))
