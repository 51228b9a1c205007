"""What stored views read, by our own analysis of their definitions, checked by the server's.

pg_depend records every column a view's rule mentions; it does not say which output column it
flows into. Our walk says both. Where the walk misses anything that pg_depend lists, or fails,
each column of the view counts as depending on all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.errors import ClientError
from gateway.sql.catalog import Catalog, ViewInfo
from gateway.sql.effects import Walk
from gateway.sql.facts import ColumnRef, Verdict
from gateway.sql.parse import parse
from gateway.sql.values import Column


class ViewSource(NamedTuple):
    """A view's definition and what its rule reads (attnum 0: the relation as a whole)."""

    oid: int
    definition: str
    reads: frozenset[ColumnRef]


def read_views(catalog: Catalog, sources: Sequence[ViewSource]) -> dict[int, ViewInfo]:
    """Return what each view's columns depend on."""
    return {source.oid: _read_view(catalog, source) for source in sources}


def _read_view(catalog: Catalog, source: ViewSource) -> ViewInfo:
    reads = _expand(catalog, source.reads)
    relation = catalog.by_oid.get(source.oid)
    attnums = [column.attnum for column in relation.columns] if relation is not None else []
    found = _walk(catalog, source.definition)
    if found is not None and len(found[0]) == len(attnums):
        columns, touched = found
        if {ref for ref in reads if ref.attnum > 0} <= touched:
            known: dict[int, tuple[Verdict, frozenset[ColumnRef]]] = {}
            for attnum, (_, value) in zip(attnums, columns, strict=True):
                verdict: Verdict = "direct" if value.direct else "derived"
                known[attnum] = (verdict if value.refs else "clear", value.refs)
            return ViewInfo(known, touched)
    return ViewInfo(dict.fromkeys(attnums, ("unknown", reads)), reads)


def _expand(catalog: Catalog, reads: frozenset[ColumnRef]) -> frozenset[ColumnRef]:
    """Replace whole-relation references by all columns where no column is named."""
    stored = [
        ref
        for ref in reads
        if (relation := catalog.by_oid.get(ref.relation_oid)) is None
        or relation.ref.kind != "composite"  # a type's fields hold no rows
    ]
    named = {ref.relation_oid for ref in stored if ref.attnum > 0}
    expanded = {ref for ref in stored if ref.attnum > 0}
    for ref in stored:
        relation = catalog.by_oid.get(ref.relation_oid)
        if ref.attnum == 0 and ref.relation_oid not in named and relation is not None:
            expanded.update(ColumnRef(relation.oid, c.attnum) for c in relation.columns)
    return frozenset(expanded)


def _walk(
    catalog: Catalog, definition: str
) -> tuple[tuple[Column, ...], frozenset[ColumnRef]] | None:
    # Late: `query` needs `catalog`, and `catalog_load` needs this.
    from gateway.sql import invocations, modify, sqljson  # noqa: F401, PLC0415
    from gateway.sql.query import columns_of  # noqa: PLC0415
    from gateway.sql.scope import Scope  # noqa: PLC0415

    try:
        (node,) = parse(definition.encode())
        # pg_get_viewdef qualified every name: it ran with pg_catalog as the whole path.
        walk = Walk(catalog, catalog.effective_path(()))
        columns = columns_of(walk, Scope(), node)
    except (ClientError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return columns, frozenset(walk.reads)
