"""Has every new request looked at by an analyzer, which asks the database what it would do.

Beside the request's own life: a preview that is late, or never comes, holds up nobody, unless the
guard bounds the run by it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from gateway.approvals.background import Preview
from gateway.errors import ClientError, GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.approvals.desk import ApprovalDesk
    from gateway.approvals.model import Approval

QUEUE_MAX = 200
AT_ONCE = 2
ANSWER_S = 12.0

log = logging.getLogger(__name__)


class Analyzing(Protocol):
    """What is needed of `gateway.ipc.analyzer_client.AnalyzerClient`."""

    async def preview(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a statement would do; raises ClientError or ChannelError."""
        ...


class Foresight:
    """Asks for previews of what is filed, a few at a time."""

    def __init__(self, desk: ApprovalDesk, analyzers: Analyzing) -> None:
        self._desk = desk
        self._analyzers = analyzers
        self._queue: asyncio.Queue[Approval] = asyncio.Queue(QUEUE_MAX)
        desk.on_filed = self.take

    def take(self, approval: Approval) -> None:
        """Queue a new request; when there is no room, it goes without a preview."""
        if not self._queue.full():
            self._queue.put_nowait(approval)

    async def run(self) -> None:
        """Answer what is queued until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(AT_ONCE):
                tasks.create_task(self._work(), name=f"preview-{number}")

    async def _work(self) -> None:
        while True:
            approval = await self._queue.get()
            try:
                await self._look(approval)
            except GatewayError as error:
                log.warning("no preview of approval %s: %s", approval.id, error)

    async def _look(self, approval: Approval) -> None:
        request = approval.request
        asked = request.to_wire() | {"dry_run": request.terms.dry_run_count}
        try:
            preview = Preview.from_wire(await self._analyzers.preview(asked))
        except ClientError as error:
            preview = Preview(problem=error.message)
        except GatewayError:
            preview = Preview(problem="the database could not be asked")
        await self._desk.note_preview(approval.id, preview)
