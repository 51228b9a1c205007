"""Which columns masks were bound to, kept beyond the life of a process.

A mask follows its column through renames because somebody remembers the column's OID and number.
This is that memory: read before a bundle is bound to a database, written after. It is good for
the very database it was written for and for no other: OIDs of a restored copy are other columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from gateway.sql.facts import ColumnRef


@dataclass(frozen=True, slots=True)
class KeptMask:
    """The columns of one mask as its policy named them, and what they were."""

    names: tuple[str, ...]
    columns: frozenset[ColumnRef]


@dataclass(frozen=True, slots=True)
class Kept:
    """The bindings of one target. `database` empty: known to no server, so never written."""

    database: str = ""
    masks: Mapping[str, KeptMask] = field(default_factory=dict)

    def columns(self, mask_id: str, names: tuple[str, ...], database: str) -> frozenset[ColumnRef]:
        """Return what the mask was bound to if it still names the same columns there."""
        mask = self.masks.get(mask_id)
        if mask is None or mask.names != names or self.database != database:
            return frozenset()
        return mask.columns


def to_json(kept: Mapping[str, Kept]) -> bytes:
    """Return the bindings of all targets for a file."""
    return orjson.dumps(
        {
            target: {
                "database": one.database,
                "masks": {
                    name: {"names": mask.names, "columns": sorted(map(list, mask.columns))}
                    for name, mask in one.masks.items()
                },
            }
            for target, one in kept.items()
            if one.database
        },
        option=orjson.OPT_SORT_KEYS,
    )


def from_json(data: bytes) -> dict[str, Kept]:
    """Rebuild what `to_json` gave; what cannot be read is nothing kept.

    Forgetting is safe: a mask whose column was renamed away then blocks its table.
    """
    try:
        return {
            target: Kept(
                str(one["database"]),
                {
                    name: KeptMask(
                        tuple(map(str, mask["names"])),
                        frozenset(ColumnRef(int(oid), int(n)) for oid, n in mask["columns"]),
                    )
                    for name, mask in one["masks"].items()
                },
            )
            for target, one in orjson.loads(data).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def read_kept(path: Path) -> dict[str, Kept]:
    """Return what an earlier life bound, nothing where there is none."""
    try:
        return from_json(path.read_bytes())
    except OSError:
        return {}
