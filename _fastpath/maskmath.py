"""Numbers by bucket, in exact decimal arithmetic: a float would round text and binary unlike.

`buckets` does what fits into 64 bits, by the same rule; what is here takes every number there is.
"""

from __future__ import annotations

import decimal
import struct
from collections.abc import Callable
from decimal import Decimal

from _fastpath.maskencode import encode, shortest_float
from _fastpath.masktypes import INT_SIZES, ColumnType, Family

Call = Callable[[bytes], bytes]

_CONTEXT = decimal.Context(prec=2000, rounding=decimal.ROUND_FLOOR)


def bucket_step(column: ColumnType, size: object) -> Decimal:
    """Return the size of a bucket. Raises ValueError for one that cannot be."""
    if isinstance(size, bool) or not isinstance(size, int | float | str):
        raise ValueError("mask kind 'bucket' needs size, a number above 0")
    try:
        step = Decimal(str(size))
    except decimal.InvalidOperation as problem:
        raise ValueError("mask kind 'bucket' needs size, a number above 0") from problem
    if not step.is_finite() or not 0 < step < Decimal(10) ** 30 or step.adjusted() < -30:
        raise ValueError("mask kind 'bucket' needs size, a number above 0 and below 1e30")
    if column.family in (Family.INT, Family.OID) and step != step.to_integral_value():
        raise ValueError("a bucket of whole numbers has a whole size")
    return step


def build_bucket(column: ColumnType, step: Decimal, *, is_binary: bool) -> Call:
    """Return what shows the lower bound of a number's bucket."""
    read = {
        Family.INT: _read_int,
        Family.OID: _read_int,
        Family.FLOAT: _read_float,
        Family.NUMERIC: _read_numeric,
    }
    assert column.family is not None
    reader = read[column.family]
    lowest = lowest_of(column)

    def bucket(cell: bytes) -> bytes:
        value = reader(cell, column, is_binary)
        if value is None:
            return cell  # NaN and the infinities are buckets of their own
        count = value // step
        if count * step > value:  # // rounds towards zero
            count -= 1
        found = count * step
        if lowest is not None and found < lowest:
            found = lowest
        shown: object = found
        if column.family is Family.FLOAT:
            shown = float(found)
        elif column.family is not Family.NUMERIC:
            shown = int(found)
        return encode(column, shown)[is_binary]

    return lambda cell: _in_context(bucket, cell)


def _in_context(call: Callable[[bytes], bytes], cell: bytes) -> bytes:
    with decimal.localcontext(_CONTEXT):
        return call(cell)


def lowest_of(column: ColumnType) -> Decimal | None:
    """Return the least value of the type: the lowest bucket may begin below it."""
    if column.family is Family.INT:
        return Decimal(-(1 << (INT_SIZES[column.oid] * 8 - 1)))
    if column.family is Family.NUMERIC and column.typmod >= 4:
        precision = (column.typmod - 4) >> 16
        scale = column.numeric_scale
        return -(Decimal(10) ** precision - 1).scaleb(-scale)
    return None


def _read_int(cell: bytes, column: ColumnType, is_binary: bool) -> Decimal:
    if not is_binary:
        return Decimal(int(cell))
    if len(cell) != INT_SIZES.get(column.oid, 4):
        raise ValueError("integer of wrong size")
    return Decimal(int.from_bytes(cell, "big", signed=column.family is Family.INT))


def _read_float(cell: bytes, column: ColumnType, is_binary: bool) -> Decimal | None:
    code = ">f" if column.oid == 700 else ">d"
    try:
        (value,) = struct.unpack(code, cell if is_binary else struct.pack(code, float(cell)))
    except struct.error as problem:
        raise ValueError("float of wrong size") from problem
    number = Decimal(shortest_float(value, code))
    return number if number.is_finite() else None


def _read_numeric(cell: bytes, _column: ColumnType, is_binary: bool) -> Decimal | None:
    if not is_binary:
        number = Decimal(cell.decode("ascii"))
        return number if number.is_finite() else None
    if len(cell) < 8:
        raise ValueError("numeric cut short")
    count, weight, sign, _scale = struct.unpack_from(">HhHH", cell)
    if sign & 0xC000 == 0xC000:
        return None
    if len(cell) != 8 + 2 * count:
        raise ValueError("numeric of wrong size")
    number = Decimal(0)
    for place, digit in enumerate(struct.unpack_from(f">{count}H", cell, 8)):
        number += Decimal(digit).scaleb(4 * (weight - place))
    return -number if sign == 0x4000 else number
