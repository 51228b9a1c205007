"""The data connections of one connector: opened on request, spliced, counted, cancelled."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from gateway.errors import UpstreamError, clean_text
from gateway.ipc.connector_wire import splice
from gateway.limits import CANCEL_TIMEOUT_S, CONNECTOR_GREETING_S
from gateway.protocol.messages import build_message
from gateway.upstream.cancel import send_cancel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.connector.spares import Spares
    from gateway.connector.trail import ConnectorTrail
    from gateway.connector.veto import Veto
    from gateway.upstream.dial import DialedConnection, ServerLink

# Opens a TLS connection to the gateway for worker `slot`.
DialData = Callable[[int], Awaitable[tuple["ServerLink", asyncio.Transport]]]


@dataclass(slots=True)
class _Stream:
    target: str
    role: str
    dialed: DialedConnection
    opened_at: float


class Streams:
    """All streams of one gateway."""

    def __init__(
        self,
        gateway: str,
        *,
        spares: Mapping[str, Spares],
        veto: Veto,
        trail: ConnectorTrail,
        dial_data: DialData,
    ) -> None:
        self._gateway = gateway
        self._spares = spares
        self._veto = veto
        self._trail = trail
        self._dial_data = dial_data
        self._streams: dict[tuple[int, str], _Stream] = {}
        self._counts: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """Streams that are open."""
        return len(self._streams)

    async def open(self, asked: Mapping[str, Any], unfit: Mapping[str, str]) -> dict[str, Any]:
        """Open what a gateway asked for and return the answer; raises UpstreamError.

        `unfit` says which targets are not served now, and why.
        """
        name, role = str(asked.get("target")), str(asked.get("role"))
        reason = self._veto.judge(asked, self._counts) or unfit.get(name, "")
        about = {
            "gateway": self._gateway, "target": clean_text(name, 64),
            "role": clean_text(role, 64), "slot": asked.get("slot"),
        }  # fmt: skip
        if reason:
            self._trail.record("refused", **about, reason=reason)
            raise UpstreamError(f"refused: {reason}")
        self._counts[name] += 1
        try:
            dialed = await self._spares[name].take(asked["level"])
            try:
                self._trail.record("opened", **about, pid=dialed.backend_pid)
                link, transport = await self._dial_data(int(asked["slot"]))
            except BaseException:
                dialed.transport.abort()
                raise
        except BaseException:
            self._counts[name] -= 1
            raise
        # What goes over is a handle that only works here; the server's key stays.
        handle = secrets.token_bytes(4)
        transport.write(_hello(str(asked["ticket"]), dialed, handle))
        stream = _Stream(name, role, dialed, time.monotonic())
        self._streams[dialed.backend_pid, handle.hex()] = stream
        task = asyncio.get_running_loop().create_task(
            self._carry(handle.hex(), stream, link, transport), name=f"stream-{name}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {"pid": dialed.backend_pid, "cancel": handle.hex()}

    async def cancel(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Cancel what one of our streams runs; raises UpstreamError."""
        stream = self._streams.get((int(asked["pid"]), str(asked["cancel"])))
        if stream is None or stream.target != asked.get("target"):
            raise UpstreamError("no such stream")
        dialed = stream.dialed
        self._trail.record(
            "cancelled", gateway=self._gateway, target=stream.target, pid=dialed.backend_pid
        )
        await send_cancel(
            self._spares[stream.target].target,
            dialed.backend_pid,
            dialed.cancel_secret,
            timeout_s=CANCEL_TIMEOUT_S,
        )
        return {}

    def close(self) -> None:
        """End every stream. Idempotent."""
        for task in tuple(self._tasks):
            task.cancel()

    async def _carry(
        self, handle: str, stream: _Stream, link: ServerLink, transport: asyncio.Transport
    ) -> None:
        server = stream.dialed.transport
        sent = received = 0
        try:
            async with asyncio.timeout(CONNECTOR_GREETING_S):
                kind, _ = await link.read_message()
            if kind != b"G":
                return
            transport.pause_reading()
            # The gateway may have sent its first statement right behind.
            early = link.reader.take_rest()
            server.write(early)
            to_server, to_gateway = splice(transport, server)
            await to_server.ended
            sent, received = to_gateway.bytes_in, to_server.bytes_in + len(early)
        except (TimeoutError, UpstreamError):
            pass  # the gateway did not want it after all; said in the line below by its bytes
        finally:
            transport.close()
            server.close()
            del self._streams[stream.dialed.backend_pid, handle]
            self._counts[stream.target] -= 1
            self._trail.record(
                "closed",
                gateway=self._gateway,
                target=stream.target,
                role=stream.role,
                pid=stream.dialed.backend_pid,
                bytes_from_server=sent,
                bytes_to_server=received,
                duration_s=round(time.monotonic() - stream.opened_at, 3),
            )


def _hello(ticket: str, dialed: DialedConnection, handle: bytes) -> bytes:
    told = {
        "ticket": ticket,
        "parameters": dialed.parameters,
        "pid": dialed.backend_pid,
        "cancel": handle.hex(),
        "version": dialed.server_version,
    }
    return build_message(b"H", orjson.dumps(told))
