"""Read the small, strict part of YAML that policy files are written in.

Built on the C parser's events rather than on a constructor: tags, anchors, aliases, merge keys,
duplicate keys and second documents are refused where they stand, and only `true`, `false`,
`null`, numbers and text exist. `on`, `yes` and `0777` are text. Every value keeps its place, so
that a later check can name file, line and column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from gateway.errors import Problem

DEPTH_MAX: Final = 24
Path = tuple[str | int, ...]
Place = tuple[int, int]

_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,17}", re.ASCII)
_WORDS: Final[dict[str, object]] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(slots=True)
class Tree:
    """One parsed file: plain data, and where each key and each value stands."""

    file: str
    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path, *, of_key: bool = False) -> Place:
        """Return the place of `path`, or of the closest enclosing thing that has one."""
        if of_key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def problem(self, path: Path, message: str, *, of_key: bool = False) -> Problem:
        """Return a Problem that points at `path`."""
        return Problem(self.file, *self.place(path, of_key=of_key), message)


class _Stop(Exception):
    """Reading cannot go on; the problem is recorded already."""


class _Reader:
    """Builds a Tree from parser events. Recursion is bounded by DEPTH_MAX."""

    def __init__(self, tree: Tree, events: Iterator[yaml.Event]) -> None:
        self._tree = tree
        self._events = events

    def read(self) -> None:
        self._next()  # StreamStart
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            self._add(event, "the file is empty; it needs at least `version: 1`")
            return
        self._tree.data = self._value(self._next(), ())
        self._next()  # DocumentEnd
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            self._add(event, "only one YAML document per file")

    def _next(self) -> yaml.Event:
        return next(self._events)

    def _add(self, event: yaml.Event, message: str) -> None:
        line, column = _place(event)
        self._tree.problems.append(Problem(self._tree.file, line, column, message))

    def _value(self, event: yaml.Event, path: Path) -> object:
        self._tree.values[path] = _place(event)
        if len(path) > DEPTH_MAX:
            self._add(event, f"nested deeper than {DEPTH_MAX} levels")
            raise _Stop
        if isinstance(event, yaml.AliasEvent):
            self._add(event, f"aliases are not allowed (*{event.anchor}); write the value out")
            return None
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            if event.anchor is not None:
                self._add(event, f"anchors are not allowed (&{event.anchor})")
            if event.tag is not None:
                self._add(event, f"tags are not allowed ({event.tag})")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: Path) -> list[object]:
        items: list[object] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, object]:
        items: dict[str, object] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event)
            known = key in items
            if known:
                line, _ = self._tree.keys[(*path, key)]
                self._add(event, f'key "{key}" is there twice, first in line {line}')
            else:
                self._tree.keys[(*path, key)] = _place(event)
            value = self._value(self._next(), (*path, key))
            if not known:
                items[key] = value
        return items

    def _key(self, event: yaml.Event) -> str:
        if not isinstance(event, yaml.ScalarEvent) or event.tag or event.anchor:
            self._add(event, "a key must be plain text")
            raise _Stop
        return str(event.value)


def parse_tree(text: bytes, file: str) -> Tree:
    """Return the tree of `text`. Never raises: what is wrong is in `problems`."""
    tree = Tree(file)
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        tree.problems.append(Problem(file, line, 0, "not valid UTF-8"))
        return tree
    try:
        _Reader(tree, yaml.parse(decoded, Loader=yaml.CSafeLoader)).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        what = " ".join(part for part in (error.context, error.problem) if part)
        tree.problems.append(Problem(file, line, column, f"not valid YAML: {what}"))
    except yaml.YAMLError as error:
        tree.problems.append(Problem(file, 0, 0, f"not valid YAML: {error}".splitlines()[0]))
    except _Stop:
        tree.data = None
    return tree


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _scalar(event: yaml.ScalarEvent) -> object:
    text: str = event.value
    if event.style:  # quoted or a block: always text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
