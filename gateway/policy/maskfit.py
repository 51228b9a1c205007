"""Whether a mask can stand in for a column's values without changing the type on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from _fastpath.datarow import CellMask, MaskPlan, fitting_kinds
from gateway.policy.model import Mask
from gateway.sql.catalog import Catalog, ColumnInfo, TypeInfo

# From no information to some. Hash and uuid keep equality, the rest keeps part of the value.
_RANK: Final = (
    "null", "constant", "zero", "redact", "email", "uuid", "hash", "truncate", "bucket", "partial",
    "json", "scan",
)  # fmt: skip
_DOMAIN_DEPTH_MAX: Final = 32
# Types of extensions that read and write exactly as text does.
_TEXT_LIKE: Final = ("citext",)


@dataclass(frozen=True, slots=True)
class WireType:
    """A type as RowDescription names it, with what a mask has to know besides."""

    type_oid: int
    text_like: bool = False
    labels: tuple[str, ...] = ()
    element_oid: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """The column as the wire shows it, and what is wrong with the mask, if anything."""

    wire: WireType
    notnull: bool
    typmod: int = -1
    problem: str = ""


def strictness(mask: Mask) -> tuple[int, int, str]:
    """Sort key: of several masks on one column the smallest wins, whatever the order of rules."""
    shown = mask.with_.keep_first + mask.with_.keep_last
    return _RANK.index(mask.with_.kind), shown, mask.id


def fit_mask(catalog: Catalog, column: ColumnInfo, mask: Mask) -> Fit:
    """Return how `mask` would stand in for `column`, as RowDescription will describe it."""
    wire = wire_type(catalog, column.type_oid)
    kinds = fitting_kinds(
        wire.type_oid,
        text_like=wire.text_like,
        labels=wire.labels,
        element_oid=wire.element_oid,
    )
    kind = mask.with_.kind
    if kind not in kinds:
        name = type_name(catalog, column.type_oid)
        problem = f"mask kind {kind!r} does not fit type {name}; these fit: {', '.join(kinds)}"
        return Fit(wire, column.not_null, column.typmod, problem)
    params = mask.with_.params(mask.id)
    for form in (0, 1):
        cell = CellMask(
            kind=kind,
            type_oid=wire.type_oid,
            params=params,
            typmod=column.typmod,
            format=form,
            notnull=column.not_null,
            key=bytes(32),
            text_like=wire.text_like,
            labels=wire.labels,
            element_oid=wire.element_oid,
        )
        try:
            MaskPlan([cell])
        except (ValueError, TypeError, OverflowError) as error:
            return Fit(wire, column.not_null, column.typmod, str(error))
    return Fit(wire, column.not_null, column.typmod)


def wire_type(catalog: Catalog, type_oid: int) -> WireType:
    """Return the type that RowDescription names: domains give way, arrays know their elements."""
    for _ in range(_DOMAIN_DEPTH_MAX):
        info = catalog.types_by_oid.get(type_oid)
        if info is None:
            break
        element = catalog.types_by_oid.get(info.element)
        # Some fixed-size types name an element too; only an array's own name begins so.
        if element is not None and info.kind == "b" and info.name.startswith("_"):
            return WireType(type_oid, _is_text_like(element), element.labels, element.oid)
        if not info.base:
            return WireType(type_oid, _is_text_like(info), info.labels)
        type_oid = info.base
    return WireType(type_oid)


def _is_text_like(info: TypeInfo) -> bool:
    return info.name in _TEXT_LIKE and info.extension == info.name


def type_name(catalog: Catalog, type_oid: int) -> str:
    """Return the type's name for a message."""
    info = catalog.types_by_oid.get(type_oid)
    return info.name if info is not None else f"with OID {type_oid}"
