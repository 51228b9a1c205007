"""What the outcome of a write tells by itself: constraints compare, and their errors answer.

A foreign key says whether a value is in another table, a unique index whether two rows agree, a
check what it was written to check. Columns that are compared count as used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from gateway.sql.catalog import Relation
from gateway.sql.effects import Walk
from gateway.sql.facts import ColumnRef

_PLACE = "constraint"


def inserted(walk: Walk, relation: Relation, names: Iterable[str]) -> None:
    """Note what inserting `names` compares. A new row's own columns are the writer's already."""
    for oid, attnums in _written(walk, relation, names).items():
        for tie in walk.catalog.ties.get(oid, ()):
            if tie.kind == "foreign_key" and tie.attnums & attnums:
                walk.use(tie.shows, _PLACE)


def updated(walk: Walk, relation: Relation, names: Iterable[str]) -> None:
    """Note what updating `names` compares: the other columns of the row are there already."""
    for oid, attnums in _written(walk, relation, names).items():
        own = {ColumnRef(oid, attnum) for attnum in attnums}
        for tie in walk.catalog.ties.get(oid, ()):
            if tie.attnums & attnums:
                walk.use(tie.shows - own, _PLACE)


def deleted(walk: Walk, relation: Relation) -> None:
    """Note what deleting rows compares: the columns that refer to them."""
    view = walk.catalog.views.get(relation.oid)
    below = {ref.relation_oid for ref in view.reads} if view is not None else set()
    for oid in {relation.oid, *relation.children, *below}:
        for tie in walk.catalog.ties.get(oid, ()):
            if tie.kind == "referenced":
                walk.use(tie.shows, _PLACE)


def _written(walk: Walk, relation: Relation, names: Iterable[str]) -> dict[int, set[int]]:
    """Return relation -> attribute numbers that change, below views and in children as well."""
    found: dict[int, set[int]] = defaultdict(set)
    for name in names:
        for ref in walk.catalog.lineage(relation.oid, relation.by_name[name].attnum):
            found[ref.relation_oid].add(ref.attnum)
    for made, sources in walk.catalog.generated.items():
        if any(ref.attnum in found.get(ref.relation_oid, ()) for ref in sources):
            found[made.relation_oid].add(made.attnum)
    return found
