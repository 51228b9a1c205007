"""Ids that are good once: of logins and logouts, across all processes and restarts.

In a file, not in memory: a replayed assertion must be refused by a process that never saw it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import apsw

from gateway.limits import ONE_TIME_IDS_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.clock import Clock

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS used (
    kind TEXT NOT NULL, issuer TEXT NOT NULL, id TEXT NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (kind, issuer, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS used_until ON used (until);
"""


class OneTimeIds:
    """The ids used so far. Calls block on the disk and may come from any thread or process."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()

    def use(self, kind: str, issuer_id: str, value: str, until: float) -> bool:
        """Use up an id that would be good until `until`; False when it was used before.

        Raises apsw.Error when nobody can tell, and ValueError when there are too many.
        """
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            db = apsw.Connection(str(self._path))
            try:
                self._path.chmod(0o600)
                db.set_busy_timeout(2_000)
                db.pragma("journal_mode", "wal")
                db.execute(_SCHEMA)
                self._insert(db, (kind, issuer_id, value, until))
                return db.changes() == 1
            finally:
                db.close()

    def _insert(self, db: apsw.Connection, row: tuple[str, str, str, float]) -> None:
        with db:
            db.execute("DELETE FROM used WHERE until <= ?", (self._clock.wall(),))
            ((count,),) = db.execute("SELECT count(*) FROM used")
            if count >= ONE_TIME_IDS_MAX:
                raise ValueError("too many one-time ids are in use")
            db.execute("INSERT OR IGNORE INTO used VALUES (?, ?, ?, ?)", row)
