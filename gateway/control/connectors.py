"""All of the connectors' side of the control process, started and stopped as one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gateway.control.bridge import Bridge
from gateway.control.enrolment import Enrolment
from gateway.control.gate import Gate
from gateway.control.members import Members
from gateway.errors import UpstreamError
from gateway.identity.authority import Authority
from gateway.ipc import paths
from gateway.ipc.connector_wire import OWN_SLOT
from gateway.upstream.links import ConnectorLinks, send_revoked

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from gateway.clock import Clock
    from gateway.control.context import ControlContext
    from gateway.control.enrolment import Enrolled
    from gateway.control.members import Member
    from gateway.control.trail import Trail

REGISTER_FILE = "connectors.db"


class Connectors:
    """Join tokens, members, the gate and the sockets of their targets."""

    def __init__(self, context: ControlContext, trail: Trail, clock: Clock) -> None:
        config, data_dir = context.config, context.data_dir
        self._data_dir = data_dir
        self._workers = config.workers.count
        self._trail = trail
        self._authority = Authority(paths.connectors_dir(data_dir))
        self._enrolment = Enrolment(data_dir / REGISTER_FILE, clock)
        self.members = Members(config.targets)
        self._links = ConnectorLinks(data_dir, OWN_SLOT, self._ask)
        self._gate = Gate(
            data_dir,
            slots=config.workers.count,
            key_age_s=config.connectors.key_age_s,
            enrolment=self._enrolment,
            members=self.members,
            links=self._links,
            trail=trail,
        )
        self._bridges = [
            Bridge(target, self._links.open, self.members.cancel)
            for target in config.targets.values()
            if target.connector is not None
        ]
        self._running: asyncio.Task[None] | None = None

    async def start(self, sock: socket.socket) -> None:
        """Accept connectors on `sock`."""
        sock.listen(128)
        self._links.start()
        for bridge in self._bridges:
            await bridge.start()
        self._running = asyncio.get_running_loop().create_task(self._gate.run(sock), name="gate")

    async def stop(self) -> None:
        """Let go of every connector. Idempotent."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        for bridge in self._bridges:
            bridge.stop()
        self._links.stop()
        self._enrolment.close()

    async def open(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a worker's `connector.open`."""
        try:
            return await self.members.open(message)
        except UpstreamError as error:
            return {"refused": str(error)}

    async def _ask(self, message: dict[str, Any], timeout_s: float) -> Mapping[str, Any]:
        async with asyncio.timeout(timeout_s):
            return await self.open(message)

    async def invite(self, connector: str, by: str, ttl_s: float) -> str:
        """Return a one-time token with which one process may join as `connector`."""
        self._trail.record("connector.invited", connector=connector, by=by)
        token = await asyncio.to_thread(self._enrolment.invite, connector, by, ttl_s)
        return f"{token}.{self._authority.gateway_pin}"

    async def revoke(self, name: str, by: str) -> list[str]:
        """Put out one member, or all of a connector; returns their ids."""
        gone = await asyncio.to_thread(self._enrolment.revoke, name, by)
        for member_id in gone:
            self._trail.record("connector.revoked", member=member_id, connector=name, by=by)
            if (member := self.members.get(member_id)) is not None:
                self.members.remove(member)
            self._links.revoke(member_id)
            for slot in range(self._workers):
                send_revoked(self._data_dir, slot, member_id)
        return gone

    async def list(self) -> list[tuple[Enrolled, Member | None]]:
        """Return everybody who joined, with what is known of those that are connected."""
        known = await asyncio.to_thread(self._enrolment.members)
        return [(one, self.members.get(one.id)) for one in known]
