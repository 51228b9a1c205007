"""What a masked cell becomes, worked out once per result and never per row.

Every value here exists twice, as PostgreSQL's text and as its binary form, made from the same
Python value: a client that switches formats sees the same thing. A kind that cannot keep the
column's type is refused when the plan is built; nothing is decided while rows flow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from _fastpath import buckets, keyed, maskjson, maskmath, moments, scan
from _fastpath.cellmask import BinaryArray, CallMasker, CellMasker, PlainMasker, TextArray
from _fastpath.maskencode import encode, encode_array
from _fastpath.masktypes import (
    BPCHAR,
    FLOAT4,
    INT_SIZES,
    JSONB,
    NO_DEFAULT,
    NUMERIC_TYPMOD_MIN,
    ColumnType,
    Family,
)

REDACTED = "[redacted]"
# Nothing of the address is kept. A first letter or a top-level domain narrows a small company's
# staff down to one person, and ".com" alone is already a four-character part of the original.
EMAIL_MASKED = "***@***.***"
# As long for every value: the filler must not tell how much it hides.
FILLER = "***"
KEEP_MAX = 64

_NUMBERS = (Family.INT, Family.OID, Family.FLOAT, Family.NUMERIC)
_MOMENTS = (Family.DATE, Family.TIME, Family.TIMESTAMP, Family.TIMESTAMPTZ)
_UNITS = {
    Family.DATE: moments.UNITS[:4],
    Family.TIMESTAMP: moments.UNITS,
    Family.TIMESTAMPTZ: moments.UNITS,
    Family.TIME: moments.UNITS[5:],
}
FLOAT_EXACT = 1 << 24  # below it both widths hold every whole number
# int2 has room for 32,768 hashes only: unlike values would meet within a few hundred rows.
_HASHED_INTS = (20, 23)
_HASHED = (Family.TEXT, Family.UUID, Family.BYTEA, Family.JSON)
# In an array these replace it as a whole: how many elements it had is no one's business.
_WHOLE_ARRAY = ("null", "constant", "redact", "zero", "email")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMask:
    """How to mask one result column: the rule's kind and what RowDescription said of the column.

    `text_like`, `labels` and `element_oid` come from the catalog: see ColumnType.
    """

    kind: str
    type_oid: int
    params: Mapping[str, object] = field(default_factory=dict)
    typmod: int = -1
    format: int = 0
    notnull: bool = False
    key: bytes = b""
    text_like: bool = False
    labels: tuple[str, ...] = ()
    element_oid: int = 0

    @property
    def column(self) -> ColumnType:
        """The column's type."""
        return ColumnType(self.type_oid, self.typmod, self.text_like, self.labels, self.element_oid)


def fitting_kinds(
    type_oid: int, *, text_like: bool = False, labels: tuple[str, ...] = (), element_oid: int = 0
) -> tuple[str, ...]:
    """Name the mask kinds that keep values of this type decodable."""
    column = ColumnType(type_oid, -1, text_like, labels, element_oid)
    return _kinds_of(column.element or column)


def _kinds_of(column: ColumnType) -> tuple[str, ...]:
    family = column.family
    if family is None:
        return ("null",)
    kinds = ["null", "constant", "redact", "zero"]
    if family is Family.TEXT:
        kinds += ["partial", "email"]
    if family in _HASHED or column.oid in _HASHED_INTS:
        kinds.append("hash")
    if family in (Family.TEXT, Family.UUID):
        kinds.append("uuid")
    if family in _NUMBERS:
        kinds.append("bucket")
    if family in _MOMENTS:
        kinds.append("truncate")
    if family is Family.JSON:
        kinds.append("json")
    if family in (Family.TEXT, Family.JSON):
        kinds.append("scan")
    return tuple(kinds)


def mask_fits(kind: str, type_oid: int, *, text_like: bool = False) -> bool:
    """Tell whether `kind` can mask a column of this type without changing the type."""
    return kind in fitting_kinds(type_oid, text_like=text_like)


def build_cell(mask: CellMask) -> CellMasker:
    """Work out one column's mask. Raises ValueError when kind, parameters and type disagree."""
    column = mask.column
    element = column.element
    kinds = _kinds_of(element or column)
    if mask.kind not in kinds:
        raise ValueError(
            f"mask kind {mask.kind!r} does not fit type OID {mask.type_oid}; "
            f"kinds that fit: {', '.join(kinds)}"
        )
    if mask.format not in (0, 1):
        raise ValueError(f"unknown result format {mask.format}")
    if element is None:
        return _BUILDERS[mask.kind](mask)
    if mask.kind in _WHOLE_ARRAY:
        return _build_array(mask)
    inner = build_cell(replace(mask, type_oid=element.oid, element_oid=0))
    return BinaryArray(inner) if mask.format else TextArray(inner)


def _build_array(mask: CellMask) -> CellMasker:
    """Replace the whole array: by the one value that an element would become, or by nothing."""
    element = mask.column.element
    assert element is not None
    value = mask.params.get("value")
    is_null = mask.kind == "null" or (mask.kind == "constant" and value is None)
    if is_null and not mask.notnull:
        return PlainMasker(None)
    values: list[object] = []
    if mask.kind == "constant" and value is not None:
        values = list(value) if isinstance(value, list | tuple) else [value]
    elif mask.kind == "redact":
        values = [element.redacted(REDACTED)]
    elif mask.kind == "email":
        values = [EMAIL_MASKED]
    return PlainMasker(encode_array(mask.column, values)[mask.format])


def _fixed(mask: CellMask, value: object) -> CellMasker:
    return PlainMasker(encode(mask.column, value)[mask.format])


def _build_null(mask: CellMask) -> CellMasker:
    """NULL, or the type's default where the column is declared NOT NULL and the type is known."""
    default = mask.column.default()
    if not mask.notnull or default is NO_DEFAULT:
        return PlainMasker(None)
    return _fixed(mask, default)


def _build_constant(mask: CellMask) -> CellMasker:
    if "value" not in mask.params:
        raise ValueError("mask kind 'constant' needs a value")
    value = mask.params["value"]
    if value is None and mask.column.family is not Family.JSON:
        return _build_null(mask)
    return _fixed(mask, value)


def _build_redact(mask: CellMask) -> CellMasker:
    return _fixed(mask, mask.column.redacted(REDACTED))


def _build_zero(mask: CellMask) -> CellMasker:
    return _fixed(mask, mask.column.zero())


def _build_email(mask: CellMask) -> CellMasker:
    return _fixed(mask, EMAIL_MASKED)


def _build_partial(mask: CellMask) -> CellMasker:
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
    return PlainMasker(
        encode(mask.column, filler)[mask.format],
        is_partial=True,
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


def _build_hash(mask: CellMask) -> CellMasker:
    family, is_binary = mask.column.family, mask.format == 1
    if family is Family.INT:
        return keyed.KeyedInt(mask.key, INT_SIZES[mask.type_oid], is_binary=is_binary)
    if family is Family.UUID:
        return keyed.KeyedUuid(mask.key, is_binary=is_binary)
    if family is Family.BYTEA:
        return keyed.KeyedBytea(mask.key, is_binary=is_binary)
    if family is Family.JSON:
        is_versioned = is_binary and mask.type_oid == JSONB
        return keyed.KeyedJson(mask.key, is_versioned=is_versioned)
    return _keyed_text(mask, as_uuid=False)


def _build_uuid(mask: CellMask) -> CellMasker:
    if mask.column.family is Family.UUID:
        return keyed.KeyedUuid(mask.key, is_binary=mask.format == 1)
    return _keyed_text(mask, as_uuid=True)


def _keyed_text(mask: CellMask, *, as_uuid: bool) -> CellMasker:
    return keyed.KeyedText(
        mask.key,
        chars_max=mask.column.chars_max,
        pad_chars=mask.column.pad_chars,
        strip_blanks=mask.type_oid == BPCHAR,
        as_uuid=as_uuid,
    )


def _build_bucket(mask: CellMask) -> CellMasker:
    column, is_binary = mask.column, mask.format == 1
    step = maskmath.bucket_step(column, mask.params.get("size"))
    exact = maskmath.build_bucket(column, step, is_binary=is_binary)
    if column.family in (Family.INT, Family.OID):
        return buckets.IntBucket(
            int(step),
            INT_SIZES.get(column.oid, 4),
            is_binary=is_binary,
            is_unsigned=column.family is Family.OID,
        )
    if column.family is Family.FLOAT and step == step.to_integral_value() and step < FLOAT_EXACT:
        width = 4 if column.oid == FLOAT4 else 8
        return buckets.FloatBucket(int(step), width, exact, is_binary=is_binary)
    if column.family is Family.NUMERIC and (fast := _numeric_bucket(column, step)) is not None:
        return buckets.NumericBucket(*fast, exact, is_binary=is_binary)
    return CallMasker(exact)


def _numeric_bucket(column: ColumnType, step: Decimal) -> tuple[int, int, int, int] | None:
    """Return step, its scale, the scale shown and the lowest bound, where all fit 64 bits."""
    exponent = step.as_tuple().exponent
    assert isinstance(exponent, int)
    step_scale = max(0, -exponent)
    scale = column.numeric_scale if column.typmod >= NUMERIC_TYPMOD_MIN else step_scale
    units = int(step.scaleb(step_scale))
    if not step_scale <= scale <= buckets.FRACTION_MAX or units > buckets.STEP_MAX:
        return None
    lowest = maskmath.lowest_of(column)
    bound = 0 if lowest is None else int(lowest.scaleb(scale))
    return units, step_scale, scale, (bound if -bound < buckets.STEP_MAX else 0)


def _build_truncate(mask: CellMask) -> CellMasker:
    column, unit = mask.column, mask.params.get("to")
    assert column.family is not None
    units = _UNITS[column.family]
    if unit not in units:
        raise ValueError(f"mask kind 'truncate' takes to, one of {', '.join(units)}")
    is_binary = mask.format == 1
    # DateStyle is the client's own: another order of day and month is not guessed at.
    zero = encode(column, column.zero())[mask.format]
    return moments.Truncate(column.family.value, str(unit), zero, is_binary=is_binary)


def _build_json(mask: CellMask) -> CellMasker:
    is_versioned = mask.format == 1 and mask.type_oid == JSONB
    paths, shown = mask.params.get("paths"), mask.params.get("keep")
    if (paths is None) == (shown is None):
        raise ValueError("mask kind 'json' needs either paths or keep")
    return maskjson.JsonPaths(
        _paths(paths if shown is None else shown), keep=shown is not None, is_versioned=is_versioned
    )


def _paths(value: object) -> list[list[bytes | None]]:
    """Read paths as "a.b.*": the keys as bytes, None for any key or element."""
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("mask kind 'json' needs a list of paths")
    found: list[list[bytes | None]] = []
    for path in value:
        if not isinstance(path, str) or not all(path.split(".")):
            raise ValueError(f"{path!r} is no path; write keys with dots, * for any")
        found.append([None if part == "*" else part.encode() for part in path.split(".")])
    return found


def _build_scan(mask: CellMask) -> CellMasker:
    if mask.column.family is Family.JSON:
        return maskjson.JsonScan(is_versioned=mask.format == 1 and mask.type_oid == JSONB)
    return scan.TextScan(pad_chars=mask.column.pad_chars)


_BUILDERS: dict[str, Callable[[CellMask], CellMasker]] = {
    "null": _build_null,
    "constant": _build_constant,
    "redact": _build_redact,
    "zero": _build_zero,
    "partial": _build_partial,
    "email": _build_email,
    "hash": _build_hash,
    "uuid": _build_uuid,
    "bucket": _build_bucket,
    "truncate": _build_truncate,
    "json": _build_json,
    "scan": _build_scan,
}
