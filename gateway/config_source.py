"""Where settings come from: defaults < file < environment < flag.

Each source becomes the same flat table of `path -> Given`, so that one builder serves them all
and every value knows the place it came from. An unknown key anywhere is an error that names
the nearest known one: a setting that is silently ignored is a door left open.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from gateway import limits
from gateway.config_values import REQUIRED, Section, Setting, check_name
from gateway.errors import ConfigError

KeyPath = tuple[str, ...]

ENV_PREFIX: Final = "POSTERN_"
# Read by commands, not settings of the gateway.
ENV_OTHER: Final = frozenset(
    {
        "POSTERN_CONFIG",
        "POSTERN_TOKEN",
        "POSTERN_TOKEN_FILE",
        "POSTERN_URL",
        "POSTERN_ISSUER",
        "POSTERN_CLIENT_ID",
        "POSTERN_JOIN_TOKEN",
    }
)
# Kubernetes injects these for every service; one named after us must not stop the boot.
_ENV_KUBERNETES = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_\w+)?)")
_NEAR_ENOUGH: Final = 0.85
_WILDCARD: Final = "*"


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was written, and where."""

    value: object
    source: str  # "postern.toml:12", "POSTERN_POOL_SIZE" or "--workers"
    base: Path  # what a relative path in it starts from


@dataclass(frozen=True, slots=True)
class Known:
    """One setting of the whole tree; a name chosen by the operator is `*` in `path`."""

    path: KeyPath
    setting: Setting

    @property
    def dotted(self) -> str:
        """The path as documentation and messages write it."""
        return ".".join("<name>" if part == _WILDCARD else part for part in self.path)

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return ENV_PREFIX + "_".join(
            "<NAME>" if part == _WILDCARD else env_part(part) for part in self.path
        )


def env_part(name: str) -> str:
    """Return how `name` is spelled inside an environment variable."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def known_settings(tree: type, prefix: KeyPath = ()) -> Iterator[Known]:
    """Yield every setting below the dataclass `tree`, in declaration order."""
    for item in dataclasses.fields(tree):
        if "setting" in item.metadata:
            found = cast("Setting", item.metadata["setting"])
            yield Known((*prefix, *(found.key or item.name).split(".")), found)
        elif "section" in item.metadata:
            part = cast("Section", item.metadata["section"])
            inner = (*prefix, item.name, _WILDCARD) if part.named else (*prefix, item.name)
            yield from known_settings(part.keys, inner)


def read_file(path: Path) -> tuple[dict[str, object], dict[KeyPath, int]]:
    """Return the parsed TOML and the line of each key; raises ConfigError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error)) from error
    if len(raw) > limits.CONFIG_BYTES_MAX:
        raise ConfigError(str(path), f"larger than {limits.CONFIG_BYTES_MAX} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}", "not valid UTF-8") from error
    try:
        return tomllib.loads(text), _key_lines(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).partition(" (at ")
        line_match = re.match(r"line (\d+)", place)
        where = f"{path}:{line_match[1]}" if line_match else f"{path}:{text.count(chr(10)) + 1}"
        raise ConfigError(where, message) from error


_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_\-.\"' ]+?)\s*=")


def _key_lines(text: str) -> dict[KeyPath, int]:
    """Map key paths to lines. tomllib keeps no positions, and a message needs one.

    Only an index for messages: a line it mistakes inside a multi-line string names a key that
    nobody asks for.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _dotted(header[2])
            if header[1] == "[[":
                index = counts.get(header[2], 0)
                counts[header[2]] = index + 1
                table = (*table, str(index))
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_dotted(key[1])), number)
    return lines


def _dotted(text: str) -> KeyPath:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


class Sources:
    """The values given for the settings of one dataclass tree, strongest source last."""

    def __init__(self, tree: type) -> None:
        self._known = list(known_settings(tree))
        self._by_path = {known.path: known for known in self._known}
        self._prefixes = {
            known.path[:count] for known in self._known for count in range(1, len(known.path))
        }
        self._given: dict[KeyPath, Given] = {}
        self._names: dict[str, list[str]] = {}
        self._places: dict[KeyPath, str] = {}

    def get(self, path: KeyPath) -> Given | None:
        """Return the strongest value given for `path`."""
        return self._given.get(path)

    def names(self, part: str) -> Sequence[str]:
        """Return the operator's names below a named section, in order of appearance."""
        return self._names.get(part, [])

    def place(self, path: KeyPath) -> str:
        """Return where `path` or the nearest table around it was written, for a message."""
        for count in range(len(path), 0, -1):
            given = self._given.get(path[:count])
            if given is not None:
                return given.source
            if path[:count] in self._places:
                return self._places[path[:count]]
        return self._places.get((), "configuration")

    def add_file(self, path: Path) -> None:
        """Take the values of a TOML file; raises ConfigError."""
        raw, lines = read_file(path)
        self._places[()] = str(path)
        base = path.resolve().parent
        for real, logical, value in self._flatten(raw, (), (), str(path), lines):
            line = _nearest_line(lines, real)
            source = f"{path}:{line}" if line else str(path)
            if not isinstance(value, _Table):
                self._given[logical] = Given(value, source, base)
            self._places[logical] = source

    def _flatten(
        self,
        raw: Mapping[str, object],
        real: KeyPath,
        logical: KeyPath,
        file: str,
        lines: Mapping[KeyPath, int],
    ) -> Iterator[tuple[KeyPath, KeyPath, object]]:
        for key, value in raw.items():
            here, there = (*real, key), (*logical, key)
            pattern = self._pattern(there)
            line = _nearest_line(lines, here)
            where = f"{file}:{line}" if line else file
            if pattern in self._by_path:
                yield here, there, value
            elif pattern not in self._prefixes:
                raise ConfigError(where, self._unknown(there))
            elif isinstance(value, dict):
                if len(there) == 2 and pattern[-1] == _WILDCARD:
                    self._add_name(there[0], key, where)
                yield here, there, _TABLE
                yield from self._flatten(value, here, there, file, lines)
            elif isinstance(value, list) and (*pattern, _WILDCARD) in self._prefixes:
                for index, entry in enumerate(value):
                    spot = (*here, str(index))
                    name = self._entry_name(entry, key, lines.get(spot, line), file)
                    yield spot, (*there, name), _TABLE
                    rest = {k: v for k, v in entry.items() if k != "id"}
                    yield from self._flatten(rest, spot, (*there, name), file, lines)
            else:
                raise ConfigError(where, f"{'.'.join(there)}: expected a table")

    def _entry_name(self, entry: object, part: str, line: int | None, file: str) -> str:
        where = f"{file}:{line}" if line else file
        if not isinstance(entry, dict):
            raise ConfigError(where, f"{part}: expected tables, written [[{part}]]")
        name = entry.get("id")
        if not isinstance(name, str):
            raise ConfigError(where, f"{part}: every entry needs an id")
        if name in self.names(part):
            raise ConfigError(where, f"{part}: the id {name!r} is used twice")
        self._add_name(part, name, where)
        return name

    def _add_name(self, part: str, name: str, where: str) -> None:
        try:
            check_name(name)
        except ValueError as error:
            raise ConfigError(where, f"{part}: {error}") from error
        known = self._names.setdefault(part, [])
        if name not in known:
            known.append(name)

    def _pattern(self, path: KeyPath) -> KeyPath:
        """Return `path` with an operator's name replaced by the wildcard."""
        if len(path) > 1 and (path[0], _WILDCARD) in self._prefixes:
            return (path[0], _WILDCARD, *path[2:])
        return path

    def _unknown(self, path: KeyPath) -> str:
        pattern = self._pattern(path)
        siblings = sorted(
            {
                known.path[len(pattern) - 1]
                for known in self._known
                if known.path[: len(pattern) - 1] == pattern[:-1]
                and len(known.path) >= len(pattern)
            }
        )
        near = difflib.get_close_matches(path[-1], siblings, n=1, cutoff=0.5)
        dotted = ".".join(path)
        if near:
            return f"unknown key {dotted}; the nearest known one is {near[0]}"
        # Right name, wrong table: the commonest slip after a misspelling.
        home = [k.dotted for k in self._known if k.path[-1] == path[-1]]
        hint = f"did you mean {home[0]}?" if home else f"known here: {', '.join(siblings)}"
        return f"unknown key {dotted}; {hint}"

    def add_environment(self, environ: Mapping[str, str], base: Path) -> None:
        """Take the values of every POSTERN_* variable; raises ConfigError."""
        for name in sorted(environ):
            if not name.startswith(ENV_PREFIX) or name in ENV_OTHER:
                continue
            found = self._env_path(name.removeprefix(ENV_PREFIX))
            if found is None:
                self._refuse_env(name)
                continue
            self._take_text(found, environ[name], name, base)

    def add_overrides(self, overrides: Mapping[str, str], base: Path) -> None:
        """Take values given as flags, by dotted path; raises ConfigError."""
        for dotted, text in overrides.items():
            path = tuple(dotted.split("."))
            if self._pattern(path) not in self._by_path:
                raise ConfigError("command line", self._unknown(path))
            self._take_text(path, text, "command line", base)

    def _take_text(self, path: KeyPath, text: str, source: str, base: Path) -> None:
        known = self._by_path[self._pattern(path)]
        if _WILDCARD in known.path:
            self._add_name(path[0], path[1], source)
        self._given[path] = Given(known.setting.kind.from_text(text), source, base)

    def _env_path(self, name: str) -> KeyPath | None:
        for known in self._known:
            if _WILDCARD not in known.path and name == "_".join(map(env_part, known.path)):
                return known.path
        matches = [path for known in self._known if (path := self._env_named(name, known))]
        # "A_TLS_CA" also ends like a target "A_TLS" with a key "CA": the longest key wins.
        return max(matches, key=lambda path: sum(map(len, path[2:])), default=None)

    def _env_named(self, name: str, known: Known) -> KeyPath | None:
        if _WILDCARD not in known.path:
            return None
        part, _, *keys = known.path
        head = env_part(part) + "_"
        tail = "_" + "_".join(map(env_part, keys))
        if not (name.startswith(head) and name.endswith(tail)):
            return None
        middle = name[len(head) : len(name) - len(tail)]
        if not middle:
            return None
        declared = [own for own in self.names(part) if env_part(own) == middle]
        return (part, declared[0] if declared else middle.lower(), *keys)

    def _refuse_env(self, name: str) -> None:
        """Raise ConfigError if `name` looks meant for us; leave other people's variables alone."""
        if _ENV_KUBERNETES.search(name):
            return
        names = [known.env for known in self._known]
        near = difflib.get_close_matches(name, names, n=1, cutoff=_NEAR_ENOUGH)
        sections = {f"{ENV_PREFIX}{env_part(known.path[0])}_" for known in self._known}
        if near or any(name.startswith(head) for head in sections):
            close = near or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"; the nearest known one is {close[0]}" if close else ""
            raise ConfigError(name, f"unknown environment variable{hint}")


class _Table:
    """Stands for a table in a flattened file."""


_TABLE: Final = _Table()


def _nearest_line(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    return next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)


def missing(setting: Setting) -> bool:
    """Return whether `setting` has no default."""
    return setting.default is REQUIRED
