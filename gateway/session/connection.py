"""A client before it is a session: encryption, startup packet, token.

Everything here comes from anyone who can reach the port. One packet at a time, every length
bounded before it is buffered, and at most one error before the connection closes. Bytes that were
read before TLS are never taken for bytes that came inside it (CVE-2021-3935 of PgBouncer).
"""

from __future__ import annotations

import asyncio
import enum
import logging
import secrets
import ssl
from collections.abc import Coroutine
from typing import Any, cast

from gateway import metrics
from gateway.errors import (
    AuditUnwritable,
    ClientError,
    NoGrantOnTarget,
    NotReady,
    ProtocolViolation,
    TlsRequired,
    TokenExpired,
    TokenInvalid,
    TooManySessions,
)
from gateway.limits import (
    PASSWORD_BYTES_MAX,
    STARTUP_TIMEOUT_S,
)
from gateway.policy.principal import Principal
from gateway.protocol.messages import (
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    StartupKind,
    StartupRequest,
    build_auth_ok,
    build_backend_key_data,
    build_error,
    build_negotiate_version,
    build_parameter_status,
    build_ready,
    parse_startup,
    startup_packet_size,
)
from gateway.protocol.proxy_header import parse_proxy_header
from gateway.protocol.settings import StartupSettings, screen_startup
from gateway.session.floods import address_of, is_local, peer_name
from gateway.session.handshake import CLIENT_HELLO, start_tls
from gateway.session.login import Login
from gateway.session.presenting import Presenting, check_certificate, choose, thumbprint
from gateway.session.session import Session
from gateway.session.worker import Worker
from gateway.upstream.takeover import take_over

_HEADER_BYTES = 5
_CLIENT_HELLO = bytes([CLIENT_HELLO])
_LEVELS = frozenset({"read", "write"})
_REFUSED = metrics.SESSIONS.slot("refused")
_TOKEN_INVALID = metrics.TOKENS.slot("invalid")
_TOKEN_EXPIRED = metrics.TOKENS.slot("expired")

log = logging.getLogger(__name__)


class Phase(enum.Enum):
    """What the next bytes of the client are."""

    PROXY = enum.auto()  # the header of a load balancer
    PACKET = enum.auto()  # SSLRequest, GSSENCRequest, CancelRequest or StartupMessage
    TLS = enum.auto()  # the handshake runs, the bytes are not ours
    PASSWORD = enum.auto()
    BUSY = enum.auto()  # the token is being verified, rights are being fetched
    CLOSED = enum.auto()


class ClientConnection(asyncio.Protocol):
    """Leads one connection from its first byte to a `Session`, or closes it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._phase = Phase.PACKET
        self._is_local = False
        self._asked: set[StartupKind] = set()
        self._tls = ""
        self._certificate: str | None = None
        self._startup: StartupRequest
        self._screened: StartupSettings
        self._presenting: Presenting
        self._client = ""
        self._address = ""
        self._principal = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    # --- asyncio.Protocol ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock; a peer that says nothing holds a place no longer than that."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(STARTUP_TIMEOUT_S, self._transport.abort)
        if self._worker.is_balancer(peer):
            self._phase = Phase.PROXY
        self._came_from(peer)

    def _came_from(self, peer: object) -> None:
        self._client, self._is_local = peer_name(peer), is_local(peer)
        self._address = address_of(peer)
        try:
            self._worker.floods.enter(self._address)
        except TooManySessions as error:
            self._refuse(error)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the phase the client is in."""
        if self._phase is Phase.CLOSED:
            return
        self._buffer += data
        if self._phase is Phase.BUSY:
            if len(self._buffer) > PASSWORD_BYTES_MAX:
                self._refuse(ProtocolViolation("bytes before the login was answered"))
            return
        try:
            self._take()
        except ClientError as error:
            self._refuse(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went away before it was logged in."""
        self._leave()
        if self._task is not None:
            self._task.cancel()

    # --- packets -------------------------------------------------------------------------

    def _take(self) -> None:
        if self._phase is Phase.PROXY and not self._take_proxy_header():
            return
        while self._phase is Phase.PACKET:
            if self._buffer[:1] == _CLIENT_HELLO and not self._asked:
                self._on_client_hello()
                return
            size = startup_packet_size(self._buffer)
            if size is None or len(self._buffer) < size:
                return
            packet = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._on_packet(parse_startup(packet))
        if self._phase is Phase.PASSWORD:
            self._take_password()

    def _take_proxy_header(self) -> bool:
        header = parse_proxy_header(self._buffer)
        if header is None:
            return False
        del self._buffer[: header.size]
        self._phase = Phase.PACKET
        if header.peer is not None:
            self._worker.floods.leave(self._address)
            self._came_from(header.peer)
        return True

    def _on_packet(self, request: StartupRequest) -> None:
        match request.kind:
            case StartupKind.SSL | StartupKind.GSSENC:
                self._on_encryption(request.kind)
            case StartupKind.CANCEL:
                self._phase = Phase.CLOSED
                self._start(self._cancel(request), "cancel-request")
            case StartupKind.STARTUP:
                self._on_startup(request)

    def _on_encryption(self, kind: StartupKind) -> None:
        if kind in self._asked or self._tls:
            raise ProtocolViolation("encryption was asked for twice", reason="encryption_twice")
        self._asked.add(kind)
        context = self._worker.context.ssl_context
        if kind is StartupKind.GSSENC or context is None:
            self._transport.write(b"N")
            return
        if self._buffer:
            # Whoever put them there did so outside the TLS that is about to start.
            raise ProtocolViolation("bytes before TLS", reason="bytes_before_tls")
        self._phase = Phase.TLS
        cast("asyncio.ReadTransport", self._transport).pause_reading()
        self._transport.write(b"S")
        self._start(self._start_tls(context), "tls")

    def _on_client_hello(self) -> None:
        """TLS without asking first, as libpq's sslnegotiation=direct does."""
        context = self._worker.context.ssl_context
        if context is None or self._tls:
            raise ProtocolViolation("TLS is not offered here", reason="direct_tls")
        hello = bytes(self._buffer)
        self._buffer.clear()
        self._asked.add(StartupKind.SSL)
        self._phase = Phase.TLS
        cast("asyncio.ReadTransport", self._transport).pause_reading()
        self._start(self._start_tls(context, hello), "tls")

    async def _start_tls(self, context: ssl.SSLContext, hello: bytes = b"") -> None:
        try:
            secured = await start_tls(self._worker, self._transport, self, context, hello)
        except OSError as error:  # ssl.SSLError is one
            log.info("TLS handshake with %s failed: %s", self._client, error)
            self._leave()
            self._transport.abort()
            return
        if secured is None:
            self._leave()
            return
        self._transport = secured
        tls = secured.get_extra_info("ssl_object")
        self._tls = str(tls.version())
        self._certificate = thumbprint(tls.getpeercert(binary_form=True))
        self._phase = Phase.PACKET
        # What came with the last bytes of the handshake was put aside until now.
        asyncio.get_running_loop().call_soon(self.data_received, b"")

    def _on_startup(self, request: StartupRequest) -> None:
        self._startup = request
        if not self._tls and self._needs_tls():
            raise TlsRequired("this gateway takes tokens inside TLS only")
        if request.needs_negotiation:
            self._transport.write(
                build_negotiate_version(
                    PROTOCOL_3_2 if request.spoken == PROTOCOL_3_2 else PROTOCOL_3_0,
                    request.unsupported,
                )
            )
        self._screened = screen_startup(request.params)
        self._presenting = choose(self._worker.config, self._screened.auth)
        self._transport.write(self._presenting.challenge())
        self._phase = Phase.PASSWORD

    def _needs_tls(self) -> bool:
        return self._worker.config.listen.require_tls and not self._is_local

    def _take_password(self) -> None:
        if len(self._buffer) < _HEADER_BYTES:
            return
        size = int.from_bytes(self._buffer[1:_HEADER_BYTES], "big")
        if self._buffer[0] != ord("p") or not _HEADER_BYTES <= size <= PASSWORD_BYTES_MAX:
            raise ProtocolViolation("expected a password message", reason="password_frame")
        if len(self._buffer) < size + 1:
            return
        payload = bytes(self._buffer[_HEADER_BYTES : size + 1])
        del self._buffer[: size + 1]
        token, told = self._presenting.take(payload)
        if token is None:
            self._transport.write(told)
            self._take_password()
            return
        self._phase = Phase.BUSY
        self._start(self._log_in(token), "login")

    # --- what takes time -----------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._task = self._worker.spawn(self._guarded(work), name)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ClientError as error:
            self._refuse(error)
        finally:
            self._task = None

    async def _cancel(self, request: StartupRequest) -> None:
        await self._worker.cancels.cancel(request.cancel_pid, request.cancel_secret)
        # libpq waits for this end of file, and for nothing else.
        self._leave()
        self._transport.close()

    async def _log_in(self, secret: bytes) -> None:
        try:
            token = secret.decode("ascii")
        except UnicodeDecodeError:
            raise TokenInvalid(reason="not ASCII") from None
        principal = await self._worker.verify(token, self._address)
        self._principal = principal.key
        check_certificate(principal, self._certificate)
        self._worker.lifetime.check(principal)
        login = await self._authorise(principal)
        pool = self._worker.pool(login.target, login.rights.profile.level)
        login.told = {**await pool.warm(), **self._screened.settings}
        # Again, and with no wait behind it: the session stands for this state of the list.
        self._worker.lifetime.check(principal)
        if self._phase is not Phase.CLOSED:
            self._become_session(login)

    async def _authorise(self, principal: Principal) -> Login:
        worker, screened = self._worker, self._screened
        target = worker.config.targets.get(screened.database)
        requested = _requested(screened.user, principal)
        if principal.only_target not in {None, screened.database}:
            raise _no_grant(screened.database, "the token is for another target")
        if target is None:
            raise _no_grant(screened.database, "no such target")
        rights = await worker.rights.load(principal, target.name, requested)
        if rights is None:
            raise _no_grant(screened.database, "no grant")
        worker.check_room(principal)
        if worker.context.stop.is_set():
            raise NotReady("the gateway is shutting down")
        return Login(
            worker=worker,
            session_id=secrets.token_hex(8),
            principal=principal,
            target=target,
            requested=requested,
            rights=rights,
            client=self._client,
            tls=self._tls,
            settings=dict(screened.settings),
            told={},
        )

    def _become_session(self, login: Login) -> None:
        cast("asyncio.ReadTransport", self._transport).pause_reading()
        session = Session(self._worker, login, self._transport)
        login.opened(session)
        long_key = self._startup.spoken == PROTOCOL_3_2
        pid, secret = self._worker.cancels.register(session, long_key=long_key)
        login.cancel_pid = pid
        greeting = [build_auth_ok()]
        greeting += [build_parameter_status(name, value) for name, value in login.told.items()]
        greeting += [build_backend_key_data(pid, secret), build_ready(b"I")]
        self._leave()
        session.transport = take_over(self._transport, session)
        session.transport.write(b"".join(greeting))
        if self._buffer:
            session.data_received(bytes(self._buffer))
        session.transport.resume_reading()

    # --- the end -------------------------------------------------------------------------

    def _refuse(self, error: ClientError) -> None:
        """Record why, send the one error, close."""
        if self._phase is Phase.CLOSED:
            return
        self._leave()
        metrics.inc(_REFUSED)
        metrics.inc(metrics.REFUSALS.slot(error.id))
        if isinstance(error, TokenInvalid):
            self._worker.floods.failed(self._address)
            metrics.inc(_TOKEN_EXPIRED if isinstance(error, TokenExpired) else _TOKEN_INVALID)
        screened = getattr(self, "_screened", None)
        try:
            self._worker.recorder.record(
                "session.refused",
                error=error.id,
                sqlstate=error.sqlstate,
                message=error.text(),
                reason=error.reason,
                client=self._client,
                tls=self._tls,
                target=screened.database if screened else "",
                principal=self._principal,
            )
        except AuditUnwritable:
            metrics.inc(metrics.JOURNAL_FULL.slot())
        self._transport.write(build_error(error))
        self._transport.close()

    def _leave(self) -> None:
        """This connection is no login in progress any more. Idempotent."""
        if self._phase is Phase.CLOSED and self._deadline is None:
            return
        self._phase = Phase.CLOSED
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._worker.floods.leave(self._address)


def _requested(user: str, principal: Principal) -> str:
    """The level this session is lowered to: by its user name, by its token, or not."""
    asked = {user, principal.only_level or ""} & _LEVELS
    return "read" if "read" in asked else "".join(asked)


def _no_grant(database: str, reason: str) -> NoGrantOnTarget:
    # The same words for a target that does not exist: its name is not this client's business.
    return NoGrantOnTarget(
        "this identity has no grant on the requested database",
        facts={"database": database},
        reason=reason,
    )
