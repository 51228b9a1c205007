"""Durability `group`: statements leave when the writer has flushed their intents.

The waiting itself is compiled (`_fastpath/commit.pyx`); here are the wakes and the bound.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from _fastpath.commit import CommitGate
from _fastpath.journal import Journal
from gateway.audit.wake import WakePipe, producer_wake, writer_wake
from gateway.errors import AuditUnwritable
from gateway.limits import COMMIT_WAIT_S

if TYPE_CHECKING:
    from gateway.session.session import Session


class GroupCommit:
    """The commit gate of one worker and what opens it. Created on the worker's loop."""

    def __init__(self, journal: Journal, data_dir: Path) -> None:
        self._writer = WakePipe(writer_wake(data_dir))
        self._own = WakePipe(producer_wake(Path(journal.path)))
        self.gate = CommitGate(journal, self._writer.wake)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._own.fileno(), self._on_wake)
        self._look = self._loop.call_later(COMMIT_WAIT_S, self._bound)

    def _on_wake(self) -> None:
        self._own.drain()
        self.gate.release()

    def _bound(self) -> None:
        """End sessions whose statement is not on the disk in time: it has not been sent."""
        self._look = self._loop.call_later(COMMIT_WAIT_S, self._bound)
        self.gate.release()
        if not self.gate.is_stuck():
            return
        for owner in self.gate.give_up():
            session: Session = owner  # type: ignore[assignment]
            error = AuditUnwritable(
                "the audit trail is not on the disk in time, so the statement was not run",
                reason="group commit timed out",
            )
            # Other bytes may have gone before: only a new connection is in a known state.
            session.fail(error, "audit_unwritable")

    def close(self) -> None:
        """Stop; nothing waits any more."""
        self._look.cancel()
        self._loop.remove_reader(self._own.fileno())
        self._own.close()
        self._writer.close()
