"""Apply the active policy's `retention.audit`: whole segments past their age go, with a proof.

The control process does it because it knows the active policy and never stands in the way of a
statement. A hold keeps what it covers, whoever asks.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gateway.audit.retention import plan_purge, purge
from gateway.errors import AuditUnwritable, GatewayError
from gateway.policy.bundle import Bundle

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.clock import Clock

LOOK_S: Final = 600.0

log = logging.getLogger(__name__)


class RetentionKeeper:
    """One per control process; `run` is a task of its own."""

    def __init__(
        self, data_dir: Path, policy: Path, clock: Clock, *, look_s: float = LOOK_S
    ) -> None:
        self._data_dir, self._policy = data_dir, policy
        self._clock, self._look_s = clock, look_s

    async def run(self) -> None:
        """Look now and then every ten minutes, until cancelled."""
        while True:
            try:
                gone = await asyncio.to_thread(self.apply)
            except BlockingIOError:
                log.info("another purge or hold is at work; retention waits")
            except (OSError, ValueError, GatewayError) as error:
                log.error("retention is not applied: %s", error)  # noqa: TRY400  one line
            else:
                if gone:
                    log.info("retention deleted %d audit segments", gone)
            await asyncio.sleep(self._look_s)

    def apply(self) -> int:
        """Delete what the active policy lets go of; how many segments that was.

        Without a readable policy, and without `retention.audit` in it, nothing is deleted. Raises
        OSError, ValueError for holds or a policy that cannot be read, BlockingIOError.
        """
        try:
            bundle = Bundle.from_json(self._policy.read_bytes())
        except FileNotFoundError:
            return 0
        kept_s = bundle.policy.retention.audit
        if kept_s is None:
            return 0
        now_us = int(self._clock.wall() * 1e6)
        plan = plan_purge(self._data_dir, before_us=now_us - int(kept_s * 1e6))
        if plan.delete:
            rule = f"policy {bundle.digest[:16]}: retention.audit {kept_s / 86_400:g}d"
            try:
                purge(self._data_dir, plan, rule=rule, by="retention", now_us=now_us)
            except AuditUnwritable as error:
                log.warning("retention waits, its record cannot be written: %s", error)
                return 0
        return len(plan.delete)
