"""The recording end for processes that build records in Python.

No record, no action: what cannot be written raises, and the caller refuses what it was about
to do. The data plane writes the same rings from compiled code (`_fastpath/journal.pyx`).
"""

from __future__ import annotations

from typing import Any, Protocol

from gateway.audit.records import build_record
from gateway.errors import AuditUnwritable


class Appender(Protocol):
    """What a recorder needs of a journal."""

    def append(self, record: bytes) -> bool:
        """Publish one record; False when there is no room."""
        ...


class Recorder:
    """Builds records and appends them to one journal."""

    __slots__ = ("_journal",)

    def __init__(self, journal: Appender) -> None:
        self._journal = journal

    def record(self, kind: str, **fields: Any) -> None:
        """Record one event. Raises AuditUnwritable when the journal has no room."""
        if not self._journal.append(build_record(kind, fields)):
            raise AuditUnwritable(
                "the audit trail cannot be written, so nothing is done",
                hint="Try again shortly; if it stays, the operator must free audit disk space.",
                reason="journal full",
            )
