"""Build the frozen tree from what the sources gave.

Generic over the dataclasses: a new setting is one field, and its reading, checking, source and
documentation follow from its declaration.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import NamedTuple, cast

from gateway.config_source import KeyPath, Sources, missing
from gateway.config_values import Section, Setting
from gateway.errors import ConfigError


class Resolved(NamedTuple):
    """One setting as it is in force; `value` is fit to show and holds no secret."""

    path: str
    value: str
    source: str


class Builder:
    """Turns the given values into the tree, remembering what came from where."""

    def __init__(self, sources: Sources, base: Path) -> None:
        self._sources, self._base = sources, base
        self.resolved: list[Resolved] = []

    def build(self, cls: type, path: KeyPath = (), **named: object) -> object:
        """Return an instance of the dataclass `cls` from the keys below `path`."""
        values: dict[str, object] = dict(named)
        for item in dataclasses.fields(cls):
            if "setting" in item.metadata:
                found = cast("Setting", item.metadata["setting"])
                key = (*path, *(found.key or item.name).split("."))
                values[item.name] = self._value(key, found)
            elif "section" in item.metadata:
                part = cast("Section", item.metadata["section"])
                inner = (*path, item.name)
                values[item.name] = (
                    self._named(part, item.name) if part.named else self._section(part, inner)
                )
        return cls(**values)

    def _section(self, part: Section, path: KeyPath) -> object:
        built = self.build(part.keys, path)
        if part.build is None:
            return built
        try:
            return part.build(built)
        except ValueError as error:
            raise self.error(path, str(error)) from error

    def _named(self, part: Section, name: str) -> object:
        label = dataclasses.fields(part.keys)[0].name
        found = {
            own: self.build(part.keys, (name, own), **{label: own})
            for own in self._sources.names(name)
        }
        return found if name == "targets" else tuple(found.values())

    def _value(self, path: KeyPath, found: Setting) -> object:
        given = self._sources.get(path)
        if given is None and missing(found):
            raise self.error(path, "required and not set")
        raw = found.default if given is None else given.value
        try:
            value = found.kind.check(raw)
        except ValueError as error:
            raise self.error(path, str(error)) from error
        if isinstance(value, Path):
            value = (self._base if given is None else given.base) / value.expanduser()
            if found.kind.must_exist and not (value.is_file() and os.access(value, os.R_OK)):
                raise self.error(path, f"cannot read {value}")
        shown = found.kind.show(value)
        if raw == "auto":
            shown = f"auto ({shown})"
        source = "default" if given is None else given.source
        self.resolved.append(Resolved(".".join(path), shown, source))
        return value

    def error(self, path: KeyPath, message: str) -> ConfigError:
        """Return the error for `path`, naming where it was written."""
        return ConfigError(self._sources.place(path), f"{'.'.join(path)}: {message}")
