"""One client's session: moves bytes between its socket, the relay and a server connection.

Invariant: bytes leave for the server only after the relay let them through, and while this
session waits for anything (a decision, a connection, a person) its later bytes wait too. What
takes time runs in one task at a time, so order is the client's and nobody else is delayed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, cast

from _fastpath.pump import Pump
from _fastpath.relay import Relay
from gateway import metrics
from gateway.errors import (
    AuditUnwritable,
    Cancelled,
    ClientError,
    ProtocolViolation,
    ServerLost,
)
from gateway.ipc.epochs import CATALOG
from gateway.limits import CLIENT_BUFFER_BYTES_MAX
from gateway.protocol.error_filter import filter_message
from gateway.protocol.messages import build_error
from gateway.session import bounding, events, hold, waits
from gateway.session.codes import Action, Event
from gateway.session.costing import check_cost
from gateway.session.login import Login
from gateway.session.refusal import plain_error, refused_fields
from gateway.session.rights import Rights
from gateway.session.worker import Worker
from gateway.upstream.pool import ServerConnection

_DENIED = metrics.STATEMENTS.slot("deny")

log = logging.getLogger(__name__)


class Session(Pump):
    """The life of a logged-in client. `Pump` does what happens per read, this the rest."""

    def __init__(self, worker: Worker, login: Login, transport: asyncio.Transport) -> None:
        self.worker = worker
        self.login = login
        self.transport = transport
        self.commit = worker.commit.gate if worker.commit is not None else None
        self.pool = self.gate = worker.pool(login.target, login.rights.profile.level)
        self.asked: dict[str, str] = {}  # postern.reason and the like, set by the client
        self.draining = False
        self.unread_since: float | None = None  # the client's queue is full since then
        self._held_input: list[bytes] = []
        self._held_size = 0
        self._cancel_asked = False
        self._work: Coroutine[Any, Any, None] | None = None  # not begun yet
        self.relay = Relay(
            worker.journal,
            worker.epochs.buffer,
            worker.counts,
            principal=(login.principal.key, login.principal.groups),
            setup=login.setup,
            intent_prefix=events.intent_prefix(login),
            result_prefix=events.result_prefix(login),
            error_filter=filter_message,
            status_observer=self._observe_status,
        )
        self.use_rights(login.rights)

    # --- the client's side; its bytes go to `Pump` ---------------------------------------

    def eof_received(self) -> None:
        """Let the transport close."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self.end("client_gone")

    def pause_writing(self) -> None:
        """The client reads slower than the server sends: stop reading from the server."""
        self.unread_since = time.monotonic()
        if self.server is not None:
            cast("asyncio.ReadTransport", self.server.transport).pause_reading()

    def resume_writing(self) -> None:
        """Undo `pause_writing`, and give back a connection that waited for this."""
        self.unread_since = None
        if self.server is not None:
            cast("asyncio.ReadTransport", self.server.transport).resume_reading()
            self._release_if_idle()

    # --- the server's side -----------------------------------------------------------------

    def server_lost(self, *, was_parked: bool) -> None:
        """The server connection broke under this session, which may not have needed it."""
        self.server = None
        if was_parked:
            self.relay.detach()
            return
        self.relay.abandon()
        self.relay.detach()
        self.fail(ServerLost("the connection to the database was lost"), "server_lost")

    def server_paused(self, *, paused: bool) -> None:
        """The server reads slower than the client sends."""
        transport = cast("asyncio.ReadTransport", self.transport)
        if paused:
            transport.pause_reading()
        elif self._held_size <= CLIENT_BUFFER_BYTES_MAX:
            transport.resume_reading()

    # --- what others ask of a session ----------------------------------------------------

    def cancel_statement(self) -> None:
        """Cancel what is waiting, held or running. Safe at any time."""
        if self.task is not None:
            self._cancel_asked = True
            if self._work is None:
                self.task.cancel()
        elif self.server is not None and not self.server.link.is_idle():
            if self.server.link.is_setting_up():
                self.server.link.cancel_waits = True
                return
            server = cast("ServerConnection", self.server)
            server.reserve()
            self.worker.spawn(self._cancel_at_server(server), "cancel")

    def drain(self) -> None:
        """End as soon as nothing runs: now when idle, else with the transaction."""
        self.draining = True
        is_free = self.server is None or cast("ServerConnection", self.server).is_parked
        if is_free and self.task is None:
            self.fail(events.shutting_down(), "drain")

    @property
    def is_busy(self) -> bool:
        """Whether a statement waits or runs. One that idles in a transaction is idle."""
        return self.task is not None or (self.server is not None and self.server.link.owed > 0)

    @property
    def awaits_client(self) -> bool:
        """Whether it keeps a server connection busy, and the next word is the client's."""
        if self.task is not None or self.server is None:
            return False
        link = self.server.link
        return not link.is_idle() and (link.owed == 0 or link.copy_in)

    def notice(self, message: bytes) -> None:
        """Send a whole NoticeResponse."""
        self.transport.write(message)

    def fail(self, error: ClientError, reason: str) -> None:
        """Send `error` and end the session."""
        if self.ended:
            return
        self.transport.write(build_error(error))
        self.end(reason)

    def end(self, reason: str) -> None:
        """Release everything. Idempotent."""
        if self.ended:
            return
        self.ended = True
        if self.task is not None:
            if self._work is not None:
                self._work.close()
            self.task.cancel()
        server, self.server = self.server, None
        if server is not None:
            self._part_from(cast("ServerConnection", server))
        else:
            self.relay.abandon()
        self.transport.close()
        self.login.ended(reason, self.relay.statement_count)

    # --- the loop over the client's messages ---------------------------------------------

    def handle(self, action: int) -> bool:
        """Do what the relay asks for; False when it must be called again later or never."""
        match action:
            case Action.ATTACH:
                server = self.pool.take(self.relay.principal)
                if server is not None:
                    self.attach(server)
                    return True
                self._wait(waits.attach_later(self), "attach")
            case Action.DECIDE:
                self._wait(waits.decide(self), "decide")
            case Action.HOLD:
                self._wait(hold.hold_statement(self), "hold")
            case Action.JOURNAL:
                self._wait(waits.await_journal(self), "journal")
            case Action.REFUSE:
                self._refuse_decided()
                return True
            case Action.TERMINATE:
                self.end("client_closed")
            case Action.VIOLATION:
                self._on_violation()
            case Action.BACKLOG:
                cast("asyncio.ReadTransport", self.transport).pause_reading()
            case Action.COST:
                self._wait(check_cost(self), "cost")
            case Action.OVER_BUDGET:
                self._refuse_waiting(bounding.over_budget(self))
                return True
            case Action.STALE:
                self._wait(waits.renew_rights(self), "rights")
        return False

    def _wait(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._work = work
        self.task = self.worker.spawn(self._run(), f"{name}-{self.login.session_id}")

    async def _run(self) -> None:
        """Do what takes time, then go on. A ClientError refuses the waiting message."""
        work, self._work = self._work, None
        try:
            if work is None or self._cancel_asked:
                raise Cancelled("the statement was cancelled on request")
            await work
        except ClientError as error:
            self._refuse_waiting(error)
        except asyncio.CancelledError:
            if self.ended or not self._cancel_asked:
                raise
            self._refuse_waiting(Cancelled("the statement was cancelled on request"))
        except Exception:
            # Our own bug: the client must not wait for ever for an answer nobody will give.
            log.exception("session %s ends on an unexpected error", self.login.session_id)
            self.fail(ServerLost("the gateway failed on this statement"), "invariant")
        finally:
            if work is not None:
                work.close()
            self.task = None
            self._cancel_asked = False
        if not self.ended:
            self._resume()

    def _resume(self) -> None:
        if self._held_input:
            held, self._held_input, self._held_size = b"".join(self._held_input), [], 0
            # Output was taken before the wait began, so feeding more is safe.
            self.relay.feed(held)
            cast("asyncio.ReadTransport", self.transport).resume_reading()
        self.pump()

    def hold_input(self, data: bytes) -> None:
        """Keep a read that came while something takes time; too much of it stops the reading."""
        self._held_input.append(data)
        self._held_size += len(data)
        if self._held_size > CLIENT_BUFFER_BYTES_MAX:
            cast("asyncio.ReadTransport", self.transport).pause_reading()

    async def _cancel_at_server(self, server: ServerConnection) -> None:
        await server.cancel()
        if self.server is server:
            self._release_if_idle()

    # --- refusals ------------------------------------------------------------------------

    def _refuse_decided(self) -> None:
        """Answer the message the relay stopped at with the refusal of its verdict."""
        relay = self.relay
        if relay.verdict is None:
            sqlstate, text = relay.fault
            relay.fault = None
            relay.refuse(plain_error(sqlstate, text))
            return
        error = relay.verdict.decision.client_error()
        if error is None:
            self.fail(ProtocolViolation("a refusal without a reason"), "invariant")
            return
        self._refuse_waiting(error)

    def _refuse_waiting(self, error: ClientError) -> None:
        """Record a refusal, then send it; what cannot be recorded is refused all the same."""
        if self.ended:
            return
        try:
            self.worker.recorder.record("statement.refused", **refused_fields(self, error))
        except AuditUnwritable as unwritable:
            error = unwritable
        metrics.inc(metrics.REFUSALS.slot(error.id))
        metrics.inc(_DENIED)
        self.relay.refuse(build_error(error))

    def _on_violation(self) -> None:
        fault = self.relay.fault
        if isinstance(fault, str):
            events.record_violation(self, fault)
            self.fail(ProtocolViolation(fault), "protocol_violation")
        else:
            self._on_broken()

    def _on_broken(self) -> None:
        """The server's stream cannot be trusted: nothing more of it reaches the client."""
        fault = self.relay.fault
        error = events.record_breach(self, fault)
        if self.server is not None:
            self.server.transport.abort()
        self.fail(error, "server_stream_broken")

    # --- server connection ---------------------------------------------------------------

    def attach(self, server: ServerConnection) -> None:
        """Use `server` for what waits."""
        self.server = server
        server.holder = self
        self.relay.attach(server.link)

    def release(self) -> None:
        """Give the server connection back: the one place, while the session lives.

        Called when somebody waits for a connection, or by the pool that takes a parked one.
        """
        server = cast("ServerConnection", self.server)
        self.server = None
        self.relay.detach()
        self.pool.release(server)

    def _release_if_idle(self) -> None:
        if self.server is None or self.server.cancelling or not self.relay.can_release:
            return
        if self.draining and self.task is None:
            self.fail(events.shutting_down(), "drain")
        elif self.gate.waiting:
            self.release()

    def _part_from(self, server: ServerConnection) -> None:
        """Give the connection back if it is clean; stop what still runs on it otherwise."""
        relay = self.relay
        server.holder = None
        if server.link.is_idle() and not server.cancelling and not server.transport.is_closing():
            relay.abandon()
            relay.detach()
            self.pool.release(server)
            return
        # A cancel that hits the settings would let the statement behind them run without.
        is_running = server.link.owed > 0 and not server.link.is_setting_up()
        relay.abandon()
        relay.detach()
        if is_running:
            server.reserve()
            self.worker.spawn(server.stop(), "stop-running")
        else:
            server.transport.abort()

    def on_events(self) -> None:
        """Act on what the relay noticed in a read of the server."""
        relay = self.relay
        happened, relay.events = relay.events, 0
        if happened & Event.BROKEN:
            self._on_broken()
            return
        if happened & Event.OVER:
            bounding.on_over(self)
        if happened & Event.SEND:
            self.flush()
        if happened & Event.SET_UP:
            self.cancel_statement()
        if happened & Event.FINISHED:
            hold.report_finished(self)
        if happened & Event.DDL:
            self.catalog_changed()
        if happened & Event.IDLE:
            self._release_if_idle()
        if happened & Event.BACKLOG and self.task is None:
            cast("asyncio.ReadTransport", self.transport).resume_reading()
            self.pump()

    def catalog_changed(self) -> None:
        """Make every session of every worker ask anew: analyzers look before they answer."""
        self.worker.epochs.bump(CATALOG)

    def _observe_status(self, payload: bytes) -> bool:
        forward = self.login.observe_status(payload)
        if forward is None:
            self.relay.fault = "the server changed a pinned setting"
            self.relay.events |= Event.BROKEN
        return bool(forward)

    def use_rights(self, rights: Rights) -> None:
        """Decide under `rights` from now on."""
        self.login.rights = rights
        self.relay.use_cache(
            rights.cache,
            rights.profile.filter_errors,
            self.worker.lifetime.revocations.generation,
            rights.limits,
            bounding.budget_of(self.worker, self.login, rights.profile.bounds),
        )
