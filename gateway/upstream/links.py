"""Server connections through connectors: asked for over control, they arrive as descriptors.

A connector's data connection reaches the gateway's one gate, which hands the socket on before
TLS. Here it becomes a server connection only if the TLS peer is a connector of this gateway, it
brings a ticket this process gave out, and it is the connector that control gave the ticket to.
"""

from __future__ import annotations

import array
import asyncio
import re
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from gateway.errors import UpstreamError, clean_text
from gateway.identity.authority import Authority, peer_of
from gateway.ipc import paths
from gateway.ipc.channel import ChannelError, unix_address
from gateway.ipc.connector_wire import tune
from gateway.limits import CONNECTOR_GREETING_S, DIAL_TIMEOUT_S
from gateway.logs import get_logger
from gateway.protocol.messages import build_message
from gateway.protocol.server_messages import refuse
from gateway.upstream.dial import DialedConnection, ServerLink
from gateway.upstream.startup import build_server_startup, find_broken_pin

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import Target
    from gateway.policy.profile import Level

Ask = Callable[[dict[str, Any], float], Awaitable[Mapping[str, Any]]]

_ARRIVALS_MAX = 64  # connections that have not shown a ticket yet
_DATAGRAM_BYTES_MAX = 4_096
_PARAMETERS_MAX = 64

log = get_logger("links")


@dataclass(slots=True)
class _Arrived:
    connector: str
    dialed: DialedConnection


@dataclass(slots=True)
class _Streams:
    """Open transports by connector, so that a revoked one's can be ended."""

    by_connector: dict[str, list[asyncio.Transport]] = field(default_factory=dict)

    def add(self, connector: str, transport: asyncio.Transport) -> None:
        # uvloop's transports take no weak reference, so the closed ones are dropped here.
        others = self.by_connector.get(connector, [])
        kept = [one for one in others if not one.is_closing()]
        self.by_connector[connector] = [*kept, transport]

    def abort(self, connector: str) -> None:
        for transport in self.by_connector.pop(connector, ()):
            transport.abort()


class ConnectorLinks:
    """Opens server connections through connectors, for one process."""

    def __init__(self, data_dir: Path, slot: int, ask: Ask) -> None:
        self._path = paths.link_socket(data_dir, slot)
        self._authority = Authority(paths.connectors_dir(data_dir))
        self._slot = slot
        self._ask = ask
        self._socket: socket.socket | None = None
        self._context: ssl.SSLContext | None = None
        self._tickets: dict[str, asyncio.Future[_Arrived]] = {}
        self._arrivals: set[asyncio.Task[None]] = set()
        self._streams = _Streams()

    def start(self) -> None:
        """Take what the gate hands over from now on."""
        self._context = self._authority.server_context(require=True)
        self._path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.setblocking(False)
        with unix_address(self._path) as address:
            sock.bind(address)
        self._path.chmod(0o600)
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._on_datagram)

    def stop(self) -> None:
        """Close the socket; open streams stay their holders'. Idempotent."""
        sock, self._socket = self._socket, None
        if sock is not None:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
            self._path.unlink(missing_ok=True)
        for task in tuple(self._arrivals):
            task.cancel()

    async def open(self, target: Target, level: Level) -> DialedConnection:
        """Return a new connection to `target`, paused; raises UpstreamError."""
        ticket = secrets.token_hex(16)
        arrived: asyncio.Future[_Arrived] = asyncio.get_running_loop().create_future()
        self._tickets[ticket] = arrived
        asked = {
            "op": "connector.open",
            "target": target.name,
            "level": level,
            "ticket": ticket,
            "slot": self._slot,
        }
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                answer = await self._ask(asked, DIAL_TIMEOUT_S)
                if "connector" not in answer:
                    raise _error(target, str(answer.get("refused", "no answer")))
                found = await arrived
            self._check(target, level, found, answer["connector"])
        except (TimeoutError, ChannelError) as error:
            _drop(arrived)
            raise _error(target, f"no connection from a connector: {error}") from error
        except BaseException:
            _drop(arrived)
            raise
        finally:
            del self._tickets[ticket]
        self._streams.add(found.connector, found.dialed.transport)
        found.dialed.transport.write(build_message(b"G", b""))
        return found.dialed

    def _check(self, target: Target, level: Level, found: _Arrived, chosen: object) -> None:
        if found.connector != chosen:
            raise _error(target, "another connector answered than was asked")
        broken = find_broken_pin(build_server_startup(target, level), found.dialed.parameters)
        if broken is not None:
            raise _error(target, f"the server does not take the setting {broken}")
        if found.dialed.transport.is_closing():
            raise _error(target, "the connector closed the connection")

    def _on_datagram(self) -> None:
        assert self._socket is not None
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(
                    _DATAGRAM_BYTES_MAX, socket.CMSG_SPACE(array.array("i").itemsize)
                )
            except (BlockingIOError, InterruptedError):
                return
            descriptors = array.array("i")
            for level, kind, payload in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    descriptors.frombytes(payload[: len(payload) - len(payload) % 4])
            for descriptor in descriptors:
                self.take(socket.socket(fileno=descriptor))
            if not descriptors and data:
                self.revoke(str(orjson.loads(data).get("revoked", "")))

    def revoke(self, connector: str) -> None:
        """End every stream of a connector that is out."""
        self._streams.abort(connector)

    def take(self, sock: socket.socket) -> None:
        """Look at a connection that the gate took; anyone may have opened it."""
        sock.setblocking(False)
        if not self._tickets or len(self._arrivals) >= _ARRIVALS_MAX:
            sock.close()
            return
        task = asyncio.get_running_loop().create_task(self._arrive(sock), name="link-arrives")
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)

    async def _arrive(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        transport: asyncio.Transport | None = None
        link = ServerLink()
        is_taken = False
        try:
            tune(sock)
            async with asyncio.timeout(CONNECTOR_GREETING_S):
                transport, _ = await loop.connect_accepted_socket(
                    lambda: link, sock, ssl=self._context
                )
                peer = peer_of(transport.get_extra_info("ssl_object"))
                kind, payload = await link.read_message()
            if peer is None or kind != b"H":
                raise UpstreamError("not a connector's data connection")
            is_taken = self._settle(peer[0], transport, link, orjson.loads(payload))
        except (OSError, TimeoutError, UpstreamError, ValueError, TypeError, KeyError) as error:
            log.warning("a data connection was refused: %s", clean_text(repr(error), 200))
        finally:
            if not is_taken:
                if transport is not None:
                    transport.abort()
                else:
                    sock.close()

    def _settle(
        self, connector: str, transport: asyncio.Transport, link: ServerLink, hello: Any
    ) -> bool:
        """Give the connection to who asked for it; False when nobody did."""
        arrived = self._tickets.get(str(hello["ticket"]))
        if arrived is None or arrived.done():
            log.warning("connector %s brought a ticket that is not open", connector)
            return False
        transport.pause_reading()
        if len(link.reader):
            refuse("the connector sent more than it was asked for")
        dialed = DialedConnection(
            transport=transport,
            parameters=_parameters(hello["parameters"]),
            backend_pid=int(hello["pid"]),
            cancel_secret=bytes.fromhex(hello["cancel"]),
            server_version=int(hello["version"]),
        )
        arrived.set_result(_Arrived(connector, dialed))
        return True


_PARAMETER_NAME = re.compile(r"[A-Za-z_.]{1,64}", re.ASCII)


def _parameters(told: Any) -> dict[str, str]:
    if not isinstance(told, dict) or len(told) > _PARAMETERS_MAX:
        refuse("the connector told no parameters")
    for name, value in told.items():
        if not _PARAMETER_NAME.fullmatch(name) or not isinstance(value, str) or "\0" in value:
            refuse("the connector told a malformed parameter")
    return dict(told)


def _drop(arrived: asyncio.Future[_Arrived]) -> None:
    if arrived.done() and not arrived.cancelled():
        arrived.result().dialed.transport.abort()


def _error(target: Target, text: str) -> UpstreamError:
    where = f"target {target.name!r} (connector {target.connector!r})"
    return UpstreamError(clean_text(f"{where}: {text}"))


def send_descriptor(data_dir: Path, slot: int, sock: socket.socket) -> bool:
    """Hand `sock` to the process at `slot`; False when it takes none. Closes our own copy."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]).tobytes())]
    with sock:
        return _send(data_dir, slot, b"{}", rights)


def send_revoked(data_dir: Path, slot: int, connector: str) -> bool:
    """Tell the process at `slot` that `connector` is out."""
    return _send(data_dir, slot, orjson.dumps({"revoked": connector}), [])


def _send(data_dir: Path, slot: int, data: bytes, rights: list[tuple[int, int, bytes]]) -> bool:
    path = paths.link_socket(data_dir, slot)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.setblocking(False)
        with unix_address(path) as address:
            sender.sendmsg([data], rights, 0, address)
        return True
    return False
