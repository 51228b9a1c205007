"""Who may be a connector: one-time join tokens, and the keys of those that joined.

Only digests of tokens are kept. A token is spent in the same statement that finds it unspent,
so of two who present it at once one loses.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.errors import GatewayError
from gateway.limits import CONNECTORS_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.clock import Clock

_PREFIX: Final = "pnj_"
_SCHEMA = """
create table if not exists join_token (
    digest text primary key, connector text not null, expires real not null,
    made_by text not null, used_at real, used_by text, used_from text
);
create table if not exists member (
    id text primary key, connector text not null, serial text not null, next_serial text,
    joined_at real not null, joined_from text not null, revoked_at real, revoked_by text
);
"""


class NotEnrolled(GatewayError):
    """The peer is no connector of this gateway; the text says why, for the trail only."""

    def __init__(self, reason: str, *, connector: str = "", member: str = "") -> None:
        super().__init__(reason)
        self.connector = connector
        self.member = member


@dataclass(frozen=True, slots=True)
class Enrolled:
    """One connector process that joined, whether it is there or not."""

    id: str
    connector: str  # the name that targets refer to; several members may share it
    joined_at: float
    joined_from: str
    revoked_at: float | None
    revoked_by: str


class Enrolment:
    """The register. Every method may block on the disk; call it in a thread."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._db.close()

    def invite(self, connector: str, by: str, ttl_s: float) -> str:
        """Return a new join token for a member of `connector`, without the gateway's pin."""
        token = _PREFIX + secrets.token_urlsafe(32)
        now = self._clock.wall()
        with self._lock:
            self._db.execute("delete from join_token where expires < ?", (now - 30 * 86_400,))
            self._db.execute(
                "insert into join_token (digest, connector, expires, made_by) values (?, ?, ?, ?)",
                (_digest(token), connector, now + ttl_s, by),
            )
        return token

    def spend(self, token: str, client: str) -> tuple[str, str]:
        """Return (connector, id of the new member); raises NotEnrolled."""
        digest = _digest(token)
        now = self._clock.wall()
        member = ""
        with self._lock:
            row = self._db.execute(
                "select connector, expires, used_by from join_token where digest = ?", (digest,)
            ).fetchone()
            if row is None:
                raise NotEnrolled("unknown join token")
            connector, expires, used_by = row
            if used_by is not None:
                # One of the two had no right to it, and nobody can tell which.
                reason = "the join token was used before; revoke the member that joined with it"
                raise NotEnrolled(reason, connector=connector, member=used_by)
            if expires < now:
                raise NotEnrolled("the join token has expired", connector=connector)
            (count,) = self._db.execute(
                "select count(*) from member where revoked_at is null"
            ).fetchone()
            if count >= CONNECTORS_MAX:
                raise NotEnrolled(f"{count} connectors have joined", connector=connector)
            member = f"{connector}-{secrets.token_hex(4)}"
            self._db.execute(
                "update join_token set used_at = ?, used_by = ?, used_from = ? "
                "where digest = ? and used_at is null",
                (now, member, client, digest),
            )
        return connector, member

    def add(self, member: str, connector: str, serial: str, client: str) -> None:
        """Note the first key of a member."""
        with self._lock:
            self._db.execute(
                "insert into member (id, connector, serial, joined_at, joined_from) "
                "values (?, ?, ?, ?, ?)",
                (member, connector, serial, self._clock.wall(), client),
            )

    def admit(self, member: str, serial: str) -> str:
        """Return the connector that `member` is of; raises NotEnrolled.

        The first use of a renewed key makes the old one worthless.
        """
        with self._lock:
            row = self._db.execute(
                "select connector, serial, next_serial, revoked_at from member where id = ?",
                (member,),
            ).fetchone()
            if row is None:
                raise NotEnrolled("the key is of no member", member=member)
            connector: str = row[0]
            if row[3] is not None:
                raise NotEnrolled("the key was revoked", connector=connector, member=member)
            if serial == row[2]:
                self._db.execute(
                    "update member set serial = next_serial, next_serial = null where id = ?",
                    (member,),
                )
            elif serial != row[1]:
                raise NotEnrolled("the key was replaced", connector=connector, member=member)
        return connector

    def renew(self, member: str, serial: str) -> None:
        """Note the key that a member will use next."""
        with self._lock:
            self._db.execute("update member set next_serial = ? where id = ?", (serial, member))

    def revoke(self, name: str, by: str) -> list[str]:
        """Put out the member `name`, or all of the connector `name`, and unused tokens of it."""
        now = self._clock.wall()
        with self._lock:
            rows = self._db.execute(
                "select id from member where (id = ? or connector = ?) and revoked_at is null",
                (name, name),
            ).fetchall()
            self._db.execute(
                "update member set revoked_at = ?, revoked_by = ? "
                "where (id = ? or connector = ?) and revoked_at is null",
                (now, by, name, name),
            )
            self._db.execute(
                "delete from join_token where connector = ? and used_at is null", (name,)
            )
        return [row[0] for row in rows]

    def members(self) -> list[Enrolled]:
        """Return everybody who joined, the newest first."""
        with self._lock:
            rows = self._db.execute(
                "select id, connector, joined_at, joined_from, revoked_at, "
                "coalesce(revoked_by, '') from member order by joined_at desc"
            ).fetchall()
        return [Enrolled(*row) for row in rows]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
