"""Short tokens of our own: opaque, known by their digest alone, gone within minutes.

A gateway token stands for a verified token of an issuer. It is never stronger than that one:
same identity, no longer life, the same revocations, and at most one target and level of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

import apsw
import orjson

from gateway.errors import GatewayError
from gateway.limits import (
    GATEWAY_TOKEN_S_MAX,
    GATEWAY_TOKENS_MAX,
    GATEWAY_TOKENS_PER_PRINCIPAL_MAX,
)
from gateway.policy.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.clock import Clock

PREFIX: Final = "pgt_"
_SECRET_BYTES: Final = 32
_TOKEN = re.compile(r"pgt_[A-Za-z0-9_-]{43}", re.ASCII)
_LEVELS: Final = ("read", "write")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS tokens (
    digest BLOB PRIMARY KEY, who TEXT NOT NULL, principal BLOB NOT NULL,
    expires_at REAL NOT NULL, renewable_until REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_who ON tokens (who);
CREATE INDEX IF NOT EXISTS tokens_expiry ON tokens (expires_at);
"""


class TokenRefused(GatewayError):
    """No token is given out; `code` is of RFC 6749 and RFC 8693."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def is_gateway_token(token: str) -> bool:
    """Tell whether `token` claims to be one of ours."""
    return token.startswith(PREFIX)


def token_digest(token: str) -> str | None:
    """Return what a gateway token is known by, None for text that is none."""
    if not _TOKEN.fullmatch(token):
        return None
    return hashlib.sha256(token.encode()).hexdigest()


def narrow(principal: Principal, target: str, level: str) -> Principal:
    """Return `principal` for one target and level at most; raises TokenRefused to widen."""
    if target and principal.only_target not in {None, target}:
        raise TokenRefused("invalid_target", "the token given is for another target")
    if level and level not in _LEVELS:
        raise TokenRefused("invalid_scope", "scope is read or write")
    had = principal.only_level
    if level and had is not None and _LEVELS.index(level) > _LEVELS.index(had):
        raise TokenRefused("invalid_scope", f"the token given is for {had}")
    return replace(
        principal,
        only_target=target or principal.only_target,
        only_level=level or had,
    )


def delegate(subject: Principal, actor: Principal) -> Principal:
    """Return `subject` with `actor` acting for it: rights are then what both hold.

    Raises TokenRefused for a chain: whose intersection that would be is nobody's to guess.
    """
    if subject.actor is not None or actor.actor is not None:
        raise TokenRefused("invalid_request", "a delegated token cannot be delegated again")
    if None not in {subject.certificate, actor.certificate} and (
        subject.certificate != actor.certificate
    ):
        raise TokenRefused("invalid_request", "the tokens are bound to two certificates")
    narrowed = narrow(subject, actor.only_target or "", "")
    levels = [level for level in _LEVELS if level in {subject.only_level, actor.only_level}]
    return replace(
        narrowed,
        actor=actor.subject,
        actor_issuer=actor.issuer_id,
        actor_groups=actor.groups,
        agent=actor.agent or actor.subject,
        run_id=actor.run_id or subject.run_id,
        certificate=actor.certificate or subject.certificate,
        only_level=levels[0] if levels else None,
    )


class GatewayTokens:
    """The tokens given out. The control process owns the file; calls may come from any thread."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None

    def issue(self, principal: Principal, until: float) -> tuple[str, Principal]:
        """Return a new token for `principal` and whom it speaks for. `until` is the parent's end.

        Raises TokenRefused when there are too many tokens.
        """
        now = self._clock.wall()
        token = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        digest = hashlib.sha256(token.encode())
        given = replace(
            principal,
            gateway_token=f"pgt:{digest.hexdigest()[:24]}",
            expires_at=min(now + GATEWAY_TOKEN_S_MAX, until),
        )
        with self._open() as db:
            db.execute("DELETE FROM tokens WHERE expires_at <= ?", (now,))
            ((own,),) = db.execute("SELECT count(*) FROM tokens WHERE who = ?", (given.key,))
            ((every,),) = db.execute("SELECT count(*) FROM tokens")
            if own >= GATEWAY_TOKENS_PER_PRINCIPAL_MAX or every >= GATEWAY_TOKENS_MAX:
                raise TokenRefused("slow_down", "too many tokens are out; use one until it ends")
            db.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?)",
                (
                    digest.digest(),
                    given.key,
                    orjson.dumps(given.to_wire()),
                    given.expires_at,
                    until,
                ),
            )
        return token, given

    def find(self, digest: str) -> tuple[Principal, float] | None:
        """Return whom a token speaks for and until when it may be renewed, or None."""
        with self._open() as db:
            rows = db.execute(
                "SELECT principal, renewable_until FROM tokens WHERE digest = ? AND expires_at > ?",
                (bytes.fromhex(digest), self._clock.wall()),
            ).fetchall()
        if not rows:
            return None
        stored, until = cast("tuple[bytes, float]", rows[0])
        return Principal.from_wire(orjson.loads(stored)), until

    @contextlib.contextmanager
    def _open(self) -> Iterator[apsw.Connection]:
        with self._lock:
            if self._connection is None:
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                connection = apsw.Connection(str(self._path))
                self._path.chmod(0o600)
                connection.set_busy_timeout(2_000)
                connection.pragma("journal_mode", "wal")
                connection.execute(_SCHEMA)
                self._connection = connection
            with self._connection:
                yield self._connection
