"""Which columns a set of masks hides, and how each is to be shown.

A mask written for one column holds for every column that shows it: children and partitions,
views, generated columns. Where the value passes unchanged the mask is applied, where it is made
into something else the column is blocked, and so is all of a table that lost a column a mask
names: the column that was renamed away is one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.policy.maskfit import Fit, fit_mask, strictness
from gateway.policy.model import Mask
from gateway.policy.profile import MaskSpec
from gateway.policy.rights import MaskedColumn
from gateway.sql.catalog import Catalog
from gateway.sql.facts import ColumnRef


@dataclass(frozen=True, slots=True)
class Exposure:
    """A column that shows what masked columns hold: itself, or through a view or a child."""

    column: ColumnRef
    sources: frozenset[ColumnRef]
    direct: bool


@dataclass(slots=True)
class Bindings:
    """What the masks of a bundle name in one database, by identity and not by name."""

    columns: dict[str, frozenset[ColumnRef]]  # mask id -> columns
    sealed: dict[str, frozenset[int]]  # mask id -> tables that lost a column it names

    def exposed_from(self, catalog: Catalog) -> frozenset[ColumnRef]:
        """Return every column that must not be shown as it is, sealed tables' columns included."""
        sealed = frozenset[int]().union(*self.sealed.values())
        columns = frozenset[ColumnRef]().union(*self.columns.values())
        return columns | frozenset(ref for oid in sealed for ref in columns_of(catalog, oid))


_EQUALITY: Final = frozenset({"equality"})
_PREDICATE: Final = _EQUALITY | {"where", "join"}
_DERIVED: Final = frozenset(
    "expression aggregate window group order distinct returning function".split()
)
_PREDICATES: Final = {"deny": frozenset[str](), "equality": _EQUALITY, "allow": _PREDICATE}


def allowed_uses(masks: Iterable[Mask]) -> frozenset[str]:
    """Return the places where all of `masks` let their columns be used."""
    return frozenset.intersection(
        *(
            _PREDICATES[mask.on_predicate]
            | (_DERIVED if mask.on_derived == "allow" else frozenset())
            for mask in masks
        )
    )


def columns_of(catalog: Catalog, oid: int) -> list[ColumnRef]:
    """Return all columns of a relation."""
    return [ColumnRef(oid, column.attnum) for column in catalog.by_oid[oid].columns]


def find_exposures(catalog: Catalog, bound: frozenset[ColumnRef]) -> tuple[Exposure, ...]:
    """Return every column of the database that shows one of `bound`."""
    if not bound:
        return ()
    found: list[Exposure] = []
    generated = {ref.relation_oid for ref in catalog.generated}
    masked_tables = {ref.relation_oid for ref in bound}
    for relation in catalog.by_oid.values():
        shows_others = (
            relation.oid in catalog.views
            or relation.oid in generated
            or relation.parents
            or relation.children
        )
        # Most tables of a large database show nothing but themselves.
        if not shows_others and relation.oid not in masked_tables:
            continue
        for column in relation.columns:
            ref = ColumnRef(relation.oid, column.attnum)
            verdict, sources = catalog.exposes(*ref)
            if masked := (sources | {ref}) & bound:
                found.append(Exposure(ref, masked, verdict == "direct"))
    return tuple(found)


class Masking:
    """Works out one set of active masks: a spec per column, the strictest mask wins."""

    def __init__(self, catalog: Catalog, bindings: Bindings, active: Iterable[Mask]) -> None:
        self._catalog = catalog
        self._by_column: dict[ColumnRef, list[Mask]] = {}
        self._sealed: dict[ColumnRef, str] = {}
        for mask in active:
            for ref in bindings.columns.get(mask.id, ()):
                self._by_column.setdefault(ref, []).append(mask)
            for oid in bindings.sealed.get(mask.id, ()):
                self._sealed.update(dict.fromkeys(columns_of(catalog, oid), mask.id))
        self._specs: dict[tuple[object, ...], int] = {}
        self._list: list[MaskSpec] = []

    def build(
        self, exposures: Iterable[Exposure]
    ) -> tuple[dict[ColumnRef, MaskedColumn], tuple[MaskSpec, ...]]:
        """Return every masked column and the specs they point into."""
        masked: dict[ColumnRef, MaskedColumn] = {}
        for exposure in exposures:
            if (column := self._masked(exposure)) is not None:
                masked[exposure.column] = column
        return masked, tuple(self._list)

    def _masked(self, exposure: Exposure) -> MaskedColumn | None:
        sealed = [self._sealed[ref] for ref in exposure.sources if ref in self._sealed]
        if sealed:
            mask_id = min(sealed)
            return MaskedColumn(self._block(mask_id), mask_id, blocked=True)
        own = self._by_column.get(exposure.column, [])
        if own and not exposure.direct:
            # Its author masked the derived column itself: that mask says how to show it.
            return self._column(exposure.column, own, direct=True)
        found = [mask for ref in exposure.sources for mask in self._by_column.get(ref, ())]
        if not found:
            return None
        return self._column(exposure.column, found, direct=exposure.direct)

    def _column(self, ref: ColumnRef, masks: list[Mask], *, direct: bool) -> MaskedColumn:
        mask = min(masks, key=strictness)
        fit = fit_column(self._catalog, ref, mask)
        if not direct or fit.problem:
            return MaskedColumn(self._block(mask.id), mask.id, blocked=True)
        params = mask.with_.params(mask.id)
        spec = MaskSpec(
            mask.id,
            mask.with_.kind,
            params,
            fit.wire.type_oid,
            fit.notnull,
            fit.wire.text_like,
            fit.wire.labels,
            fit.wire.element_oid,
            fit.typmod,
        )
        return MaskedColumn(self._index(spec), mask.id, uses=allowed_uses(masks))

    def _block(self, mask_id: str) -> int:
        # Never applied, only pointed at: the decision refuses every statement that would.
        return self._index(MaskSpec(mask_id, "null", {}, 0, False))

    def _index(self, spec: MaskSpec) -> int:
        key = (spec.id, spec.kind, spec.type_oid, spec.notnull, spec.labels, spec.typmod)
        if key not in self._specs:
            self._specs[key] = len(self._list)
            self._list.append(spec)
        return self._specs[key]


def fit_column(catalog: Catalog, ref: ColumnRef, mask: Mask) -> Fit:
    """Return how `mask` would stand in for the column."""
    columns = catalog.by_oid[ref.relation_oid].columns
    return fit_mask(catalog, next(c for c in columns if c.attnum == ref.attnum), mask)


def names_by_relation(
    catalog: Catalog, masked: Mapping[ColumnRef, MaskedColumn]
) -> dict[int, dict[str, str]]:
    """Return relation OID -> names of its masked columns -> mask id."""
    names: dict[int, dict[str, str]] = {}
    for ref, column in masked.items():
        names.setdefault(ref.relation_oid, {})[catalog.column_name(ref)] = column.mask_id
    return names
