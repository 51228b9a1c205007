"""Remember the statements that took an analyzer down, so that none does it twice.

A mapped file shared by analyzers, workers and the supervisor. An analyzer marks the text it is
about to analyse; the mark outlives a SIGSEGV, so whoever notices the death knows the cause.
The supervisor moves the mark of a dead analyzer into a bounded ring of digests before it
starts the next one: a text is in the mark or in the ring, never in neither. Its sender is
remembered too: what that principal sends from then on is analysed where it can harm no one.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.limits import ANALYZERS_MAX, CRASHED_TEXTS_MAX

DIGEST_BYTES = 16

_NONE = bytes(DIGEST_BYTES)
_MARK_BYTES = 2 * DIGEST_BYTES  # the text, and who sent it
_MARKS_END = ANALYZERS_MAX * _MARK_BYTES
_CURSOR_END = _MARKS_END + 8
_FILE_BYTES = _CURSOR_END + CRASHED_TEXTS_MAX * DIGEST_BYTES


def request_digest(request: Mapping[str, Any]) -> bytes:
    """Digest of the statement text inside a decide request."""
    text = request.get("sql_base64") or request.get("sql") or ""
    return hashlib.blake2b(
        str(text).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES
    ).digest()


def sender_digest(key: str) -> bytes:
    """Digest of a principal's key, as remembered beside the text it sent."""
    return hashlib.blake2b(
        key.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES, person=b"sender"
    ).digest()


class CrashMemory:
    """The shared marks and the ring of digests."""

    def __init__(self, path: Path, mapping: mmap.mmap) -> None:
        self.path = path
        self._mapping = mapping

    @classmethod
    def create(cls, path: Path) -> CrashMemory:
        """Start with nothing remembered. Only the supervisor does."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(bytes(_FILE_BYTES))
        fresh.chmod(0o600)
        fresh.replace(path)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> CrashMemory:
        """Map an existing file; raises OSError when it is missing or of another size."""
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size != _FILE_BYTES:
                raise OSError(f"{path}: not a crash memory of this version")
            return cls(path, mmap.mmap(descriptor, _FILE_BYTES))
        finally:
            os.close(descriptor)

    def mark(self, analyzer: int, digest: bytes, sender: bytes = _NONE) -> None:
        """Say that `analyzer` begins to analyse the text of `digest`, sent by `sender`."""
        start = analyzer * _MARK_BYTES
        self._mapping[start : start + _MARK_BYTES] = digest + sender

    def unmark(self, analyzer: int) -> None:
        """Say that `analyzer` survived its text."""
        self.mark(analyzer, _NONE)

    def marked(self, analyzer: int) -> bytes | None:
        """Digest that `analyzer` works on, or died on."""
        start = analyzer * _MARK_BYTES
        digest = self._mapping[start : start + DIGEST_BYTES]
        return None if digest == _NONE else digest

    def bury(self, analyzer: int) -> bool:
        """Move the mark of a dead analyzer into the ring. True when a text had killed it."""
        digest = self.marked(analyzer)
        if digest is None:
            return False
        self.add(digest)
        end = (analyzer + 1) * _MARK_BYTES
        sender = self._mapping[end - DIGEST_BYTES : end]
        if sender != _NONE:
            self.add(sender)
        self.unmark(analyzer)
        return True

    def add(self, digest: bytes) -> None:
        """Remember `digest`; the oldest is forgotten when the ring is full."""
        if digest in self:
            return
        # An open file description of its own, as in Epochs.bump.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            cursor = int.from_bytes(self._mapping[_MARKS_END:_CURSOR_END])
            start = _CURSOR_END + cursor % CRASHED_TEXTS_MAX * DIGEST_BYTES
            self._mapping[start : start + DIGEST_BYTES] = digest
            self._mapping[_MARKS_END:_CURSOR_END] = (cursor + 1).to_bytes(8)
        finally:
            os.close(descriptor)

    def __contains__(self, digest: bytes) -> bool:
        cursor = int.from_bytes(self._mapping[_MARKS_END:_CURSOR_END])
        if cursor == 0:
            return False
        end = _CURSOR_END + min(cursor, CRASHED_TEXTS_MAX) * DIGEST_BYTES
        found = self._mapping.find(digest, _CURSOR_END, end)
        while found != -1 and (found - _CURSOR_END) % DIGEST_BYTES:
            found = self._mapping.find(digest, found + 1, end)
        return found != -1
