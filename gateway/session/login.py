"""Who logged in, where to, and what the session was told at its start."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway import metrics
from gateway.clock import now_us
from gateway.config import Target
from gateway.errors import AuditUnwritable
from gateway.ipc.tallies import SessionPlace
from gateway.policy.principal import Principal
from gateway.protocol.settings import PINS
from gateway.session import bounding
from gateway.session.rights import Rights
from gateway.upstream.startup import build_role_setup, build_settings_query, find_broken_pin

if TYPE_CHECKING:
    from gateway.session.session import Session
    from gateway.session.worker import Worker


@dataclass(slots=True, kw_only=True)
class Login:
    """A client that authenticated. `rights` is replaced when policy or catalog change."""

    worker: Worker
    session_id: str
    principal: Principal
    target: Target
    requested: str
    rights: Rights
    client: str
    tls: str
    settings: dict[str, str]
    told: dict[str, str]  # ParameterStatus values the client has seen last
    cancel_pid: int = 0
    opened_us: int = field(default_factory=now_us)
    started_ns: int = field(default_factory=time.monotonic_ns)
    expiry: asyncio.TimerHandle | None = None
    place: SessionPlace | None = None  # where the session is counted, if that is limited

    @property
    def setup(self) -> bytes:
        """The query that makes a server connection this session's: role, then settings."""
        parts = (
            build_role_setup(self.target, self.rights.profile.level),
            build_settings_query(self.settings),
        )
        return b"; ".join(part for part in parts if part)

    def record_fields(self) -> dict[str, Any]:
        """Who and where, as every record of this session says it."""
        principal = self.principal
        fields: dict[str, Any] = {
            "session": self.session_id,
            "principal": principal.key,
            "target": self.target.name,
            "role": self.rights.profile.level,
        }
        if principal.agent:
            fields["agent"] = principal.agent
        if principal.run_id:
            fields["run_id"] = principal.run_id
        if principal.actor:
            fields["actor"] = principal.actor
        return fields

    def observe_status(self, payload: bytes) -> bool | None:
        """Judge a ParameterStatus of the server: True when the client is to hear of it.

        None when a pinned setting moved: what was analysed is then not what runs.
        """
        name, _, rest = payload.decode("utf-8", "replace").partition("\0")
        value = rest.rstrip("\0")
        if find_broken_pin(PINS, {name: value}) is not None:
            return None
        if self.told.get(name) == value:
            return False
        self.told[name] = value
        return True

    def opened(self, session: Session) -> None:
        """Record the login and let control know.

        Raises AuditUnwritable or TooManySessions: then nobody is let in.
        """
        self.place = bounding.enter(self)
        try:
            self._record_opened()
        except AuditUnwritable:
            self._leave()
            raise
        self.expiry = self.worker.lifetime.start(session)
        self.worker.sessions[self.session_id] = session
        self.worker.identities[self.principal.key] += 1
        self.worker.is_empty.clear()
        metrics.inc(_ACCEPTED)
        metrics.put(_OPEN, len(self.worker.sessions))
        self.worker.spawn(self.worker.announce(self), "announce")

    def _leave(self) -> None:
        place, self.place = self.place, None
        if place is not None:
            self.worker.tallies.leave(place)

    def _record_opened(self) -> None:
        principal, context = self.principal, self.worker.context
        self.worker.recorder.record(
            "session.opened",
            **self.record_fields(),
            level=self.rights.profile.level,
            issuer=principal.issuer,
            subject=principal.subject,
            groups=principal.groups,
            token_id=principal.token_id,
            token_expires=principal.expires_at,
            gateway_token=principal.gateway_token,
            client=self.client,
            tls=self.tls,
            worker=context.worker_id,
            generation=context.generation,
        )

    def ended(self, reason: str, statements: int) -> None:
        """Record the end. Called once."""
        if self.expiry is not None:
            self.expiry.cancel()
        self._leave()
        self.worker.cancels.unregister(self.cancel_pid)
        self.worker.sessions.pop(self.session_id, None)
        left = self.worker.identities[self.principal.key] - 1
        if left > 0:
            self.worker.identities[self.principal.key] = left
        else:
            del self.worker.identities[self.principal.key]
        if not self.worker.sessions:
            self.worker.is_empty.set()
        metrics.put(_OPEN, len(self.worker.sessions))
        try:
            self.worker.recorder.record(
                "session.closed",
                **self.record_fields(),
                reason=reason,
                statements=statements,
                duration_us=(time.monotonic_ns() - self.started_ns) // 1000,
            )
        except AuditUnwritable:
            metrics.inc(metrics.JOURNAL_FULL.slot())
        self.worker.tell_control({"op": "session.close", "session": self.session_id})

    def live_fields(self) -> dict[str, Any]:
        """What control shows of an open session."""
        return {
            "session": self.session_id,
            "principal": self.principal.to_wire(),
            "target": self.target.name,
            "level": self.rights.profile.level,
            "client": self.client,
            "opened_us": self.opened_us,
        }


_ACCEPTED = metrics.SESSIONS.slot("accepted")
_OPEN = metrics.SESSIONS_OPEN.slot()
