"""Closed segments in zstd: smaller on the disk, readable in the middle, and not one byte loose.

    packed = frame ... | skippable frame (SHA-256 of the frames and the table) | table

Every frame holds the same count of plain bytes, so a search decompresses only what it reads; the
table is that of zstd's seekable format, and `zstd -d` makes the plain segment of it. The digest
covers what decompressing does not look at. The chain is over the plain bytes and knows nothing
of packing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import zstandard

from gateway.audit.signing import sync_directory

FRAME_BYTES: Final = 512 << 10  # of the plain file
SUFFIX: Final = ".zst"
_LEVEL: Final = 1  # what higher ones save on the disk is less than their CPU per statement
_SKIP: Final = struct.Struct("<II")  # magic, size
_PROOF_MAGIC: Final = 0x184D2A50
_TABLE_MAGIC: Final = 0x184D2A5E
_ROW: Final = struct.Struct("<II")  # packed and plain size of a frame
_FOOT: Final = struct.Struct("<IBI")  # frames, flags, magic
_FOOT_MAGIC: Final = 0x8F92EAB1
_PROOF_SIZE: Final = _SKIP.size + 32


class _Frame(NamedTuple):
    start: int  # in the packed file
    size: int
    plain_start: int
    plain_size: int


def pack_file(path: Path) -> Path:
    """Replace a closed segment by its packed form, which has been read back; where that is.

    A crash leaves the plain file, both, or the packed one, and both say the same. Raises OSError,
    ValueError when what was written does not read back.
    """
    target = path.with_name(path.name + SUFFIX)
    temporary = target.with_name(target.name + ".new")
    packed = sha256()
    rows: list[bytes] = []
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with path.open("rb") as source, os.fdopen(fd, "wb") as out:
            press = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
            while piece := source.read(FRAME_BYTES):
                frame = press.compress(piece)
                packed.update(frame)
                rows.append(_ROW.pack(len(frame), len(piece)))
                out.write(frame)
            body = b"".join(rows) + _FOOT.pack(len(rows), 0, _FOOT_MAGIC)
            table = _SKIP.pack(_TABLE_MAGIC, len(body)) + body
            packed.update(table)
            out.write(_SKIP.pack(_PROOF_MAGIC, 32) + packed.digest() + table)
            out.flush()
            os.fsync(out.fileno())
        if not _reads_back(temporary, path):
            raise ValueError(f"{target.name} does not read back as it was")
        temporary.rename(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    path.unlink()
    return target


def _reads_back(packed: Path, plain: Path) -> bool:
    """Whether both files say the same, byte by byte: cheaper than two digests of it."""
    with plain.open("rb") as source:
        for piece in _pieces(packed, check=True):
            if source.read(len(piece)) != piece:
                return False
        return not source.read(1)


def read_packed(path: Path, *, check: bool = False) -> bytes:
    """The plain bytes; with `check` the digest too is held against the file. Raises ValueError."""
    return b"".join(_pieces(path, check=check))


def read_packed_span(path: Path, start: int, finish: int | None) -> bytes:
    """Plain bytes from `start` to `finish` or the end. Raises OSError, ValueError."""
    parts: list[bytes] = []
    first: int | None = None
    with path.open("rb") as file:
        for frame in _read_table(file.fileno()):
            stop = frame.plain_start + frame.plain_size
            if stop > start and (finish is None or frame.plain_start < finish):
                first = frame.plain_start if first is None else first
                parts.append(_unpack(os.pread(file.fileno(), frame.size, frame.start), frame))
    if first is None:
        return b""
    data = b"".join(parts)
    return data[start - first : None if finish is None else finish - first]


def packed_plain_size(path: Path) -> int:
    """How many bytes the plain segment has. Raises OSError, ValueError."""
    with path.open("rb") as file:
        frames = _read_table(file.fileno())
    return frames[-1].plain_start + frames[-1].plain_size if frames else 0


def _pieces(path: Path, *, check: bool) -> Iterator[bytes]:
    digest = sha256()
    with path.open("rb") as file:
        fd, end = file.fileno(), 0
        for frame in _read_table(fd):
            data = os.pread(fd, frame.size, frame.start)
            digest.update(data)
            end = frame.start + frame.size
            yield _unpack(data, frame)
        if check:
            proof = os.pread(fd, _PROOF_SIZE, end)
            digest.update(os.pread(fd, os.fstat(fd).st_size, end + _PROOF_SIZE))
            if proof != _SKIP.pack(_PROOF_MAGIC, 32) + digest.digest():
                raise ValueError("the packed file is not as it was written")


def _unpack(data: bytes, frame: _Frame) -> bytes:
    try:
        plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=frame.plain_size)
    except zstandard.ZstdError as error:
        raise ValueError(f"a packed piece cannot be read: {error}") from error
    if len(plain) != frame.plain_size:
        raise ValueError("a packed piece has not the size its table names")
    return plain


def _read_table(fd: int) -> list[_Frame]:
    size = os.fstat(fd).st_size
    foot = os.pread(fd, _FOOT.size, max(size - _FOOT.size, 0))
    if len(foot) != _FOOT.size:
        raise ValueError("the packed file is too short")
    count, flags, magic = _FOOT.unpack(foot)
    length = count * _ROW.size + _FOOT.size
    at = size - length - _SKIP.size
    if magic != _FOOT_MAGIC or flags or at < _PROOF_SIZE:
        raise ValueError("the packed file has no table of its frames")
    head = os.pread(fd, _SKIP.size + length, at)
    if head[: _SKIP.size] != _SKIP.pack(_TABLE_MAGIC, length):
        raise ValueError("the packed file has no table of its frames")
    frames: list[_Frame] = []
    start = plain = 0
    for packed_size, plain_size in _ROW.iter_unpack(head[_SKIP.size : -_FOOT.size]):
        if plain_size > FRAME_BYTES:
            raise ValueError("the table of a packed file names an impossible size")
        frames.append(_Frame(start, packed_size, plain, plain_size))
        start, plain = start + packed_size, plain + plain_size
    if start + _PROOF_SIZE != at:
        raise ValueError("the table of a packed file does not fit its frames")
    return frames
