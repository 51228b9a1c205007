"""References inside one bundle: names that must exist, ids that must be unique, doubtful rules.

What can silently do nothing is reported here: a group nobody is in, a rule for an unknown target.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gateway.errors import Problem
from gateway.policy.bundle import Origins
from gateway.policy.model import Policy, TagRef
from gateway.policy.names import nearest
from gateway.policy.yamltree import Path

RULE_SECTIONS = ("grants", "denies", "guards", "masks", "limits")


def check_references(
    policy: Policy,
    origins: Origins,
    problems: list[Problem],
    *,
    targets: Collection[str] | None,
    issuers: Collection[str] | None,
) -> list[Problem]:
    """Add what is wrong between rules to `problems`; return the warnings."""
    checker = _Checker(policy, origins, problems)
    checker.ids()
    checker.groups(issuers)
    checker.targets(targets)
    checker.masks()
    checker.warn()
    return checker.warnings


class _Checker:
    """Walks the merged policy; knows where each rule came from."""

    def __init__(self, policy: Policy, origins: Origins, problems: list[Problem]) -> None:
        self._policy = policy
        self._origins = origins
        self._problems = problems
        self.warnings: list[Problem] = []

    def _at(self, section: str, key: str | int, sub: Path, message: str) -> Problem:
        tree, path = self._origins[section, key]
        return tree.problem((*path, *sub), message)

    def _add(self, section: str, key: str | int, sub: Path, message: str) -> None:
        self._problems.append(self._at(section, key, sub, message))

    def ids(self) -> None:
        """Every rule id is unique over all sections: records name rules by id alone."""
        first: dict[str, tuple[str, int]] = {}
        for section in RULE_SECTIONS:
            for index, rule in enumerate(getattr(self._policy, section)):
                if rule.id in first:
                    tree, path = self._origins[first[rule.id]]
                    line, _ = tree.place(path)
                    message = f'the id "{rule.id}" is used in {tree.file}:{line} too'
                    self._add(section, index, ("id",), message)
                else:
                    first[rule.id] = (section, index)

    def groups(self, issuers: Collection[str] | None) -> None:
        """Group references exist, and their sources name known issuers."""
        for name, group in self._policy.groups.items():
            for index, source in enumerate(group.from_):
                issuer, colon, rest = source.partition(":")
                if not colon or not issuer or not rest:
                    message = f'"{source}" is not issuer-id:group'
                elif issuers is not None and issuer not in issuers:
                    message = f'"{issuer}" is no issuer of the configuration'
                    message += nearest(issuer, issuers)
                else:
                    continue
                self._add("groups", name, ("from", index), message)
        for section in RULE_SECTIONS:
            for index, rule in enumerate(getattr(self._policy, section)):
                key = "except" if section == "masks" else "to"
                names = rule.except_ if section == "masks" else rule.to
                self._known_groups(section, index, (key,), names, star=section != "masks")
        for index, guard in enumerate(self._policy.guards):
            sub: Path = ("approval", "from")
            self._known_groups("guards", index, sub, guard.approval.from_, star=False)
            for position, name in enumerate(guard.approval.from_):
                if name in self._policy.groups and self._policy.groups[name].kind != "human":
                    message = f'"{name}" is a group of agents; agents never approve'
                    self._add("guards", index, (*sub, position), message)
        for index, test in enumerate(self._policy.tests):
            self._known_groups("tests", index, ("as", "groups"), test.as_.groups, star=False)

    def _known_groups(
        self, section: str, key: int, sub: Path, names: Iterable[str], *, star: bool
    ) -> None:
        known = self._policy.groups
        for index, name in enumerate(names):
            if name in known or (star and name == "*"):
                continue
            message = f'"{name}" is no group of this policy{nearest(name, known)}'
            self._add(section, key, (*sub, index), message)

    def targets(self, targets: Collection[str] | None) -> None:
        """Every target that is named is configured."""
        if targets is None:
            return
        for section in (*RULE_SECTIONS, "tests"):
            for index, rule in enumerate(getattr(self._policy, section)):
                if rule.target is not None and rule.target not in targets:
                    message = f'"{rule.target}" is no target of the configuration'
                    message += nearest(rule.target, targets)
                    self._add(section, index, ("target",), message)

    def masks(self) -> None:
        """Tags exist and are used; rule ids in tests exist."""
        used: set[str] = set()
        for index, mask in enumerate(self._policy.masks):
            if not isinstance(mask.columns, TagRef):
                continue
            tag = mask.columns.tag
            used.add(tag)
            if tag not in self._policy.tags:
                message = f'"{tag}" is no tag of this policy{nearest(tag, self._policy.tags)}'
                self._add("masks", index, ("columns", "tag"), message)
            elif not self._policy.tags[tag]:
                self._add("masks", index, ("columns", "tag"), f'the tag "{tag}" has no columns')
        for tag in self._policy.tags:
            if tag not in used:
                self.warnings.append(self._at("tags", tag, (), f'no mask uses the tag "{tag}"'))
        ids = {rule.id for section in RULE_SECTIONS for rule in getattr(self._policy, section)}
        for index, test in enumerate(self._policy.tests):
            rule = test.expect.rule
            if rule is not None and rule not in ids:
                message = f'"{rule}" is no rule of this policy{nearest(rule, ids)}'
                self._add("tests", index, ("expect", "rule"), message)

    def warn(self) -> None:
        """Rules that are valid and may not do what their author thinks."""
        granted = {(grant.target, name) for grant in self._policy.grants for name in grant.to}
        for index, grant in enumerate(self._policy.grants):
            given = grant.columns.model_fields_set if grant.columns else set()
            if grant.level in {"write", "admin"} and given == {"update"}:
                message = (
                    "columns narrows updates only; insert and delete stay as the level grants "
                    "them (level: read with effects: [rows.update] grants updates alone)"
                )
                self.warnings.append(self._at("grants", index, ("columns",), message))
        for index, guard in enumerate(self._policy.guards):
            reached = any(
                (guard.target is None or guard.target == target)
                and (name in guard.to or "*" in guard.to or name == "*")
                for target, name in granted
            )
            if not reached:
                message = "no grant reaches the groups of this guard; it holds nothing"
                self.warnings.append(self._at("guards", index, (), message))
        if "recording" in self._policy.model_fields_set:
            message = "recording is not acted on by this version"
            self.warnings.append(self._at("recording", "", (), message))
        if self._policy.retention.recordings is not None:
            message = "retention.recordings is not acted on by this version"
            self.warnings.append(self._at("retention", "", (), message))
