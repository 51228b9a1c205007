"""What the outcome of a write tells by itself: constraints compare, and their errors answer.

A foreign key says whether a value is in another table, a unique index whether two rows agree, a
check what it was written to check. Columns that are compared count as used. A foreign key may also
act: rows that a cascade deletes or changes are effects like those the statement names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from gateway.sql.catalog import Relation, Tie
from gateway.sql.effects import Walk, refuse
from gateway.sql.facts import ColumnRef

_PLACE: Final = "constraint"
_CASCADE: Final = "c"
_ACTS: Final = frozenset("cnd")


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
                if tie.kind == "referenced" and tie.on_update in _ACTS:
                    _change(walk, tie)


def deleted(walk: Walk, relation: Relation) -> None:
    """Note what deleting rows compares, and what it deletes or changes elsewhere."""
    view = walk.catalog.views.get(relation.oid)
    below = {ref.relation_oid for ref in view.reads} if view is not None else set()
    queue = [relation.oid, *relation.children, *below]
    seen = set(queue)
    while queue:
        for tie in walk.catalog.ties.get(queue.pop(), ()):
            if tie.kind != "referenced":
                continue
            walk.use(tie.shows, _PLACE)
            if tie.on_delete == _CASCADE:
                for child in _relations(walk, tie):
                    walk.effect("rows.delete", child.ref)
                    if child.oid not in seen:
                        seen.add(child.oid)
                        queue.append(child.oid)
            elif tie.on_delete in _ACTS:
                _change(walk, tie)


def _change(walk: Walk, tie: Tie) -> None:
    for child in _relations(walk, tie):
        names = [walk.catalog.column_name(ref) for ref in sorted(tie.shows)]
        walk.effect("rows.update", child.ref, names)


def _relations(walk: Walk, tie: Tie) -> list[Relation]:
    """Return the relation that refers; one that is not in the snapshot cannot be judged."""
    found = [walk.catalog.by_oid.get(oid) for oid in {ref.relation_oid for ref in tie.shows}]
    known = [relation for relation in found if relation is not None]
    if len(known) != len(found):
        refuse("a foreign key acts on a table that is not in the catalog snapshot")
    return known


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
