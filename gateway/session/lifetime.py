"""End sessions whose time is over: revoked, idle or too old.

Before every statement the relay compares the revocation epoch; this watch is for those that
send nothing, and for what is already running. It looks in memory every REVOCATION_POLL_S and
reads the list only after a change.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from gateway import metrics
from gateway.clock import SYSTEM_CLOCK
from gateway.errors import ClientError, IdentityExpired, NotReady, SessionIdle
from gateway.identity.revocation import Revocations
from gateway.ipc.epochs import REVOCATION
from gateway.limits import REVOCATION_POLL_S, SUPERVISOR_LOST_S
from gateway.units import format_duration

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import Sessions
    from gateway.ipc.epochs import Epochs
    from gateway.policy.principal import Principal
    from gateway.session.session import Session

_IDLE_POLL_S = 1.0
_SWEEP_SIZE = 500  # sessions per pass of the loop: a sweep must not be a stall
_LAST_WORDS_S = 1.0
_GRACE_S = 1.0
_REVOKED = metrics.SESSIONS_ENDED.slot("revoked")
_IDLE = metrics.SESSIONS_ENDED.slot("idle")
_IDLE_IN_TRANSACTION = metrics.SESSIONS_ENDED.slot("idle_in_transaction")
_SLOW_READER = metrics.SESSIONS_ENDED.slot("slow_reader")
_EXPIRED = metrics.SESSIONS_ENDED.slot("expired")

log = logging.getLogger(__name__)


class Lifetime:
    """What one worker knows of the ends of its sessions."""

    def __init__(
        self, data_dir: Path, epochs: Epochs, limits: Sessions, sessions: dict[str, Session]
    ) -> None:
        self._epochs = epochs
        self._missed_at: float | None = None
        self._is_alone = False
        self.revocations = Revocations(data_dir, epochs, SYSTEM_CLOCK)
        self._limits = limits
        self._sessions = sessions
        self._swept = -1
        self._idle_checked = 0.0
        # Session -> (reads of its client, since when that has not changed).
        self._quiet: dict[str, tuple[int, float]] = {}

    def start(self, session: Session) -> asyncio.TimerHandle:
        """Begin a session's time; the handle ends it when token or age are over."""
        left_s = max(0.0, session.login.principal.expires_at - time.time())
        error: ClientError = IdentityExpired("the token of this session has expired")
        reason = "token_expired"
        if left_s > self._limits.age_s:
            left_s, reason = self._limits.age_s, "session_age"
            error = SessionIdle(f"a session lasts at most {format_duration(self._limits.age_s)}")
        return asyncio.get_running_loop().call_later(left_s, self._expire, session, error, reason)

    def check(self, principal: Principal, session_id: str = "") -> None:
        """Raise IdentityRevoked or NotReady when who logs in, or is in, may run nothing more."""
        if self._is_alone:
            raise NotReady("the gateway is not supervised", reason="no supervisor heartbeat")
        self.revocations.refresh()
        self.revocations.check(principal, session_id)

    async def watch(self) -> None:
        """Look for ends until cancelled."""
        while True:
            await asyncio.sleep(REVOCATION_POLL_S)
            if not self.revocations.is_current:
                self.revocations.refresh()
            # Not "did refresh read": a statement may have been the first to read the list.
            if self._swept != self.revocations.generation:
                self._swept = self.revocations.generation
                await self._sweep()
            now = time.monotonic()
            self._watch_supervisor(now)
            if now - self._idle_checked >= _IDLE_POLL_S:
                self._idle_checked = now
                self._end_idle(now)

    def _watch_supervisor(self, now: float) -> None:
        if self._epochs.supervisor_age_s() < SUPERVISOR_LOST_S:
            self._missed_at, self._is_alone = None, False
        elif self._missed_at is None:
            # A moment's grace: when all of a host was frozen, the supervisor comes back as we do.
            self._missed_at = now
        elif not self._is_alone and now - self._missed_at > _GRACE_S:
            self._is_alone = True
            # Makes every session ask `check` before its next statement.
            self._epochs.bump(REVOCATION)
            log.error("no heartbeat of the supervisor: no new statement is run")

    async def _sweep(self) -> None:
        for index, session in enumerate(tuple(self._sessions.values())):
            if index % _SWEEP_SIZE == _SWEEP_SIZE - 1:
                await asyncio.sleep(0)
            try:
                self.revocations.check(session.login.principal, session.login.session_id)
            except NotReady:
                return  # the list is unreadable: nothing runs until it is, see `check`
            except ClientError as error:
                end_now(session, error, "revoked")
                metrics.inc(_REVOKED)

    def _end_idle(self, now: float) -> None:
        quiet: dict[str, tuple[int, float]] = {}
        for session in tuple(self._sessions.values()):
            key, count = session.login.session_id, session.reads
            if self._is_slow_reader(session, now):
                continue
            if session.is_busy and not session.awaits_client:
                continue
            known, since = self._quiet.get(key, (-1, now))
            quiet[key] = count, (since if known == count else now)
            self._judge_quiet(session, now - quiet[key][1])
        self._quiet = quiet

    def _judge_quiet(self, session: Session, quiet_s: float) -> None:
        limits = self._limits
        in_transaction_s = limits.idle_in_transaction_s
        if in_transaction_s and quiet_s >= in_transaction_s and session.awaits_client:
            words = format_duration(in_transaction_s)
            error = SessionIdle(f"this session was idle in a transaction for {words}")
            end_now(session, error, "idle_in_transaction")
            metrics.inc(_IDLE_IN_TRANSACTION)
        elif quiet_s >= limits.idle_s:
            words = format_duration(limits.idle_s)
            end_now(session, SessionIdle(f"this session was idle for {words}"), "idle")
            metrics.inc(_IDLE)

    def _is_slow_reader(self, session: Session, now: float) -> bool:
        """End a session whose client has not read for too long; a queue to it is not drained."""
        limit_s, since = self._limits.slow_reader_s, session.unread_since
        if not limit_s or since is None or now - since < limit_s:
            return False
        session.end("slow_reader")
        session.transport.abort()
        metrics.inc(_SLOW_READER)
        return True

    def _expire(self, session: Session, error: ClientError, reason: str) -> None:
        end_now(session, error, reason)
        metrics.inc(_EXPIRED)


def end_now(session: Session, error: ClientError, reason: str) -> None:
    """Send `error` and close, also when the client reads nothing of what was sent before."""
    transport = session.transport
    session.fail(error, reason)
    asyncio.get_running_loop().call_later(_LAST_WORDS_S, transport.abort)
