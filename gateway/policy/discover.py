"""Which columns look as if they need a mask: judged by what is found in samples of them.

Values come in, only counts go out: nothing here keeps, returns or prints a value. What is
suggested is a start for a person, written as a policy patch that the loader accepts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from _fastpath.scan import FINDINGS, find_all

# A column most of whose values are one finding and nothing else holds just that.
_WHOLE_SHARE: Final = 0.5
# Below this share a finding is more likely a coincidence, unless there are several.
_LEAST_SHARE: Final = 0.001
_LEAST_COUNT: Final = 2
_KINDS: Final[Mapping[str, str]] = {
    "email": "{kind: email}",
    "ssn": "{kind: redact}",
    "card": "{kind: partial, keep_last: 4}",
    "phone": "{kind: partial, keep_last: 2}",
    "iban": "{kind: hash}",
    "jwt": "{kind: redact}",
    "key": "{kind: redact}",
    "ip": "{kind: hash}",
}
_TEXT_ONLY: Final = (
    "{kind: email}",
    "{kind: partial, keep_last: 4}",
    "{kind: partial, keep_last: 2}",
)
_SCANNED: Final = ("text", "character varying", "character", "json", "jsonb", "citext")


@dataclass(slots=True)
class ColumnSample:
    """What was found in the sampled values of one column. Feed it with `add`."""

    schema: str
    table: str
    column: str
    type_name: str
    values: int = 0
    with_finding: Counter[str] = field(default_factory=Counter)  # kind -> values that hold one
    wholly: Counter[str] = field(default_factory=Counter)  # kind -> values that are one

    @property
    def name(self) -> str:
        """The column as a policy names it."""
        return f"{self.schema}.{self.table}.{self.column}"

    def add(self, values: Iterable[str | None]) -> None:
        """Scan values; they are not kept."""
        for value in values:
            if value is None:
                continue
            text = value.strip().encode()
            self.values += 1
            found = find_all(text)
            self.with_finding.update({kind for kind, _, _ in found})
            if len(found) == 1 and found[0][1:] == (0, len(text)):
                self.wholly[found[0][0]] += 1

    def shares(self) -> dict[str, float]:
        """Return the kinds worth a mask, by their share of the values, most frequent first."""
        return {
            kind: count / self.values
            for kind, count in self.with_finding.most_common()
            if count >= _LEAST_COUNT and count / self.values >= _LEAST_SHARE
        }


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A mask for one column, and why."""

    sample: ColumnSample
    tag: str
    mask: str  # what stands behind `with:`
    shares: Mapping[str, float]


def suggest(sample: ColumnSample) -> Suggestion | None:
    """Return the mask that fits what was found, or None when nothing speaks for one."""
    shares = sample.shares()
    if not shares:
        return None
    kind = next(iter(shares))
    is_text = sample.type_name.split("(")[0] in _SCANNED
    if sample.wholly[kind] / sample.values < _WHOLE_SHARE:
        # A number that reads like a card now and then is a number.
        return Suggestion(sample, "pii.free-text", "{kind: scan}", shares) if is_text else None
    mask = _KINDS[kind]
    if sample.type_name in ("json", "jsonb"):
        mask = "{kind: scan}"
    elif not is_text and mask in _TEXT_ONLY:
        mask = "{kind: redact}"
    return Suggestion(sample, f"pii.{kind}", mask, shares)


def build_patch(suggestions: Sequence[Suggestion], target: str, known: Iterable[str] = ()) -> str:
    """Return tags and masks as a policy file. `known` columns have a mask already."""
    left = [s for s in suggestions if s.sample.name not in set(known)]
    groups: dict[tuple[str, str], list[str]] = {}
    for suggestion in left:
        groups.setdefault((suggestion.tag, suggestion.mask), []).append(suggestion.sample.name)
    if not groups:
        return ""
    lines = ["version: 1", "tags:"]
    names: dict[tuple[str, str], str] = {}
    for (tag, mask), columns in groups.items():
        names[tag, mask] = tag if tag not in names.values() else f"{tag}-{len(names)}"
        listed = ", ".join(_quoted(column) for column in columns)
        lines.append(f"  {names[tag, mask]}: [{listed}]")
    lines.append("masks:")
    for (_, mask), name in names.items():
        rule = name.removeprefix("pii.")
        lines.append(
            f"  - {{id: found-{rule}, target: {_quoted(target)}, columns: {{tag: {name}}},"
            f" with: {mask}}}"
        )
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


__all__ = ["FINDINGS", "ColumnSample", "Suggestion", "build_patch", "suggest"]
