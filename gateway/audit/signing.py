"""Signed checkpoints: what makes the chain's end a statement by this gateway's key.

The key is made at first start and never leaves the data directory; its public half is written
beside it for whoever verifies elsewhere. A checkpoint is one line, `<JSON body> <signature>`,
and names the one before it, so that dropping one is seen too.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_TAG: Final = b"postern-audit-checkpoint-v1\n"


def key_id(public: Ed25519PublicKey) -> str:
    """A short name of a public key: 16 hex digits of its SHA-256."""
    return sha256(public.public_bytes_raw()).hexdigest()[:16]


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Read a PEM public key. Raises OSError, ValueError when it is not Ed25519."""
    key = serialization.load_pem_public_key(path.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{path} is not an Ed25519 public key")
    return key


def load_or_make_key(directory: Path) -> Ed25519PrivateKey:
    """The signing key of `directory`, made at first use with mode 0600.

    Raises OSError, ValueError when a key is there but cannot be used: a second key would make
    every earlier checkpoint one of an unknown signer.
    """
    path = directory / "signing.key"
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{path} is not an Ed25519 key")
    else:
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_file(path, pem, mode=0o600)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    exported = directory / "signing.pub"
    if not exported.exists():
        write_file(exported, public, mode=0o644)
    return key


def write_file(path: Path, content: bytes, *, mode: int) -> None:
    """Write `content` so that after a crash the file is whole or absent."""
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.write(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.rename(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make names created or renamed in `directory` survive a power loss."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The chain's end at one moment: everything up to `sequence` hashes to `leaf`."""

    number: int
    stream: str
    sequence: int
    leaf: str
    time: int
    key: str
    previous: str  # SHA-256 of the line before, empty for the first
    root: str = ""  # of the segment just closed, when the checkpoint follows a close

    def body(self) -> bytes:
        """The JSON text that is signed."""
        fields: dict[str, Any] = {
            "v": 1,
            "number": self.number,
            "stream": self.stream,
            "sequence": self.sequence,
            "leaf": self.leaf,
            "time": self.time,
            "key": self.key,
            "previous": self.previous,
            "root": self.root,
        }
        return orjson.dumps(fields)


def sign_line(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> bytes:
    """The line of `checkpoint` as it stands in the checkpoint file, newline included."""
    body = checkpoint.body()
    return body + b" " + key.sign(SIGNATURE_TAG + body).hex().encode() + b"\n"


def append_line(path: Path, line: bytes) -> None:
    """Append a checkpoint and make it durable, or leave the file as it was. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        try:
            if os.write(fd, line) != len(line):
                raise OSError(errno.ENOSPC, "checkpoint not written whole")
            os.fdatasync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)


def parse_line(line: bytes) -> tuple[Checkpoint, bytes, bytes]:
    """(checkpoint, signed body, signature) of one line. Raises ValueError."""
    body, separator, signature = line.rstrip(b"\n").rpartition(b" ")
    if not separator:
        raise ValueError("not a checkpoint line")
    fields = orjson.loads(body)
    if not isinstance(fields, dict) or fields.pop("v", None) != 1:
        raise ValueError("not a version 1 checkpoint")
    try:
        checkpoint = Checkpoint(**fields)
    except TypeError as error:
        raise ValueError(f"checkpoint fields: {error}") from error
    for name in ("number", "sequence", "time"):
        if type(getattr(checkpoint, name)) is not int:
            raise ValueError(f"checkpoint field {name} is not a number")
    return checkpoint, body, bytes.fromhex(signature.decode("ascii"))


def is_signed_by(public: Ed25519PublicKey, body: bytes, signature: bytes) -> bool:
    """Whether `signature` over a checkpoint body was made with the key of `public`."""
    try:
        public.verify(signature, SIGNATURE_TAG + body)
    except InvalidSignature:
        return False
    return True


def read_lines(path: Path) -> list[bytes]:
    """The complete lines of a checkpoint file; a torn last line is not one."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = content.split(b"\n")[:-1]
    return [line + b"\n" for line in lines]


def line_digest(line: bytes) -> str:
    """What the next checkpoint names as `previous`."""
    return sha256(line).hexdigest()
