"""The hash chain, the Merkle tree and the entry layout of audit segments: pure functions.

What proves the trail lives here, so that it can be read in one sitting and rewritten
independently (`tests/support/tiny_verify.py` does that). The writer appends through a compiled
twin, `_fastpath/trail.pyx`; verifying uses this one, so that neither vouches for itself.
Everything is little-endian except the sequence inside a leaf, which is big-endian like every
hash standard would have it.

    entry = head (32 bytes) | leaf (32 bytes) | payload
    head  = u64 sequence | u32 payload length | u32 entry kind | u64 ring id | u64 ring sequence
    leaf  = SHA-256(0x00 | "postern-audit-v1" | stream | sequence | previous leaf | head | payload)
"""

from __future__ import annotations

import struct
from enum import IntEnum
from hashlib import sha256
from typing import Final

LEAF_TAG: Final = b"\x00postern-audit-v1"
NODE_TAG: Final = b"\x01"
STREAM_SIZE: Final = 16
HASH_SIZE: Final = 32
ZERO_HASH: Final = bytes(HASH_SIZE)
HEAD: Final = struct.Struct("<QIIQQ")
ENTRY_OVERHEAD: Final = HEAD.size + HASH_SIZE
SEQUENCE: Final = struct.Struct(">Q")


class EntryKind(IntEnum):
    """What an entry of a segment is."""

    RECORD = 1  # payload is one audit record, byte for byte as the ring had it
    OPEN = 2  # first entry of a segment: what it continues
    CLOSE = 3  # last entry of a segment: its Merkle root


def leaf_hash(stream: bytes, sequence: int, previous: bytes, head: bytes, payload: bytes) -> bytes:
    """The chain value of one entry, which the next entry takes as `previous`."""
    return sha256(
        b"".join((LEAF_TAG, stream, SEQUENCE.pack(sequence), previous, head, payload))
    ).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """An inner node of the Merkle tree (RFC 6962's shape)."""
    return sha256(NODE_TAG + left + right).digest()


class MerkleTree:
    """The root over a segment's leaves, built as they come.

    RFC 6962, section 2.1: the left part of a node is the largest power of two. Complete
    subtrees are kept, one per size, so memory grows with the logarithm of the count.
    """

    __slots__ = ("_pending", "_subtrees", "count")

    CHUNK = 512  # reduced at once, so that closing a segment does not stall the writer

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._subtrees: list[tuple[int, bytes]] = []
        self.count = 0

    def add_all(self, leaves: list[bytes]) -> None:
        """Append `leaves` in order."""
        self.count += len(leaves)
        pending = self._pending
        pending += leaves
        while len(pending) >= self.CHUNK:
            self._push(self.CHUNK, _reduce(pending[: self.CHUNK]))
            del pending[: self.CHUNK]

    def _push(self, size: int, node: bytes) -> None:
        while self._subtrees and self._subtrees[-1][0] == size:
            node = node_hash(self._subtrees.pop()[1], node)
            size *= 2
        self._subtrees.append((size, node))

    def root(self) -> bytes:
        """The root over everything added so far; SHA-256 of nothing for an empty tree."""
        nodes = [node for _, node in self._subtrees]
        rest, size = self._pending, self.CHUNK
        # What is pending splits into complete subtrees by the bits of its length.
        start = 0
        while start < len(rest):
            while size > len(rest) - start:
                size //= 2
            nodes.append(_reduce(rest[start : start + size]))
            start += size
        if not nodes:
            return sha256(b"").digest()
        root = nodes.pop()
        while nodes:
            root = node_hash(nodes.pop(), root)
        return root


def _reduce(level: list[bytes]) -> bytes:
    """The root of a complete tree over `level`, whose length is a power of two."""
    while len(level) > 1:
        pairs = iter(level)
        level = [
            sha256(NODE_TAG + left + right).digest()
            for left, right in zip(pairs, pairs, strict=True)
        ]
    return level[0]
