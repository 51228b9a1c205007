"""Examples for people: every kind has one on a type it fits, none tells of data."""

from __future__ import annotations

import pytest

from _fastpath.maskcells import fitting_kinds
from gateway.policy.preview import preview
from gateway.policy.profile import MaskSpec

PARAMS: dict[str, dict[str, object]] = {
    "constant": {"value": "true"},
    "partial": {"keep_last": 4},
    "bucket": {"size": 10},
    "truncate": {"to": "year"},
    "json": {"paths": ["mail"]},
}


def spec(kind: str, type_oid: int, **facts: object) -> MaskSpec:
    params = PARAMS.get(kind, {})
    return MaskSpec("m", kind, params, type_oid, notnull=False, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "type_oid", "sample", "shown"),
    [
        ("email", 25, "ada@shop.example", "***@***.***"),
        ("partial", 1043, "0123456789", "***6789"),
        ("bucket", 23, "4217", "4210"),
        ("truncate", 1082, "1984-05-17", "1984-01-01"),
        ("zero", 1700, "42.17", "0"),
        ("null", 25, "Ada Example", "NULL"),
        ("redact", 1009, '{"Ada Example","Ada Example"}', "{[redacted]}"),
        (
            "json",
            3802,
            '{"name": "Ada Example", "mail": "ada@shop.example", "visits": 42}',
            '{"name": "Ada Example", "mail": "[redacted]", "visits": 42}',
        ),
        ("scan", 25, "Ada, ada@shop.example, +1 212 555 0123", "Ada, [mail], [phone]"),
        ("null", 99999, "...", "NULL"),
    ],
)
def test_example(kind: str, type_oid: int, sample: str, shown: str) -> None:
    assert preview(spec(kind, type_oid)) == (sample, shown)


@pytest.mark.parametrize("type_oid", [16, 17, 20, 21, 23, 25, 26, 114, 700, 829, 869, 1042, 1083, 1186, 1266, 1700, 2950, 3802, 1015])  # fmt: skip
def test_every_kind_that_fits_has_one(type_oid: int) -> None:
    for kind in fitting_kinds(type_oid):
        if kind != "constant":
            found = spec(kind, type_oid)
            if kind == "truncate" and type_oid == 1083:
                found = MaskSpec("m", kind, {"to": "hour"}, type_oid, notnull=False)
            assert preview(found) is not None, kind


def test_enum_and_narrow_number() -> None:
    assert preview(spec("redact", 90001, labels=("low", "high"))) == ("high", "low")
    narrow = spec("zero", 1700, typmod=(2 << 16 | 2) + 4)
    assert preview(narrow) is None
