"""What a masked cell becomes, worked out once per result and never per row.

Every value here exists twice, as PostgreSQL's text and as its binary form, made from the same
Python value: a client that switches formats sees the same thing. A kind that cannot keep the
column's type is refused when the plan is built; nothing is decided while rows flow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from _fastpath import maskhash
from _fastpath.masktypes import BPCHAR, NO_DEFAULT, ColumnType, Family, encode

ACTION_FIXED = 1
ACTION_PARTIAL = 2
ACTION_HASH = 3

REDACTED = "[redacted]"
# Nothing of the address is kept. A first letter or a top-level domain narrows a small company's
# staff down to one person, and ".com" alone is already a four-character part of the original.
EMAIL_MASKED = "***@***.***"
# As long for every value: the filler must not tell how much it hides.
FILLER = "***"
KEEP_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMask:
    """How to mask one result column: the rule's kind and what RowDescription said of the column."""

    kind: str
    type_oid: int
    params: Mapping[str, object] = field(default_factory=dict)
    typmod: int = -1
    format: int = 0
    notnull: bool = False
    key: bytes = b""
    text_like: bool = False  # see ColumnType

    @property
    def column(self) -> ColumnType:
        """The column's type."""
        return ColumnType(self.type_oid, self.typmod, self.text_like)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltCell:
    """A mask ready for the row loop. `fixed` is the replacement, None the SQL NULL."""

    action: int
    fixed: bytes | None = None
    keep_first: int = 0
    keep_last: int = 0
    filler: bytes = b""
    pad_chars: int = 0
    strip_blanks: bool = False
    hasher: maskhash.Hasher | None = None


def fitting_kinds(type_oid: int, *, text_like: bool = False) -> tuple[str, ...]:
    """Name the mask kinds that keep values of this type decodable."""
    column = ColumnType(type_oid, text_like=text_like)
    if column.family is None:
        return ("null",)
    kinds = ["null", "constant", "redact"]
    if column.family is Family.TEXT:
        kinds += ["partial", "email"]
    if maskhash.fits(column):
        kinds.append("hash")
    return tuple(kinds)


def mask_fits(kind: str, type_oid: int, *, text_like: bool = False) -> bool:
    """Tell whether `kind` can mask a column of this type without changing the type."""
    return kind in fitting_kinds(type_oid, text_like=text_like)


def build_cell(mask: CellMask) -> BuiltCell:
    """Work out one column's mask. Raises ValueError when kind, parameters and type disagree."""
    kinds = fitting_kinds(mask.type_oid, text_like=mask.text_like)
    if mask.kind not in kinds:
        raise ValueError(
            f"mask kind {mask.kind!r} does not fit type OID {mask.type_oid}; "
            f"kinds that fit: {', '.join(kinds)}"
        )
    if mask.format not in (0, 1):
        raise ValueError(f"unknown result format {mask.format}")
    return _BUILDERS[mask.kind](mask)


def _fixed(mask: CellMask, value: object) -> BuiltCell:
    text, binary = encode(mask.column, value)
    return BuiltCell(action=ACTION_FIXED, fixed=binary if mask.format else text)


def _build_null(mask: CellMask) -> BuiltCell:
    """NULL, or the type's default where the column is declared NOT NULL and the type is known."""
    default = mask.column.default()
    if not mask.notnull or default is NO_DEFAULT:
        return BuiltCell(action=ACTION_FIXED, fixed=None)
    return _fixed(mask, default)


def _build_constant(mask: CellMask) -> BuiltCell:
    if "value" not in mask.params:
        raise ValueError("mask kind 'constant' needs a value")
    value = mask.params["value"]
    if value is None and mask.column.family is not Family.JSON:
        return _build_null(mask)
    return _fixed(mask, value)


def _build_redact(mask: CellMask) -> BuiltCell:
    return _fixed(mask, mask.column.zero(REDACTED))


def _build_email(mask: CellMask) -> BuiltCell:
    return _fixed(mask, EMAIL_MASKED)


def _build_partial(mask: CellMask) -> BuiltCell:
    """Keep the ends of a value, but never more characters than are hidden.

    A value shorter than twice what would be kept is masked wholly, so `keep_last: 4` cannot show
    most of a five-character value.
    """
    keep_first = _keep(mask, "keep_first")
    keep_last = _keep(mask, "keep_last")
    kept = keep_first + keep_last
    chars_max = mask.column.chars_max
    if chars_max is not None and chars_max < 2 * kept:
        return _fixed(mask, FILLER)
    filler = FILLER if chars_max is None else FILLER[: max(1, chars_max - kept)]
    return BuiltCell(
        action=ACTION_PARTIAL,
        fixed=_fixed(mask, filler).fixed,
        keep_first=keep_first,
        keep_last=keep_last,
        filler=filler.encode(),
        pad_chars=mask.column.pad_chars,
        strip_blanks=mask.type_oid == BPCHAR,
    )


def _keep(mask: CellMask, name: str) -> int:
    value = mask.params.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= KEEP_MAX:
        raise ValueError(f"{name} must be a whole number from 0 to {KEEP_MAX}")
    return value


def _build_hash(mask: CellMask) -> BuiltCell:
    hasher = maskhash.build_hasher(mask.key, mask.column, is_binary=mask.format == 1)
    return BuiltCell(action=ACTION_HASH, hasher=hasher)


_BUILDERS: dict[str, Callable[[CellMask], BuiltCell]] = {
    "null": _build_null,
    "constant": _build_constant,
    "redact": _build_redact,
    "partial": _build_partial,
    "email": _build_email,
    "hash": _build_hash,
}
