"""Names that policies use: effects by level, patterns over them, and column names.

The lists are closed. What an effect id is not on is granted by no level, and a pattern that fits
no known effect is an error at load: a misspelt deny would otherwise deny nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.policy.profile import LEVELS, Level
from gateway.sql.facts import EFFECT_LEVELS

_KINDS: Final = (
    "table", "index", "view", "matview", "sequence", "type", "schema", "function",
    "trigger", "rule", "policy", "domain", "operator", "cast", "collation", "statistics",
    "foreign_table", "language", "event_trigger", "text_search", "definition", "depends", "label",
    "tablespace", "cluster", "reindex", "access_method", "conversion", "range", "transform",
)  # fmt: skip
# In no level: each needs a grant that names it.
_EXPLICIT: Final = (
    "code.do",
    *(f"session.{verb}" for verb in ("set", "role", "listen", "notify", "advisory_lock")),
    *(f"egress.{way}" for way in ("program", "file", "fdw", "dblink", "subscription", "lo")),
    *(f"server.{verb}" for verb in ("file.read", "file.write", "signal", "config")),
    *(f"database.{verb}" for verb in ("create", "alter", "drop", "analyze", "vacuum")),
    *(f"role.{verb}" for verb in ("create", "alter", "drop", "grant", "owner", "drop_owned")),
    "role.reassign_owned",
    *(f"extension.{verb}" for verb in ("create", "alter", "drop")),
    *(f"replication.{what}" for what in ("backup", "slot", "publication")),
    *(f"schema.{verb}.{kind}" for verb in ("create", "alter", "drop") for kind in _KINDS),
    *(f"schema.comment.{kind}" for kind in _KINDS),
    "schema.drop.cascade",
    "catalog.sensitive",
    "txn.prepare",
    "table.truncate_cascade",
    "table.reindex",
    "table.cluster",
)
_FUNCTIONS: Final = ("function.call", "function.call_volatile", "function.call_unknown")
UNKNOWN: Final = "unknown"

READ_EFFECTS: Final = frozenset(EFFECT_LEVELS["read"])
WRITE_EFFECTS: Final = READ_EFFECTS | frozenset(EFFECT_LEVELS["write"])
ADMIN_EFFECTS: Final = WRITE_EFFECTS | frozenset(EFFECT_LEVELS["admin"])
LEVEL_EFFECTS: Final[dict[Level, frozenset[str]]] = {
    "read": READ_EFFECTS,
    "write": WRITE_EFFECTS,
    "admin": ADMIN_EFFECTS,
}
KNOWN_EFFECTS: Final = ADMIN_EFFECTS | frozenset((*_EXPLICIT, *_FUNCTIONS, UNKNOWN))
# Families whose members the analyser may name more finely than the lists above do.
_OPEN_FAMILIES: Final = (
    "schema.create.", "schema.alter.", "schema.drop.", "schema.comment.", "database.", "role.",
    "extension.", "sequence.",
    "replication.", "server.", "egress.",
)  # fmt: skip

# PostgreSQL's own: what is in them is governed by catalog.read and catalog.sensitive.
SYSTEM_SCHEMAS: Final = ("pg_catalog", "information_schema", "pg_toast")
IDENTIFIER_BYTES_MAX: Final = 63

_COLUMN_PART = r'(?:"((?:[^"\0]|"")+)"|([^".\s\0*]+))'
_COLUMN = re.compile(r"\.".join([_COLUMN_PART] * 3))
_EFFECT_PATTERN = re.compile(r"\*|[a-z_]+(?:\.[a-z_]+)*(?:\.\*)?", re.ASCII)


class ColumnName(NamedTuple):
    """A column as policy files write it."""

    schema: str
    table: str
    column: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}.{self.column}"


def parse_column(text: str) -> ColumnName:
    """Return the parts of `schema.table.column`; raises ValueError. Parts may be quoted."""
    match = _COLUMN.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not schema.table.column"
        raise ValueError(msg)
    parts = [
        quoted.replace('""', '"') if quoted is not None else bare
        for quoted, bare in zip(match.groups()[::2], match.groups()[1::2], strict=True)
    ]
    return ColumnName(*parts)


def effect_level(effect: str) -> Level:
    """Return the lowest level whose upstream role can carry out `effect`."""
    if effect in READ_EFFECTS or effect.startswith("session.") or effect == "function.call":
        return "read"
    if effect in WRITE_EFFECTS or effect == "function.call_volatile":
        return "write"
    return "admin"


def highest(levels: Iterable[Level]) -> Level:
    """Return the highest of `levels`; "read" when there is none."""
    return LEVELS[max((LEVELS.index(level) for level in levels), default=0)]


def lowest(first: Level, second: Level) -> Level:
    """Return the lower of two levels."""
    return LEVELS[min(LEVELS.index(first), LEVELS.index(second))]


def effect_matches(pattern: str, effect: str) -> bool:
    """Tell whether `pattern` (an id, `family.*` or `*`) covers `effect`."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return effect.startswith(pattern[:-1])
    return effect == pattern


def check_effect_pattern(pattern: str) -> str:
    """Return `pattern`; raises ValueError when it covers no effect there is."""
    if _EFFECT_PATTERN.fullmatch(pattern):
        if any(effect_matches(pattern, effect) for effect in KNOWN_EFFECTS):
            return pattern
        if pattern.endswith(".*") and pattern.startswith(_OPEN_FAMILIES):
            return pattern
    msg = f"{pattern!r} is no effect and covers none" + nearest(pattern, KNOWN_EFFECTS)
    raise ValueError(msg)


def check_name_pattern(pattern: str) -> str:
    """Return `pattern`, a name in which `*` stands for any characters; raises ValueError."""
    if not pattern or "\0" in pattern or len(pattern.encode()) > IDENTIFIER_BYTES_MAX:
        msg = f"{pattern!r} is not a name of 1 to {IDENTIFIER_BYTES_MAX} bytes"
        raise ValueError(msg)
    if any(mark in pattern for mark in "?[]"):
        msg = f"{pattern!r}: only * is a wildcard"
        raise ValueError(msg)
    return pattern


@lru_cache(maxsize=10_000)
def _pattern_regex(pattern: str) -> re.Pattern[str]:
    pieces = [re.escape(piece) for piece in re.split(r"\*+", pattern)]
    return re.compile(".*".join(pieces), re.DOTALL)


def name_matches(patterns: Iterable[str], name: str) -> bool:
    """Tell whether one of `patterns` covers `name`; case counts, as in the catalog."""
    return any(
        pattern in {"*", name} or _pattern_regex(pattern).fullmatch(name) for pattern in patterns
    )


def nearest(word: str, known: Collection[str]) -> str:
    """Return `; did you mean "x"?` for the closest known word, or nothing."""
    close = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""
