"""The gate connectors dial: looks at the first bytes, hands data on, talks TLS for control.

Anyone may knock. Until a peer has proved a key or a join token it costs one of a bounded number
of places and a few seconds, and gets no word back that would help it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gateway import metrics
from gateway.control.enrolment import NotEnrolled
from gateway.control.members import Member
from gateway.errors import AuditUnwritable, GatewayError, clean_text
from gateway.identity.authority import Authority, RequestRefused, peer_of
from gateway.ipc.connector_wire import (
    GREETING_SIZE,
    OWN_SLOT,
    PROTOCOL_VERSION,
    WireError,
    parse_greeting,
    read_frame,
    tune,
    write_frame,
)
from gateway.limits import (
    CONNECTOR_BEAT_S,
    CONNECTOR_FRAME_BYTES_MAX,
    CONNECTOR_GREETING_S,
    CONNECTOR_GREETINGS_MAX,
    CONNECTOR_LOST_S,
)
from gateway.logs import get_logger
from gateway.upstream.links import ConnectorLinks, send_descriptor

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.control.enrolment import Enrolment
    from gateway.control.members import Members
    from gateway.control.trail import Trail

_REFUSALS_BURST = 50  # records of strangers; more of them within a minute are only counted
_REFUSALS_S = 60.0
_REFUSED = metrics.CONNECTOR_REFUSED.slot()
_NO = "refused"  # all that a stranger is told

log = get_logger("gate")


class Gate:
    """Accepts connectors on one listening socket."""

    def __init__(
        self,
        data_dir: Path,
        *,
        slots: int,
        key_age_s: float,
        enrolment: Enrolment,
        members: Members,
        links: ConnectorLinks,
        trail: Trail,
    ) -> None:
        self._data_dir = data_dir
        self._slots = slots
        self._key_age_s = key_age_s
        self._authority = Authority(data_dir / "connectors")
        self._context = self._authority.server_context(require=False)
        self._enrolment = enrolment
        self._members = members
        self._links = links
        self._trail = trail
        self._greetings = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusals: tuple[float, int] = (0.0, 0)

    async def run(self, sock: socket.socket) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    peer, address = await loop.sock_accept(sock)
                except OSError as error:
                    log.warning("accept: %s", error)  # out of descriptors, most likely
                    await asyncio.sleep(0.1)
                    continue
                if self._greetings >= CONNECTOR_GREETINGS_MAX:
                    peer.close()
                    continue
                self._greetings += 1
                task = asyncio.get_running_loop().create_task(
                    self._greet(peer, _text(address)), name="gate-greets"
                )
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in tuple(self._tasks):
                task.cancel()

    async def _greet(self, sock: socket.socket, client: str) -> None:
        is_greeting = True
        try:
            tune(sock)
            slot = parse_greeting(await _receive(sock))
            if slot is not None:
                self._hand_on(sock, slot)
                return
            stream = await self._secure(sock)
            peer = peer_of(stream[1].get_extra_info("ssl_object"))
            async with asyncio.timeout(CONNECTOR_GREETING_S):
                hello = await read_frame(stream[0])
            self._greetings -= 1
            is_greeting = False
            try:
                await self._talk(stream, client, peer, hello)
            finally:
                stream[1].close()
        except NotEnrolled as error:
            self._refuse(client, str(error), connector=error.connector, member=error.member)
        except (OSError, TimeoutError, GatewayError) as error:
            self._refuse(client, _reason(error))
        finally:
            if is_greeting:
                self._greetings -= 1

    def _hand_on(self, sock: socket.socket, slot: int) -> None:
        if slot == OWN_SLOT:
            self._links.take(sock)
        elif slot < self._slots:
            send_descriptor(self._data_dir, slot, sock)
        else:
            sock.close()

    async def _secure(
        self, sock: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=CONNECTOR_FRAME_BYTES_MAX)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                sock,
                ssl=self._context,
                ssl_handshake_timeout=CONNECTOR_GREETING_S,
            )
        except BaseException:
            sock.close()
            raise
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _talk(
        self,
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        client: str,
        peer: tuple[str, str] | None,
        hello: dict[str, Any],
    ) -> None:
        reader, writer = stream
        try:
            if hello.get("op") == "join":
                await self._join(writer, client, hello)
            elif peer is not None and hello.get("op") == "register":
                await self._register(reader, writer, client, peer, hello)
            else:
                raise WireError("neither a join nor a key")
        except GatewayError:
            write_frame(writer, {"error": _NO})
            with suppress(OSError):
                await writer.drain()
            raise

    async def _join(self, writer: asyncio.StreamWriter, client: str, hello: dict[str, Any]) -> None:
        token, request = hello.get("token"), hello.get("request")
        if not isinstance(token, str) or not isinstance(request, str):
            raise WireError("a malformed join")
        connector, member = await asyncio.to_thread(self._enrolment.spend, token, client)
        issued = await asyncio.to_thread(
            self._authority.issue, request.encode(), member, self._key_age_s
        )
        self._trail.record("connector.joined", connector=connector, member=member, client=client)
        await asyncio.to_thread(self._enrolment.add, member, connector, issued.serial, client)
        log.info("%s joined from %s", member, client)
        authority = self._authority.certificate_file.read_text()
        write_frame(
            writer,
            {
                "ok": True, "member": member, "authority": authority,
                "certificate": issued.certificate.decode(), "not_after": issued.not_after,
            },
        )  # fmt: skip
        await writer.drain()

    async def _register(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: str,
        peer: tuple[str, str],
        hello: dict[str, Any],
    ) -> None:
        member_id, serial = peer
        connector = await asyncio.to_thread(self._enrolment.admit, member_id, serial)
        if hello.get("protocol") != PROTOCOL_VERSION:
            raise NotEnrolled("it speaks another version", connector=connector, member=member_id)
        try:
            targets = self._members.judge(connector, hello.get("targets"))
        except WireError as error:
            raise NotEnrolled(str(error), connector=connector, member=member_id) from error
        version = clean_text(str(hello.get("version", "")), 40)
        member = Member(member_id, connector, client, version, writer, targets)
        about = {"connector": connector, "member": member_id, "client": client}
        self._trail.record("connector.connected", **about, version=version, targets=sorted(targets))
        write_frame(writer, {"ok": True, "beat_s": CONNECTOR_BEAT_S})
        self._members.add(member)
        log.info("%s connected from %s", member_id, client)
        reason = ""
        try:
            await self._serve(reader, member)
        except (WireError, TimeoutError) as error:
            reason = str(error) or "it was not heard of for too long"
        finally:
            self._members.remove(member)
            self._trail.record("connector.lost", **about, reason=reason)
            log.warning("%s is gone: %s", member_id, reason)

    async def _serve(self, reader: asyncio.StreamReader, member: Member) -> None:
        while True:
            async with asyncio.timeout(CONNECTOR_LOST_S):
                frame = await read_frame(reader)
            if frame.get("op") == "renew":
                await self._renew(member, frame)
            else:
                member.take(frame)
                self._members.count()

    async def _renew(self, member: Member, frame: dict[str, Any]) -> None:
        try:
            issued = await asyncio.to_thread(
                self._authority.issue,
                str(frame.get("request")).encode(),
                member.id,
                self._key_age_s,
            )
        except RequestRefused as error:
            raise WireError(str(error)) from error
        await asyncio.to_thread(self._enrolment.renew, member.id, issued.serial)
        self._trail.record(
            "connector.renewed",
            connector=member.connector,
            member=member.id,
            client=member.client,
        )
        answer = {"certificate": issued.certificate.decode(), "not_after": issued.not_after}
        write_frame(member.writer, {"op": "renewed", **answer})

    def _refuse(self, client: str, reason: str, *, connector: str = "", member: str = "") -> None:
        metrics.inc(_REFUSED)
        log.warning("connection from %s refused: %s", client, reason)
        since, count = self._refusals
        now = time.monotonic()
        if now - since > _REFUSALS_S:
            since, count = now, 0
        self._refusals = since, count + 1
        # A stranger must not fill the trail; whoever holds a key or a token is always recorded.
        if count >= _REFUSALS_BURST and not (connector or member):
            return
        with suppress(AuditUnwritable):
            self._trail.record(
                "security.connector",
                client=client,
                reason=reason,
                connector=connector,
                member=member,
            )


async def _receive(sock: socket.socket) -> bytes:
    """Return the greeting; closes the socket when it does not come."""
    loop = asyncio.get_running_loop()
    data = b""
    try:
        async with asyncio.timeout(CONNECTOR_GREETING_S):
            while len(data) < GREETING_SIZE:
                part = await loop.sock_recv(sock, GREETING_SIZE - len(data))
                if not part:
                    raise WireError("closed before the greeting")
                data += part
        parse_greeting(data)
    except BaseException:
        sock.close()
        raise
    return data


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'handshake'}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return clean_text(str(error) or type(error).__name__, 200)


def _text(address: Any) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "socket"
