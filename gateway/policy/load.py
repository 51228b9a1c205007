"""Read a directory of policy files into one validated bundle, or say everything that is wrong.

All problems of all files are reported at once, each with file, line and column. Files are read
from the directory itself, not from below it: `policies/` may hold examples in subdirectories
without activating them.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import PolicyError, Problem
from gateway.policy.bundle import Bundle, Origins
from gateway.policy.check import check_references
from gateway.policy.model import Policy
from gateway.policy.names import nearest
from gateway.policy.yamltree import Tree, parse_tree

FILES_MAX: Final = 500
FILE_BYTES_MAX: Final = 4 << 20
_SUFFIXES: Final = (".yaml", ".yml")
_LISTS: Final = ("grants", "denies", "guards", "masks", "limits", "tests")
_MAPS: Final = ("groups", "tags")
_ONCE: Final = ("mode", "audit", "recording", "retention")


def load_bundle(
    directory: Path, *, targets: Collection[str] | None, issuers: Collection[str] | None
) -> Bundle:
    """Return the bundle of the files in `directory`; raises PolicyError with every problem.

    `targets` and `issuers` are the names the configuration knows; None leaves the check out,
    for a policy owner who has no configuration at hand.
    """
    problems: list[Problem] = []
    files = _find_files(directory, problems)
    parsed: list[tuple[Tree, Policy]] = []
    for path in files:
        tree = _read(path, problems)
        if tree is not None and (policy := _validate(tree, problems)) is not None:
            parsed.append((tree, policy))
    if problems:
        raise PolicyError(_in_order(problems))
    policy, origins = _merge(parsed, problems)
    warnings = check_references(policy, origins, problems, targets=targets, issuers=issuers)
    if problems:
        raise PolicyError(_in_order(problems))
    return Bundle.build(policy, origins=origins, warnings=warnings)


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))


def _find_files(directory: Path, problems: list[Problem]) -> list[Path]:
    try:
        files = sorted(
            path
            for path in directory.iterdir()
            if path.suffix in _SUFFIXES and not path.name.startswith(".")
        )
    except OSError as error:
        problems.append(Problem(str(directory), 0, 0, error.strerror or "cannot be read"))
        return []
    if not files:
        problems.append(Problem(str(directory), 0, 0, "holds no policy file (*.yaml)"))
    if len(files) > FILES_MAX:
        problems.append(Problem(str(directory), 0, 0, f"holds more than {FILES_MAX} policy files"))
        return []
    return files


def _read(path: Path, problems: list[Problem]) -> Tree | None:
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        problems.append(Problem(str(path), 0, 0, error.strerror or "cannot be read"))
        return None
    if len(text) > FILE_BYTES_MAX:
        problems.append(Problem(str(path), 0, 0, f"larger than {FILE_BYTES_MAX} bytes"))
        return None
    tree = parse_tree(text, str(path))
    problems += tree.problems
    return None if tree.problems and tree.data is None else tree


def _validate(tree: Tree, problems: list[Problem]) -> Policy | None:
    if not isinstance(tree.data, dict):
        problems.append(tree.problem((), "a policy file is a mapping that begins with version: 1"))
        return None
    try:
        return Policy.model_validate(tree.data)
    except ValidationError as error:
        seen: set[tuple[str | int, ...]] = set()
        for details in error.errors(include_url=False):
            path = _known_prefix(tree, details["loc"])
            # A value that fits none of several types gives one error for each of them.
            if details["type"] == "extra_forbidden" or path not in seen:
                problems.append(_explain(tree, details))
            seen.add(path)
        return None


def _known_prefix(tree: Tree, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return `loc` without the names of union branches that pydantic puts between."""
    path: tuple[str | int, ...] = ()
    for part in loc:
        if (*path, part) in tree.values:
            path = (*path, part)
    return path


def _explain(tree: Tree, details: ErrorDetails) -> Problem:
    path = _known_prefix(tree, details["loc"])
    where = ".".join(str(part) for part in path if isinstance(part, str))
    if details["type"] == "extra_forbidden":
        known = _fields_at(path[:-1])
        key = str(path[-1])
        hint = nearest(key, known) or f"; known here: {', '.join(sorted(known))}"
        return tree.problem(path, f'unknown key "{key}"{hint}', of_key=True)
    if details["type"] == "missing":
        missing = details["loc"][-1]
        return tree.problem(path, f'{where + ": " if where else ""}the key "{missing}" is missing')
    message = details["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    return tree.problem(path, f"{where}: {message[:1].lower()}{message[1:]}")


def _fields_at(path: tuple[str | int, ...]) -> set[str]:
    """Return the keys that the section at `path` of a policy file knows."""
    current: object = Policy
    for part in path:
        current = _step(current, part)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return {field.alias or name for name, field in current.model_fields.items()}
    return set()


def _step(current: object, part: str | int) -> object:
    if isinstance(current, type) and issubclass(current, BaseModel):
        for name, field in current.model_fields.items():
            if (field.alias or name) == part:
                return _section_in(field.annotation)
        return None
    arguments = typing.get_args(current)
    return _section_in(arguments[0 if isinstance(part, int) else -1]) if arguments else None


def _section_in(annotation: object) -> object:
    """Return the one alternative of a union that can hold keys."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _section_in(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        branches = [_section_in(branch) for branch in typing.get_args(annotation)]
        models = [b for b in branches if isinstance(b, type) and issubclass(b, BaseModel)]
        return models[0] if models else branches[0]
    return annotation


def _merge(parsed: list[tuple[Tree, Policy]], problems: list[Problem]) -> tuple[Policy, Origins]:
    merged: dict[str, Any] = {"version": 1}
    origins: Origins = {}
    for tree, policy in parsed:
        for section in policy.model_fields_set - {"version"}:
            value = getattr(policy, section)
            if section in _LISTS:
                start = len(merged.get(section, ()))
                merged[section] = (*merged.get(section, ()), *value)
                for index in range(len(value)):
                    origins[section, start + index] = (tree, (section, index))
            elif section in _MAPS:
                known = merged.setdefault(section, {})
                for name in value:
                    if name in known:
                        message = f'"{name}" is defined in {origins[section, name][0].file} too'
                        problems.append(tree.problem((section, name), message, of_key=True))
                    else:
                        known[name] = value[name]
                        origins[section, name] = (tree, (section, name))
            elif section in merged:
                first = origins[section, ""][0].file
                problems.append(tree.problem((section,), f"{section} is set in {first} too"))
            else:
                merged[section] = value
                origins[section, ""] = (tree, (section,))
    return Policy.model_validate(_plain(merged)), origins


def _plain(value: object) -> object:
    """Return sections as the data they came from, leaving out what was not written."""
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True, mode="json", exclude_unset=True)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
