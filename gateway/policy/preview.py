"""What a mask makes of a value: an example for people, made from the type and never from data."""

from __future__ import annotations

from typing import Final

from _fastpath.datarow import CellMask, MaskPlan
from _fastpath.maskencode import encode, encode_array
from _fastpath.masktypes import ColumnType, Family
from gateway.policy.profile import MaskSpec

# Of the kind "hash" and "uuid" the example shows the form; the key is not this one.
_KEY: Final = bytes(32)
_HEADER: Final = 7  # DataRow up to the first cell
_SAMPLES: Final[dict[Family, object]] = {
    Family.TEXT: "Ada Example",
    Family.CHAR: "A",
    Family.INT: 4217,
    Family.OID: 4217,
    Family.FLOAT: 4217.25,
    Family.NUMERIC: "42.17",
    Family.BOOL: True,
    Family.UUID: "8c5e3c0e-6c3f-4f0a-9c55-0d7f0a3b1c2d",
    Family.DATE: "1984-05-17",
    Family.TIME: "13:45:59",
    Family.TIMETZ: "13:45:59",
    Family.TIMESTAMP: "1984-05-17 13:45:59",
    Family.TIMESTAMPTZ: "1984-05-17 13:45:59+00",
    Family.INTERVAL: "3 days 04:05:06",
    Family.JSON: {"name": "Ada Example", "mail": "ada@shop.example", "visits": 42},
    Family.BYTEA: b"\x01\x02\x03\x04",
    Family.INET: "192.0.2.17",
    Family.CIDR: "192.0.2.0/24",
    Family.MACADDR: "02:00:5e:10:00:01",
}
_BY_KIND: Final = {
    "email": "ada@shop.example",
    "scan": "Ada, ada@shop.example, +1 212 555 0123",
    "partial": "0123456789",
}


def preview(spec: MaskSpec) -> tuple[str, str] | None:
    """Return a made value and what the mask shows of it, None for a type that is not known."""
    column = ColumnType(spec.type_oid, spec.typmod, spec.text_like, spec.labels, spec.element_oid)
    one = column.element or column
    if one.family is None:
        return ("...", "NULL") if spec.kind == "null" else None
    value = one.labels[-1] if one.family is Family.ENUM else _SAMPLES[one.family]
    if one.family is Family.TEXT:
        value = _BY_KIND.get(spec.kind, value)
    try:
        sample = (
            encode_array(column, [value, value]) if column.element else encode(column, value)
        )[0]
        shown = _mask(spec, sample)
    except ValueError:
        # A made number that is too large for a narrow numeric; there is nothing to show then.
        return None
    return sample.decode(errors="replace").rstrip(), shown


def _mask(spec: MaskSpec, sample: bytes) -> str:
    plan = MaskPlan(
        [
            CellMask(
                kind=spec.kind,
                type_oid=spec.type_oid,
                params=dict(spec.params),
                typmod=spec.typmod,
                notnull=spec.notnull,
                key=_KEY,
                text_like=spec.text_like,
                labels=spec.labels,
                element_oid=spec.element_oid,
            )
        ]
    )
    body = b"\0\1" + len(sample).to_bytes(4, "big") + sample
    row = plan.rewrite_bytes(b"D" + (len(body) + 4).to_bytes(4, "big") + body)
    if row[_HEADER : _HEADER + 4] == b"\xff\xff\xff\xff":
        return "NULL"
    return row[_HEADER + 4 :].decode(errors="replace").rstrip()
