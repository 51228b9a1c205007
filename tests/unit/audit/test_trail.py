"""The compiled end of the trail against `gateway/audit/chain.py` and hashlib."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from _fastpath.journal import JournalReader, RingDamaged
from _fastpath.openset import OpenStatements
from _fastpath.terms import TermScanner
from _fastpath.trail import Trail, sha256
from gateway.audit.chain import HEAD, ZERO_HASH, EntryKind, MerkleTree, leaf_hash
from gateway.audit.segments import check_leaf, read_entries
from tests.support.trail import intent, open_ring, ring_path

STREAM = bytes(range(16))


@pytest.mark.parametrize("portable", [False, True])
def test_sha256_is_hashlibs(portable: bool) -> None:
    """Goal: both paths are SHA-256. Method: every length around the block edges, and long ones."""
    rng = random.Random(5)
    for size in [*range(260), 1_000, 4_095, 70_001]:
        data = rng.randbytes(size)
        assert sha256(data, portable=portable) == hashlib.sha256(data).digest(), size


def test_the_tree_is_the_reference_tree() -> None:
    """Goal: the same root for every count. Method: grow both, compare at each step."""
    rng, leaves = random.Random(6), []
    for count in range(1, 130):
        leaves.append(rng.randbytes(32))
        trail, tree = Trail(STREAM, 1, ZERO_HASH), MerkleTree()
        trail.add_leaves(leaves)
        tree.add_all(leaves)
        assert trail.root() == tree.root(), count
        assert trail.count == count
    with pytest.raises(ValueError, match="no root"):
        Trail(STREAM, 1, ZERO_HASH).root()


def test_a_run_becomes_the_entries_of_the_reference(tmp_path: Path) -> None:
    ring = open_ring(tmp_path)
    payloads = [intent(number, sql="x" * (number * 7)) for number in range(60)]
    payloads[20:20] = [b"", b"no object"]
    assert all(map(ring.append, payloads))
    reader = JournalReader(str(ring_path(tmp_path)))
    assert reader.scan(1 << 20) == 62
    trail = Trail(STREAM, 5, ZERO_HASH)
    scanner, opened = TermScanner(("objects",)), OpenStatements()
    content, malformed = trail.stage_run(reader, scanner, opened)
    entries = list(read_entries(bytes(content)))
    assert [entry.payload for entry in entries] == payloads
    assert malformed == [20, 21]
    assert len(opened) == 60
    assert opened.items()[0] == (b"w0-1", 0, ring.ring_id, 1)
    assert scanner.take()[0] == [b"objects=sales.orders"]
    previous = ZERO_HASH
    for number, entry in enumerate(entries):
        head = (5 + number, EntryKind.RECORD, ring.ring_id, 1 + number)
        assert (entry.sequence, entry.kind, entry.ring_id, entry.ring_sequence) == head
        assert check_leaf(STREAM, previous, entry)
        previous = entry.leaf
    assert (trail.sequence_next, trail.count) == (5, 0)  # nothing counts before it is written
    trail.accept()
    assert (trail.sequence_next, trail.count, trail.leaf) == (67, 62, previous)


def test_what_is_not_accepted_leaves_no_trace() -> None:
    trail = Trail(STREAM, 1, ZERO_HASH)
    trail.stage(b"failed write", EntryKind.RECORD)
    content = bytes(trail.stage(b"{}", EntryKind.OPEN))
    trail.accept()
    head = HEAD.pack(1, 2, EntryKind.OPEN, 0, 0)
    leaf = leaf_hash(STREAM, 1, ZERO_HASH, head, b"{}")
    assert content == head + leaf + b"{}"
    assert (trail.sequence_next, trail.leaf, trail.root()) == (2, leaf, leaf)


def test_a_record_made_longer_after_its_check_is_not_followed(tmp_path: Path) -> None:
    """Goal: a producer gone bad cannot make the writer read past the run. Method: be one."""
    ring = open_ring(tmp_path)
    assert ring.append(b"{}")
    reader = JournalReader(str(ring_path(tmp_path)))
    assert reader.scan(1 << 20) == 1
    with ring_path(tmp_path).open("r+b") as file:
        file.seek(65_536)
        file.write((1 << 20).to_bytes(4, "little"))
    with pytest.raises(RingDamaged):
        Trail(STREAM, 1, ZERO_HASH).stage_run(reader, TermScanner(("objects",)), OpenStatements())
