"""Keeps the key sets of issuers fresh for every process of the gateway.

Only this process fetches. Workers read the files when the KEYS epoch moves, and may ask for one
fetch when a token names a key nobody knows: such a token costs an issuer at most one request in
`JWKS_REFRESH_ON_UNKNOWN_S`, however many of them arrive.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway import metrics
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import GatewayError
from gateway.ipc.epochs import KEYS
from gateway.limits import JWKS_REFRESH_ON_UNKNOWN_S, JWKS_REFRESH_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from gateway.config import Issuer
    from gateway.ipc.epochs import Epochs

_OK = metrics.KEY_REFRESHES.slot("ok")
_FAILED = metrics.KEY_REFRESHES.slot("failed")

log = logging.getLogger(__name__)


def has_discovery(issuer: Issuer) -> bool:
    """Tell whether the keys of `issuer` come over the network."""
    return issuer.kind == "oidc" and issuer.jwks_file is None


class KeyKeeper:
    """Fetches key sets on start, periodically and, within a rate, when asked."""

    def __init__(
        self,
        issuers: Iterable[Issuer],
        fetch: Callable[[Issuer], Awaitable[None]],
        epochs: Epochs,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._issuers = {issuer.id: issuer for issuer in issuers if has_discovery(issuer)}
        self._fetch = fetch
        self._epochs = epochs
        self._clock = clock
        self._asked: dict[str, float] = {}
        self._locks = {issuer_id: asyncio.Lock() for issuer_id in self._issuers}
        self.failures: dict[str, str] = {}

    async def run(self) -> None:
        """Fetch every key set now and then every JWKS_REFRESH_S, until cancelled."""
        while True:
            async with asyncio.TaskGroup() as tasks:
                for issuer_id in self._issuers:
                    tasks.create_task(self._refresh(issuer_id), name=f"keys-{issuer_id}")
            await asyncio.sleep(JWKS_REFRESH_S)

    async def refresh_now(self, issuer_id: str) -> bool:
        """Fetch because a key was missing; False when it was just done, or did not work.

        Who asks while a fetch is under way waits for that one.
        """
        if issuer_id not in self._issuers:
            return False
        lock = self._locks[issuer_id]
        if lock.locked():
            async with lock:
                return issuer_id not in self.failures
        now = self._clock.monotonic()
        if now - self._asked.get(issuer_id, -JWKS_REFRESH_ON_UNKNOWN_S) < JWKS_REFRESH_ON_UNKNOWN_S:
            return False
        self._asked[issuer_id] = now
        return await self._refresh(issuer_id)

    async def _refresh(self, issuer_id: str) -> bool:
        async with self._locks[issuer_id]:
            try:
                await self._fetch(self._issuers[issuer_id])
            except (GatewayError, OSError, ValueError) as exc:
                # The old keys stay in use; how long is the verifier's bound, not ours.
                self.failures[issuer_id] = str(exc)
                metrics.inc(_FAILED)
                log.warning("keys of issuer %s could not be fetched: %s", issuer_id, exc)
                return False
            self.failures.pop(issuer_id, None)
            metrics.inc(_OK)
            self._epochs.bump(KEYS)
            return True
