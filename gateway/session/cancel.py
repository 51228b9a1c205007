"""Cancel requests: the kernel hands them to any worker, the key says to which it belongs.

A key is (worker, serial) in the process id and a random secret. A restarted worker knows none of
its predecessor's secrets, so an old key cancels nothing. The asker is never answered.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from gateway import metrics
from gateway.ipc import paths
from gateway.ipc.channel import Channel, ChannelError, ChannelServer, serve_channel

_SERIAL_BITS = 23
_SERIAL_MASK = (1 << _SERIAL_BITS) - 1
_WORKER_MASK = 0xFF
_FORWARD_TIMEOUT_S = 2.0
_SECRET_BYTES_3_0 = 4
_SECRET_BYTES_3_2 = 32
_FORWARDED = metrics.CANCELS.slot("forwarded")
_UNKNOWN = metrics.CANCELS.slot("unknown_key")


class Cancellable(Protocol):
    """A session that can be told to stop what it is doing."""

    def cancel_statement(self) -> None:
        """Cancel the running, waiting or held statement; no-op when there is none."""
        ...


class CancelDesk:
    """The keys of one worker's sessions, and the way to the other workers."""

    def __init__(self, data_dir: Path, worker_id: int) -> None:
        self._data_dir = data_dir
        self._worker_id = worker_id
        self._keys: dict[int, tuple[bytes, Cancellable]] = {}
        self._serial = secrets.randbelow(_SERIAL_MASK)
        self._server: ChannelServer | None = None
        self._channels: dict[int, Channel] = {}

    async def start(self) -> None:
        """Take keys that arrived at other workers."""
        self._server = await serve_channel(
            paths.worker_socket(self._data_dir, self._worker_id), self._serve
        )

    async def stop(self) -> None:
        """Close the socket and the channels. Idempotent."""
        for channel in self._channels.values():
            channel.close()
        if self._server is not None:
            await self._server.stop()

    def register(self, session: Cancellable, *, long_key: bool) -> tuple[int, bytes]:
        """Return a new key (process id, secret) for `session`; long keys are protocol 3.2's."""
        while True:
            self._serial = (self._serial + 1) & _SERIAL_MASK
            pid = (self._worker_id & _WORKER_MASK) << _SERIAL_BITS | self._serial
            if pid and pid not in self._keys:
                break
        secret = secrets.token_bytes(_SECRET_BYTES_3_2 if long_key else _SECRET_BYTES_3_0)
        self._keys[pid] = secret, session
        return pid, secret

    def unregister(self, pid: int) -> None:
        """Forget a key. Safe to call twice."""
        self._keys.pop(pid, None)

    async def cancel(self, pid: int, secret: bytes) -> None:
        """Act on a cancel request, here or at the worker that gave out the key."""
        worker = pid >> _SERIAL_BITS & _WORKER_MASK
        if worker == self._worker_id & _WORKER_MASK:
            self._cancel_here(pid, secret)
            return
        path = paths.worker_socket(self._data_dir, worker)
        if not path.exists():
            metrics.inc(_UNKNOWN)
            return
        channel = self._channels.setdefault(worker, Channel(path))
        try:
            await channel.request(
                {"op": "cancel", "pid": pid, "secret": secret.hex()}, _FORWARD_TIMEOUT_S
            )
        except ChannelError:
            metrics.inc(_UNKNOWN)

    async def _serve(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        self._cancel_here(int(message["pid"]), bytes.fromhex(message["secret"]))
        return {}

    def _cancel_here(self, pid: int, secret: bytes) -> None:
        known, session = self._keys.get(pid, (b"", None))
        # Compared in full even for an unknown key: the time must not tell the two apart.
        if hmac.compare_digest(known, secret) and session is not None:
            metrics.inc(_FORWARDED)
            session.cancel_statement()
        else:
            metrics.inc(_UNKNOWN)
