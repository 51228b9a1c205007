"""Searches that people keep under a name. Each person sees their own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

import apsw

from gateway.control.problems import HttpProblem

if TYPE_CHECKING:
    from pathlib import Path

PER_PERSON_MAX: Final = 50
NAME_CHARS_MAX: Final = 60

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS saved_filters (
    person TEXT NOT NULL,
    name TEXT NOT NULL,
    query TEXT NOT NULL,
    PRIMARY KEY (person, name)
) STRICT, WITHOUT ROWID;
"""


class SavedFilters:
    """The table of kept searches. Opened when first used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    async def of(self, person: str) -> list[tuple[str, str]]:
        """Return names and searches of one person, by name."""
        return await asyncio.to_thread(self._of, person)

    async def keep(self, person: str, name: str, query: str) -> None:
        """Keep a search; one of the same name is replaced. Raises HttpProblem."""
        if not 0 < len(name) <= NAME_CHARS_MAX:
            raise HttpProblem(422, f"a name has 1 to {NAME_CHARS_MAX} characters")
        await asyncio.to_thread(self._keep, person, name, query)

    async def drop(self, person: str, name: str) -> None:
        """Forget a search."""
        await asyncio.to_thread(self._run, "DELETE", person, name)

    def _open(self) -> apsw.Connection:
        db = apsw.Connection(str(self._path))
        self._path.chmod(0o600)
        db.set_busy_timeout(2_000)
        db.execute(_SCHEMA)
        return db

    def _of(self, person: str) -> list[tuple[str, str]]:
        with self._lock:
            db = self._open()
            try:
                rows = db.execute(
                    "SELECT name, query FROM saved_filters WHERE person = ? ORDER BY name",
                    (person,),
                ).fetchall()
            finally:
                db.close()
        return [(str(name), str(query)) for name, query in rows]

    def _keep(self, person: str, name: str, query: str) -> None:
        kept = dict(self._of(person))
        if len(kept) >= PER_PERSON_MAX and name not in kept:
            raise HttpProblem(409, f"you keep {PER_PERSON_MAX} searches already")
        self._run("REPLACE", person, name, query)

    def _run(self, what: str, person: str, name: str, query: str = "") -> None:
        with self._lock:
            db = self._open()
            try:
                if what == "REPLACE":
                    db.execute(
                        "INSERT OR REPLACE INTO saved_filters VALUES (?, ?, ?)",
                        (person, name, query),
                    )
                else:
                    db.execute(
                        "DELETE FROM saved_filters WHERE person = ? AND name = ?", (person, name)
                    )
            finally:
                db.close()
