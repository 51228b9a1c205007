"""Whether a mask can stand in for a column's values without changing the type on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from _fastpath.datarow import CellMask, MaskPlan, fitting_kinds
from gateway.policy.model import Mask
from gateway.sql.catalog import Catalog, ColumnInfo

# From no information to some. Hash keeps equality, partial keeps characters.
_RANK: Final = ("null", "constant", "redact", "email", "hash", "partial")
_DOMAIN_DEPTH_MAX: Final = 32
# Types of extensions that read and write exactly as text does.
_TEXT_LIKE: Final = ("citext",)


@dataclass(frozen=True, slots=True)
class Fit:
    """The type as the wire shows it, and what is wrong, if anything."""

    type_oid: int
    notnull: bool
    text_like: bool = False
    problem: str = ""


def strictness(mask: Mask) -> tuple[int, int, str]:
    """Sort key: of several masks on one column the smallest wins, whatever the order of rules."""
    shown = mask.with_.keep_first + mask.with_.keep_last
    return _RANK.index(mask.with_.kind), shown, mask.id


def fit_mask(catalog: Catalog, column: ColumnInfo, mask: Mask) -> Fit:
    """Return how `mask` would stand in for `column`, as RowDescription will describe it."""
    type_oid, text_like = wire_type(catalog, column.type_oid)
    kinds = fitting_kinds(type_oid, text_like=text_like)
    kind = mask.with_.kind
    if kind not in kinds:
        name = type_name(catalog, column.type_oid)
        problem = f"mask kind {kind!r} does not fit type {name}; these fit: {', '.join(kinds)}"
        return Fit(type_oid, column.not_null, text_like, problem)
    params = mask.with_.params(mask.id)
    for form in (0, 1):
        cell = CellMask(
            kind=kind,
            type_oid=type_oid,
            params=params,
            format=form,
            notnull=column.not_null,
            key=bytes(32),
            text_like=text_like,
        )
        try:
            MaskPlan([cell])
        except (ValueError, TypeError, OverflowError) as error:
            return Fit(type_oid, column.not_null, text_like, str(error))
    return Fit(type_oid, column.not_null, text_like)


def wire_type(catalog: Catalog, type_oid: int) -> tuple[int, bool]:
    """Return the type OID that RowDescription names (domains give way), and if it is text-like."""
    for _ in range(_DOMAIN_DEPTH_MAX):
        info = catalog.types_by_oid.get(type_oid)
        if info is None:
            return type_oid, False
        if not info.base:
            return type_oid, info.name in _TEXT_LIKE and info.extension == info.name
        type_oid = info.base
    return type_oid, False


def type_name(catalog: Catalog, type_oid: int) -> str:
    """Return the type's name for a message."""
    info = catalog.types_by_oid.get(type_oid)
    return info.name if info is not None else f"with OID {type_oid}"
