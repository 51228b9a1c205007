"""Records, the term scanner, chain vectors, and docs/audit.md as their description."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from _fastpath.terms import TermScanner
from gateway.audit.chain import MerkleTree, leaf_hash
from gateway.audit.index import TERM_KEYS
from gateway.audit.journal import Recorder
from gateway.audit.records import build_record, describe_kinds, find_unknown
from gateway.errors import AuditUnwritable
from tests.support.tiny_verify import merkle
from tests.support.trail import intent, open_ring

ROOT = Path(__file__).parents[3]


def test_the_page_lists_every_kind_and_field() -> None:
    """Goal: docs/audit.md is the schema. To renew its table: print describe_kinds()."""
    assert describe_kinds() in (ROOT / "docs" / "audit.md").read_text()


def test_unknown_kinds_and_fields_are_found_and_still_recorded() -> None:
    record = orjson.loads(build_record("process.started", {"pid": 1, "pidd": 2}))
    assert record["pidd"] == 2
    assert find_unknown(record) == ["pidd"]
    assert find_unknown(orjson.loads(build_record("process.startd", {}))) == ["kind process.startd"]
    assert find_unknown(orjson.loads(intent(1))) == []


def test_a_full_journal_refuses(tmp_path: Path) -> None:
    ring = open_ring(tmp_path, size=1)
    while ring.append(b"x" * 900):
        pass
    with pytest.raises(AuditUnwritable) as caught:
        Recorder(ring).record("process.started", text="x" * 1_000)
    assert caught.value.sqlstate == "58030"
    assert caught.value.text().startswith("PN701")


def test_leaf_vector() -> None:
    """A golden vector, computed by hand from docs/audit.md."""
    head = bytes(range(32))
    text = b"\0postern-audit-v1" + b"S" * 16 + (5).to_bytes(8, "big") + b"P" * 32 + head + b"{}"
    leaf = leaf_hash(b"S" * 16, 5, b"P" * 32, head, b"{}")
    assert leaf == hashlib.sha256(text).digest()
    assert leaf.hex() == "74519798e1f0e31675396a9063989d2abd78f600dd67aa1aa472ae551dc4eb17"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 511, 512, 513, 1_024, 1_700])
def test_merkle_root_is_the_recursive_definition_however_it_grew(count: int) -> None:
    leaves = [hashlib.sha256(b"%d" % n).digest() for n in range(count)]
    for step in (1, 3, 600):
        tree = MerkleTree()
        for start in range(0, count, step):
            tree.add_all(leaves[start : start + step])
        assert tree.root() == merkle(leaves)
        assert tree.count == count


def reference_terms(value: Any, key: str | None = None) -> set[str]:
    """What the scanner must find, by parsing."""
    if isinstance(value, dict):
        return {
            t for k, v in value.items() for t in reference_terms(v, k if k in TERM_KEYS else None)
        }
    if isinstance(value, list):
        return {term for inner in value for term in reference_terms(inner, key)}
    if isinstance(value, str) and key is not None:
        raw = orjson.dumps(value)[1:-1]
        is_entered = b"\\" not in raw and len(raw) <= 200
        return {f"{key}={value}" if is_entered else f"{key}="}
    return set()


def random_value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(7 if depth < 4 else 4)
    if kind == 0:
        return rng.choice([1, -2.5, True, None])
    if kind < 4:
        pool = [
            "",
            "sales.orders",
            'quo"te',
            "back\\slash",
            "line\n",
            "\u20ac",
            "{[,:]}",
            "x" * 300,
        ]
        return rng.choice(pool)
    if kind == 4:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    keys = [*TERM_KEYS[:6], "sql", "text", 'k"ey', "objects"]
    return {rng.choice(keys): random_value(rng, depth + 1) for _ in range(rng.randrange(6))}


def test_the_scanner_finds_what_a_parser_finds() -> None:
    """Goal: no term is hidden from the index. Method: random records against a real parser."""
    rng, scanner = random.Random(3), TermScanner(TERM_KEYS)
    for _ in range(2_000):
        value = {"kind": "x", "a": random_value(rng), "principal": random_value(rng)}
        assert scanner.scan_one(orjson.dumps(value))
        terms, _, _ = scanner.take()
        assert {term.decode() for term in terms} == reference_terms(value)


def test_the_scanner_takes_nothing_that_is_no_object() -> None:
    scanner = TermScanner(TERM_KEYS)
    sound = orjson.dumps({"kind": "x", "objects": ["a", {"b": [1, "c\\"]}], "time": 5})
    assert scanner.scan_one(sound)
    for cut in range(len(sound)):
        assert not scanner.scan_one(sound[:cut])
    for bad in (b"[]", b'"x"', b"{]", b'{"a":[}', b'{"a":1}}', b'{"a":1} ', b"{" * 40):
        assert not scanner.scan_one(bad)


def test_the_scanner_keeps_times_and_says_when_it_was_too_much() -> None:
    scanner = TermScanner(("objects",), 8)
    batch = [(n, orjson.dumps({"time": 100 + n, "objects": [f"t{n}"]})) for n in range(20)]
    assert all(scanner.scan_one(payload) for _, payload in batch)
    assert scanner.is_full()
    terms, first, last = scanner.take()
    assert (first, last) == (100, 119)
    assert terms[-1] == b"*"
    assert len(terms) == 9
