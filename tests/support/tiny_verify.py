"""A second verifier of the audit trail, written from docs/audit.md and not from the product.

Slow and small on purpose: it answers only "clean or not, and why first". Imports nothing of
the gateway. `python tests/support/tiny_verify.py DATA_DIR [PUBLIC_KEY.pem]`.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from pathlib import Path

import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key


def read_segment(path: Path) -> bytes:
    """The plain bytes of a segment. Raises ValueError when a packed one is not as written."""
    data = path.read_bytes()
    if path.suffix != ".zst":
        return data
    frames = int.from_bytes(data[-9:-5], "little")
    table = len(data) - 9 - 8 * frames - 8
    proof = hashlib.sha256(data[: max(table - 40, 0)] + data[max(table, 0) :]).digest()
    if table < 40 or data[table - 40 : table] != struct.pack("<II", 0x184D2A50, 32) + proof:
        raise ValueError("packed file")
    parts = []
    while len(data) > 0 and data[:4] != b"\x50\x2a\x4d\x18":
        part = zstandard.ZstdDecompressor().decompressobj()
        parts.append(part.decompress(data))
        data = part.unused_data
    return b"".join(parts)


def merkle(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, by its own recursive definition."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + merkle(leaves[:split]) + merkle(leaves[split:])).digest()


def read_checkpoints(path: Path, key: Ed25519PublicKey) -> dict[int, str]:
    """Sequence to leaf of every checkpoint. Raises ValueError at the first that is wrong."""
    signed: dict[int, str] = {}
    previous = ""
    content = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        body, _, signature = line.rpartition(b" ")
        try:
            key.verify(bytes.fromhex(signature.decode()), b"postern-audit-checkpoint-v1\n" + body)
        except InvalidSignature as error:
            raise ValueError(f"checkpoint {number}: bad signature") from error
        fields = json.loads(body)
        if fields["previous"] != previous or fields["number"] != number:
            raise ValueError(f"checkpoint {number}: does not follow the one before")
        previous = hashlib.sha256(line + b"\n").hexdigest()
        signed[fields["sequence"]] = fields["leaf"]
    return signed


def read_purged(path: Path, key: Ed25519PublicKey) -> dict[int, dict[str, str]]:
    """Proofs of deleted segments by first sequence. Raises InvalidSignature."""
    purged: dict[int, dict[str, str]] = {}
    for line in path.read_bytes().splitlines() if path.exists() else []:
        body, _, signature = line.rpartition(b" ")
        key.verify(bytes.fromhex(signature.decode()), b"postern-audit-purge-v1\n" + body)
        purged[json.loads(body)["first_sequence"]] = json.loads(body)
    return purged


def tiny_verify(data_dir: Path, public_key: Path | None = None) -> str:
    """Return "" for a clean trail, else the first thing that is wrong."""
    audit = data_dir / "audit"
    key = load_pem_public_key((public_key or audit / "signing.pub").read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        return "the key is not Ed25519"
    try:
        signed = read_checkpoints(audit / "checkpoints.log", key)
    except (ValueError, KeyError) as error:
        return f"checkpoints: {error}"
    try:
        purged = read_purged(audit / "purged.log", key)
    except InvalidSignature:
        return "purged.log: bad signature"
    sequence, leaf, stream = 0, bytes(32), b""
    files = sorted((audit / "segments").glob("*.seg*"))
    for path in files:
        first = int(path.name.partition(".")[0])
        try:
            data = read_segment(path)
        except (ValueError, zstandard.ZstdError):
            return f"{path.name}: cannot be unpacked"
        while first != sequence + 1 and sequence + 1 in purged:
            proof = purged[sequence + 1]
            signed = {at: leaf for at, leaf in signed.items() if at > int(proof["last_sequence"])}
            sequence, leaf = int(proof["last_sequence"]), bytes.fromhex(proof["leaf"])
        if data[:8] != b"PSTNSEG1" or int.from_bytes(data[24:32], "little") != sequence + 1:
            return f"{path.name}: header"
        stream = stream or data[8:24]
        if data[8:24] != stream or first != sequence + 1:
            return f"{path.name}: stream or name"
        position, closed = 32, False
        leaves: list[bytes] = []
        while position < len(data):
            head, stored = data[position : position + 32], data[position + 32 : position + 64]
            if len(stored) < 32 or closed:
                return f"{path.name}: bytes at {position}"
            number, length, kind, _, _ = struct.unpack("<QIIQQ", head)
            payload = data[position + 64 : position + 64 + length]
            sequence += 1
            text = b"\0postern-audit-v1" + stream + struct.pack(">Q", sequence) + leaf + head
            leaf = hashlib.sha256(text + payload).digest()
            if number != sequence or len(payload) != length or leaf != stored:
                return f"{path.name}: sequence {sequence}"
            if signed.pop(sequence, leaf.hex()) != leaf.hex():
                return f"{path.name}: sequence {sequence} differs from its checkpoint"
            if (kind == 2) != (not leaves):
                return f"{path.name}: opening entry"
            if kind == 3:
                closed = True
                if json.loads(payload)["root"] != merkle(leaves).hex():
                    return f"{path.name}: Merkle root"
            leaves.append(leaf)
            position += 64 + length
        if not closed and path != files[-1]:
            return f"{path.name}: not closed"
    return f"sequence {max(signed)} was signed and is missing" if signed else ""


if __name__ == "__main__":
    answer = tiny_verify(*map(Path, sys.argv[1:3]))
    sys.stdout.write((answer or "clean") + "\n")
    raise SystemExit(1 if answer else 0)
