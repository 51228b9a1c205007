"""What one principal holds on one target: level, masks and the key decisions are cached under.

Two principals with equal rights get equal keys, so that a thousand agents share one cache. The
key covers everything a decision depends on besides the statement: the rules that apply, the
level, the target, the policy digest and the catalog version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from gateway.policy.bounds import Bounds

Level = Literal["read", "write", "admin"]
LEVELS: tuple[Level, ...] = ("read", "write", "admin")


@dataclass(frozen=True, slots=True)
class MaskSpec:
    """One mask as the row rewriter needs it: the kind, its parameters and the column's type."""

    id: str
    kind: str
    params: Mapping[str, Any]
    type_oid: int
    notnull: bool
    text_like: bool = False  # an extension's type that reads and writes as text, such as citext
    labels: tuple[str, ...] = ()  # of an enum, or of the elements of an array of one
    element_oid: int = 0  # of an array's elements
    typmod: int = -1  # RowDescription's own goes before it; COPY has none

    def to_wire(self) -> dict[str, Any]:
        """Return a plain dict for the channel between processes."""
        return {
            "id": self.id,
            "kind": self.kind,
            "params": dict(self.params),
            "type_oid": self.type_oid,
            "notnull": self.notnull,
            "text_like": self.text_like,
            "labels": list(self.labels),
            "element_oid": self.element_oid,
            "typmod": self.typmod,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> MaskSpec:
        """Rebuild what `to_wire` gave."""
        return cls(
            id=wire["id"],
            kind=wire["kind"],
            params=wire["params"],
            type_oid=wire["type_oid"],
            notnull=wire["notnull"],
            text_like=wire["text_like"],
            labels=tuple(wire["labels"]),
            element_oid=wire["element_oid"],
            typmod=wire["typmod"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The rights of one principal on one target.

    `masked` maps (table oid, attribute number) to an index into `masks`. It holds every column
    that shows a masked one, children, partitions and views included: a RowDescription that
    names one of them at a position the decision calls clear proves a bug. `relations` are the
    table oids the catalog knows, where anything is masked: a result that names another one is
    of a table that nobody has judged.
    """

    key: str
    target: str
    level: Level
    masks: tuple[MaskSpec, ...] = ()
    masked: Mapping[tuple[int, int], int] = field(default_factory=dict)
    filter_errors: bool = False
    policy_digest: str = ""
    catalog_version: str = ""
    relations: frozenset[int] = frozenset()
    bounds: Bounds = field(default_factory=Bounds)
    redact_params: bool = False

    def to_wire(self) -> dict[str, Any]:
        """Return a plain dict for the channel between processes."""
        return {
            "key": self.key,
            "target": self.target,
            "level": self.level,
            "masks": [mask.to_wire() for mask in self.masks],
            "masked": [[oid, attnum, index] for (oid, attnum), index in self.masked.items()],
            "filter_errors": self.filter_errors,
            "policy_digest": self.policy_digest,
            "catalog_version": self.catalog_version,
            "relations": list(self.relations),
            "bounds": self.bounds.to_wire(),
            "redact_params": self.redact_params,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Profile:
        """Rebuild what `to_wire` gave; raises KeyError when a field is missing."""
        return cls(
            key=wire["key"],
            target=wire["target"],
            level=cast("Level", wire["level"]),
            masks=tuple(MaskSpec.from_wire(mask) for mask in wire["masks"]),
            masked={(oid, attnum): index for oid, attnum, index in wire["masked"]},
            filter_errors=wire["filter_errors"],
            policy_digest=wire["policy_digest"],
            catalog_version=wire["catalog_version"],
            relations=frozenset(wire["relations"]),
            bounds=Bounds.from_wire(wire["bounds"]),
            redact_params=wire["redact_params"],
        )
