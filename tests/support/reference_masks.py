"""Masks of single values, spelled out from the documentation: the oracle of the compiled ones.

Fixed values come from `maskencode`, which a driver's own decoders judge.
"""

from __future__ import annotations

import re

from _fastpath.maskcells import EMAIL_MASKED, FILLER, REDACTED, CellMask
from _fastpath.maskencode import encode, encode_array
from _fastpath.masktypes import BPCHAR, NO_DEFAULT, ColumnType
from tests.support.reference_hash import build_hasher, build_uuid_hasher

# UTF-8 by its bit patterns. That is enough to count: bytes of other encodings fail it.
_CHAR = (
    rb"(?:[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})"
)


def mask_cell(mask: CellMask, cell: bytes) -> bytes | None:
    """Return what a value that is not NULL becomes."""
    column = mask.column
    if mask.kind in ("null", "constant", "redact", "zero", "email"):
        return _fixed(mask, column)
    if mask.kind == "partial":
        return _partial(mask, cell)
    is_binary = mask.format == 1
    build = build_uuid_hasher if mask.kind == "uuid" else build_hasher
    return build(mask.key, column, is_binary=is_binary)(cell)


def _fixed(mask: CellMask, column: ColumnType) -> bytes | None:
    if mask.kind == "null" or (mask.kind == "constant" and mask.params["value"] is None):
        default = column.default()
        if column.element is not None:
            return encode_array(column, [])[mask.format] if mask.notnull else None
        if not mask.notnull or default is NO_DEFAULT:
            return None
        return encode(column, default)[mask.format]
    one = column.element or column
    value = {
        "constant": mask.params.get("value"),
        "redact": one.redacted(REDACTED),
        "zero": one.zero(),
        "email": EMAIL_MASKED,
    }[mask.kind]
    if column.element is not None:
        return encode_array(column, [] if mask.kind == "zero" else [value])[mask.format]
    return encode(column, value)[mask.format]


def _partial(mask: CellMask, cell: bytes) -> bytes:
    first, last = (int(str(mask.params.get(name, 0))) for name in ("keep_first", "keep_last"))
    column = mask.column
    width, kept = column.chars_max, first + last
    filler = FILLER.encode() if width is None else FILLER[: max(1, width - kept)].encode()
    whole = encode(column, FILLER if width is not None and width < 2 * kept else filler.decode())
    if width is not None and width < 2 * kept:
        return whole[mask.format]
    if mask.type_oid == BPCHAR:
        cell = cell.rstrip(b" ")
    chars = re.compile(b"(?:%b){%d}" % (_CHAR, 2 * kept)).match(cell)
    head = re.compile(b"(?:%b){%d}" % (_CHAR, first)).match(cell)
    # A character begins where it begins, read from either end: the shortest tail is the only one.
    ends = re.compile(b"(?:%b){%d}" % (_CHAR, last))
    tails = (cell[len(cell) - size :] for size in range(min(4 * last, len(cell)) + 1))
    tail = next(filter(ends.fullmatch, tails), None)
    if chars is None or head is None or tail is None:
        return whole[mask.format]
    return head[0] + filler + tail + b" " * (column.pad_chars - kept - len(filler))
