"""Masked JSON: paths hidden or kept, findings replaced, the rest as it was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _fastpath.datarow import CellMask, MaskPlan
from _fastpath.errors import FrameError
from _fastpath.maskjson import JsonPaths, JsonScan
from tests.support.reference import build_row, parse_row

JSON, JSONB = 114, 3802
Paths = list[list[bytes | None]]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ('{"a":{"b":"s","c":1.10}}', '{"a":{"b":"[redacted]","c":1.10}}'),
        ('{"list": [ {"x":1,"y":2}, {"x":[1]} ]}', '{"list": [ {"x":0,"y":2}, {"x":[]} ]}'),
        ('{"p":{"q":1},"z":null}', '{"p":{},"z":null}'),
        ('{"\\u0061":{"b":true}}', '{"\\u0061":{"b":false}}'),
        ('{"a":{"b":null},"a":{"b":"again"}}', '{"a":{"b":null},"a":{"b":"[redacted]"}}'),
        ('{"a":["b"],"b":"b"}', '{"a":["b"],"b":"b"}'),
        ('"x"', '"x"'),
        (" [1e400, 12345678901234567890.10] ", " [1e400, 12345678901234567890.10] "),
    ],
)
def test_paths_hide(document: str, expected: str) -> None:
    masker = JsonPaths([[b"a", b"b"], [b"list", None, b"x"], [b"p"]])
    assert masker.mask_bytes(document.encode()) == expected.encode()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ('{"a":{"b":["s"],"c":1},"d":{"key of d":1}}', '{"a":{"b":["s"],"c":0},"d":{}}'),
        ('{"list":[{"x":"1"},"y",true]}', '{"list":[{"x":"1"},"[redacted]",false]}'),
        ('[{"a":{"b":1}}]', "[{}]"),
        ('"x"', '"[redacted]"'),
        ("null", "null"),
    ],
)
def test_keep_hides_all_else(document: str, expected: str) -> None:
    masker = JsonPaths([[b"a", b"b"], [b"list", None, b"x"]], keep=True)
    assert masker.mask_bytes(document.encode()) == expected.encode()


def test_scan_reads_through_escapes_and_keys() -> None:
    document = (
        '{"m":"a@b.example","n":4111111111111111,"e":"x\\u0040y.example \\"q\\"\\n",'
        '"ssn":"123456789","k@l.example":[1.5,"ok\\u00e9"]}'
    )
    assert JsonScan().mask_bytes(document.encode()) == (
        b'{"m":"[mail]","n":0,"e":"[mail] \\"q\\"\\u000a","ssn":"[ssn]","[mail]":[1.5,"ok\\u00e9"]}'
    )


BAD = [
    b"", b" ", b"{", b'{"a"', b'{"a":}', b"[1", b'"x', b'"\\', b'"\\u12', b'{"a":1}x', b"[1 2]",
    b"{1:2}", b"[" * 600 + b"]" * 600, b"=",
]  # fmt: skip


@pytest.mark.parametrize("document", BAD)
@pytest.mark.parametrize("kind", ["json", "scan"])
def test_what_is_no_json_shows_nothing(document: bytes, kind: str) -> None:
    params = {"keep": ["a"]} if kind == "json" else {}
    plan = MaskPlan([CellMask(kind=kind, type_oid=JSON, params=params)])
    with pytest.raises(FrameError) as caught:
        plan.rewrite_bytes(build_row([document]))
    assert "at offset 0" in str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def hide(value: Any, paths: list[tuple[str | None, ...]]) -> Any:
    """The twin: mask by the parsed document."""
    if any(path == () for path in paths):
        return blank(value)
    if isinstance(value, dict):
        return {
            k: hide(v, [p[1:] for p in paths if p and p[0] in (None, k)]) for k, v in value.items()
        }
    if isinstance(value, list):
        return [hide(v, [p[1:] for p in paths if p and p[0] is None]) for v in value]
    return value


def blank(value: Any) -> Any:
    if isinstance(value, str):
        return "[redacted]"
    if value is None:
        return None
    return type(value)()


@given(values, st.lists(st.lists(st.none() | st.text(max_size=4), min_size=1, max_size=3), min_size=1, max_size=5), st.booleans())  # fmt: skip
def test_agrees_with_the_parsed_document(
    value: Any, paths: list[list[str | None]], ascii_only: bool
) -> None:
    encoded: Paths = [[None if p is None else p.encode() for p in path] for path in paths]
    document = json.dumps(value, ensure_ascii=ascii_only).encode()
    masked = JsonPaths(encoded).mask_bytes(document)
    assert masked is not None
    assert json.loads(masked) == hide(value, [tuple(path) for path in paths])


@given(values)
def test_text_and_binary_agree(value: Any) -> None:
    document = json.dumps(value).encode()
    for kind, params in (("scan", {}), ("json", {"keep": ["a.*"]}), ("json", {"paths": ["*"]})):
        text, binary = (
            parse_row(
                MaskPlan(
                    [CellMask(kind=kind, type_oid=JSONB, params=params, format=form)]
                ).rewrite_bytes(build_row([b"\1" * form + document]))
            )[0]
            for form in (0, 1)
        )
        assert binary == b"\1" + (text or b"")
        json.loads(text or b"")
