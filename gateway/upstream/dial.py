"""Open one authenticated connection to a target's server.

The connection is handed over paused, right after ReadyForQuery, with nothing buffered: the
caller sets its own protocol and resumes. Until then the server is a stranger: sizes and
counts are bounded, time is, and every surprise is an UpstreamError.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import ConfigError, UpstreamError, clean_text
from gateway.ipc.keepalive import keep_alive
from gateway.protocol import scram
from gateway.protocol.messages import (
    build_message,
    build_password,
    build_ssl_request,
    build_startup,
    parse_error,
)
from gateway.protocol.server_messages import (
    MessageReader,
    parse_authentication,
    parse_backend_key_data,
    parse_mechanisms,
    parse_parameter_status,
    parse_ready,
    refuse,
)
from gateway.upstream.startup import find_broken_pin
from gateway.upstream.tls import build_target_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Target

_MESSAGES_MAX = 500
_UNREAD_BYTES_MAX = 262_144
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DialedConnection:
    """A server connection that is ready, paused, and has an empty buffer."""

    transport: asyncio.Transport
    parameters: dict[str, str]  # ParameterStatus as reported at login
    backend_pid: int  # 0 when the server gave no cancel key
    cancel_secret: bytes  # empty likewise
    server_version: int  # as server_version_num, 150013; 0 when not reported


class ServerLink(asyncio.Protocol):
    """The byte stream of a handshake: one reader, bounded, paused when handed over."""

    def __init__(self) -> None:
        self.reader = MessageReader()
        self._wakeup: asyncio.Future[None] | None = None
        self._closed = False

    def data_received(self, data: bytes) -> None:
        """Keep `data` for the reader; a flood ends the connection."""
        self.reader.feed(data)
        if len(self.reader) > _UNREAD_BYTES_MAX:
            self._closed = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the reader find out."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def more(self) -> None:
        """Wait for bytes; raises UpstreamError when the server closed the connection."""
        if self._closed:
            raise UpstreamError("the server closed the connection")
        self._wakeup = asyncio.get_running_loop().create_future()
        await self._wakeup
        self._wakeup = None

    async def read_byte(self) -> bytes:
        """Return the one byte that answers SSLRequest."""
        while not len(self.reader):
            await self.more()
        return self.reader.take_byte()

    async def read_message(self) -> tuple[bytes, bytes]:
        """Return the next whole message."""
        while (message := self.reader.next()) is None:
            await self.more()
        return message

    async def read_end(self) -> None:
        """Wait until the server closes; what it says before does not matter."""
        while not self._closed:
            while len(self.reader):
                self.reader.take_byte()
            with contextlib.suppress(UpstreamError):
                await self.more()


async def dial(
    target: Target, secret: bytes, startup: Mapping[str, str], *, timeout_s: float
) -> DialedConnection:
    """Connect to `target`, log in with `startup`, and return the connection paused.

    `startup` comes from `build_server_startup`. Raises UpstreamError, whose text names the
    target and never holds the credential, and leaves nothing open then.
    """
    try:
        async with asyncio.timeout(timeout_s):
            link, transport = await connect(target)
            try:
                return await _Login(target, secret, link, transport).run(startup)
            except BaseException:
                transport.abort()
                raise
    except (TimeoutError, OSError, UpstreamError, ConfigError) as error:
        raise describe(error, target, secret, timeout_s) from error


async def connect(target: Target) -> tuple[ServerLink, asyncio.Transport]:
    """Open the stream to `target`, inside TLS when it asks for that."""
    loop = asyncio.get_running_loop()
    if target.host.startswith("/"):
        path = f"{target.host}/.s.PGSQL.{target.port}"
        unix_transport, link = await loop.create_unix_connection(ServerLink, path)
        return link, unix_transport
    context = build_target_context(target)
    transport, link = await loop.create_connection(ServerLink, target.host, target.port)
    try:
        _tune(transport)
        if context is not None:
            transport = await _start_tls(target, context, link, transport)
    except BaseException:
        transport.abort()
        raise
    return link, transport


def _tune(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_alive(sock)


async def _start_tls(
    target: Target, context: ssl.SSLContext, link: ServerLink, transport: asyncio.Transport
) -> asyncio.Transport:
    transport.write(build_ssl_request())
    answer = await link.read_byte()
    if answer == b"N":
        raise UpstreamError("the server does not offer TLS, which the target requires")
    # Bytes after the answer were sent before TLS, by whoever sits on the wire; the event
    # loop would keep them, so we must ask (CVE-2021-23222).
    if answer != b"S" or len(link.reader):
        refuse("the server answered the TLS request with something else")
    secured = await asyncio.get_running_loop().start_tls(
        transport, link, context, server_hostname=target.host
    )
    if secured is None:
        raise UpstreamError("the server closed the connection during the TLS handshake")
    return secured


class _Login:
    """One login, from the startup message to ReadyForQuery."""

    def __init__(
        self, target: Target, secret: bytes, link: ServerLink, transport: asyncio.Transport
    ) -> None:
        self._target = target
        self._secret = secret
        self._link = link
        self._transport = transport
        self._messages = 0
        self._parameters: dict[str, str] = {}
        self._backend_pid = 0
        self._cancel_secret = b""

    async def run(self, startup: Mapping[str, str]) -> DialedConnection:
        self._transport.write(build_startup(startup))
        await self._authenticate()
        await self._become_ready()
        if self._transport.is_closing():
            raise UpstreamError("the server closed the connection")
        broken = find_broken_pin(startup, self._parameters)
        if broken is not None:
            raise UpstreamError(f"the server does not take the setting {broken}", sqlstate="08P01")
        return DialedConnection(
            transport=self._transport,
            parameters=self._parameters,
            backend_pid=self._backend_pid,
            cancel_secret=self._cancel_secret,
            server_version=_version_number(self._parameters.get("server_version", "")),
        )

    async def _next(self) -> tuple[bytes, bytes]:
        """Return the next message that is a reply; notices and settings come at any time."""
        while True:
            kind, payload = await self._link.read_message()
            self._messages += 1
            if self._messages > _MESSAGES_MAX:
                refuse("the server sent too many messages before it was ready")
            if kind == b"E":
                fields = parse_error(payload)
                raise _refused_login(fields)
            if kind == b"S":
                name, value = parse_parameter_status(payload)
                self._parameters[name] = value
            elif kind != b"N":
                return kind, payload

    async def _authenticate(self) -> None:
        answered = False
        while True:
            code, data = await self._authentication()
            if code == 0:
                return
            if answered:
                refuse("the server asked for a second authentication")
            answered = True
            await self._answer(code, data)

    async def _authentication(self) -> tuple[int, bytes]:
        kind, payload = await self._next()
        if kind == b"v":
            refuse("the server does not speak protocol 3.0")
        if kind != b"R":
            refuse("the server sent something else than an authentication request")
        return parse_authentication(payload)

    async def _answer(self, code: int, data: bytes) -> None:
        if code not in {3, 5, 10}:
            raise UpstreamError(f"the server asks for authentication method {code}, not supported")
        if not self._secret:
            raise UpstreamError("the server asks for a password and the target has no credential")
        if code == 3:
            self._refuse_in_the_clear()
            self._transport.write(build_password(self._secret))
        elif code == 5:
            response = scram.build_md5_response(self._target.user, self._secret, data)
            self._transport.write(build_password(response))
        else:
            await self._answer_scram(data)

    def _refuse_in_the_clear(self) -> None:
        host = self._target.host
        encrypted = self._transport.get_extra_info("ssl_object") is not None
        # Otherwise whoever answers in the server's place would be told the password.
        if not (encrypted or host.startswith("/") or _LOOPBACK.fullmatch(host)):
            raise UpstreamError("the server asks for the password in clear text without TLS")

    async def _answer_scram(self, data: bytes) -> None:
        if scram.MECHANISM not in parse_mechanisms(data):
            raise UpstreamError("the server offers no SASL mechanism that is supported")
        client = scram.ScramClient(self._secret)
        first = client.first()
        head = scram.MECHANISM.encode() + b"\0" + len(first).to_bytes(4, "big")
        self._transport.write(build_message(b"p", head + first))
        code, challenge = await self._authentication()
        if code != 11:
            refuse("the server broke off the SCRAM exchange")
        # Milliseconds of hashing, chosen by the server: not on the event loop.
        final = await asyncio.to_thread(client.final, challenge)
        self._transport.write(build_message(b"p", final))
        code, outcome = await self._authentication()
        if code != 12:
            refuse("the server broke off the SCRAM exchange")
        client.verify(outcome)

    async def _become_ready(self) -> None:
        while True:
            kind, payload = await self._next()
            if kind == b"K":
                self._backend_pid, self._cancel_secret = parse_backend_key_data(payload)
            elif kind == b"Z":
                if parse_ready(payload) != b"I":
                    refuse("the server is not idle after login")
                break
            else:
                refuse("the server sent an unexpected message after login")
        self._transport.pause_reading()
        # What follows ReadyForQuery in the same read would be lost with our buffer. Only
        # asynchronous messages may; nobody has asked the server for anything yet.
        while len(self._link.reader):
            message = self._link.reader.next()
            if message is None or message[0] not in {b"N", b"S"}:
                refuse("the server sent more than it was asked for")
            if message[0] == b"S":
                name, value = parse_parameter_status(message[1])
                self._parameters[name] = value


def _refused_login(fields: Mapping[str, str]) -> UpstreamError:
    # Any field may be missing or nonsense.
    sqlstate = fields.get("C", "")
    return UpstreamError(
        f"the server refused the login: {fields.get('M', 'no message')}",
        sqlstate=sqlstate if re.fullmatch(r"[0-9A-Z]{5}", sqlstate) else "08006",
    )


def _version_number(text: str) -> int:
    found = re.match(r"(\d{1,3})(?:\.(\d{1,4}))?", text)
    return int(found[1]) * 10_000 + int(found[2] or 0) if found else 0


def describe(error: Exception, target: Target, secret: bytes, timeout_s: float) -> UpstreamError:
    """Return the UpstreamError that says for an operator what went wrong with `target`."""
    sqlstate = "08006"
    if isinstance(error, UpstreamError):
        text, sqlstate = str(error), error.sqlstate
    elif isinstance(error, ssl.SSLCertVerificationError):
        text = f"the server's certificate is not accepted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        text = f"TLS failed: {error.reason or 'handshake'}"
    elif isinstance(error, TimeoutError):
        text = f"no answer within {timeout_s:g} s"
    elif isinstance(error, ConfigError):
        text = error.message
    elif isinstance(error, OSError):
        # asyncio words its own OSErrors after its internals; the number says what happened.
        number = error.errno or 0
        text = os.strerror(number) if number > 0 else error.strerror or str(error)
    else:
        text = str(error)
    if secret:
        # A hostile server may echo what it was sent.
        text = text.replace(secret.decode(errors="replace"), "***")
    where = f"{target.host}:{target.port}"
    return UpstreamError(clean_text(f"target {target.name!r} ({where}): {text}"), sqlstate=sqlstate)
