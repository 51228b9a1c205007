"""The approval desk: the store behind an event loop, with people and workers waiting at it.

One thread runs the store, so its transactions are serial and the loop never waits for a disk.
Whoever waits for a decision registers before looking, so no decision falls between the two.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import apsw

from gateway.approvals.background import read_background, save_preview
from gateway.approvals.bounds import STORE_QUEUE_MAX, WAIT_S_MAX, WAITERS_MAX
from gateway.approvals.changes import Changes
from gateway.approvals.refusal import Refusal, RefusalCode
from gateway.approvals.rules import Person, is_requester, require_may_decide
from gateway.approvals.states import ApprovalState
from gateway.approvals.store import ApprovalStore, Move
from gateway.clock import SYSTEM_CLOCK, Clock
from gateway.errors import AuditUnwritable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.approvals.background import Background, Preview
    from gateway.approvals.listing import Query, Viewer
    from gateway.approvals.model import Approval, ApprovalRequest, Listed

T = TypeVar("T")

TICK_S = 0.5
POLICY_CHANGED = "the policy changed after the request was made"

log = logging.getLogger(__name__)


class ApprovalDesk:
    """Everything that can be done with approvals. Lives in the control process."""

    def __init__(
        self,
        path: Path,
        *,
        on_move: Callable[[Move], None],
        active_policy: Callable[[], Awaitable[str]],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._path = path
        self._on_move = on_move
        self._active_policy = active_policy
        self._clock = clock
        self._store: ApprovalStore | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._queued = 0
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._waiting = 0
        self._policy = ""
        self.changes = Changes()
        self.on_filed: Callable[[Approval], None] = lambda _: None

    async def start(self) -> None:
        """Open the store. What was executing when the last process died becomes UNKNOWN."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="approval-store")
        loop = asyncio.get_running_loop()
        self._store = await loop.run_in_executor(
            self._thread, ApprovalStore.open, self._path, self._on_move
        )
        note = "the gateway restarted while it ran"
        while lost := await self._call(lambda store: store.give_up("", note, self._now_us())):
            log.warning("%d approved statements have an unknown outcome", len(lost))
        await self.tick()

    async def stop(self) -> None:
        """Close the store after what is queued. Safe to call twice."""
        thread, self._thread = self._thread, None
        store, self._store = self._store, None
        if thread is not None and store is not None:
            await asyncio.get_running_loop().run_in_executor(thread, store.close)
            thread.shutdown(wait=False)

    async def run(self) -> None:
        """Expire what is due, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except (Refusal, AuditUnwritable):
                # Nothing moved. What is past its time is refused by every other call as well.
                log.warning("approvals that are due could not be expired", exc_info=True)

    async def tick(self) -> None:
        """Expire what is due and withdraw what was asked under another policy."""
        self._wake(*await self._call(lambda store: store.expire_due(self._now_us())))
        policy = await self._active_policy()
        if not policy or policy == self._policy:
            return
        while moved := await self._call(
            lambda store: store.drop_stale(policy, POLICY_CHANGED, self._now_us())
        ):
            self._wake(*moved)
        self._policy = policy

    async def submit(self, request: ApprovalRequest) -> Approval:
        """File `request` or join what already answers it; raises Refusal."""
        now_us = self._now_us()
        approval, created = await self._call(lambda store: store.submit(request, now_us))
        if created:
            self.changes.note()
            self.on_filed(approval)
        return approval

    async def get(self, approval_id: str) -> Approval:
        """Return one request; raises Refusal(NOT_FOUND). Checks no rights."""
        return await self._call(lambda store: store.get(approval_id))

    async def view(self, viewer: Viewer, approval_id: str) -> Approval:
        """Return one request if `viewer` may know of it; else it reads as not existing."""
        approval = await self.get(approval_id)
        if not viewer.sees(approval):
            raise Refusal(RefusalCode.NOT_FOUND, "no such approval")
        return approval

    async def find(self, viewer: Viewer, query: Query) -> tuple[list[Listed], str]:
        """Return one page of what `viewer` may see and the next page's cursor."""
        return await self._call(lambda store: store.find(viewer, query))

    async def counts(self) -> dict[str, int]:
        """Return how many requests stand in each state."""
        return await self._call(lambda store: store.counts())

    async def note_preview(self, approval_id: str, preview: Preview) -> None:
        """Keep what the database said that a request would do, and show it."""
        await self._call(lambda store: save_preview(store.database, approval_id, preview))
        self.changes.note()

    async def background(self, approval: Approval) -> Background:
        """Return what a reviewer is told beside the request. Checks no rights."""
        return await self._call(lambda store: read_background(store.database, approval))

    async def wait(self, approval_id: str, timeout_s: float) -> Approval:
        """Return the request once it is no longer PENDING, or as it stands after `timeout_s`."""
        if self._waiting >= WAITERS_MAX:
            raise Refusal(RefusalCode.BUSY, "too many statements wait for approvals")
        event = asyncio.Event()
        waiters = self._waiters.setdefault(approval_id, set())
        waiters.add(event)
        self._waiting += 1
        try:
            approval = await self.get(approval_id)
            if approval.state is not ApprovalState.PENDING:
                return approval
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), max(0.0, min(timeout_s, WAIT_S_MAX)))
            return await self.get(approval_id)
        finally:
            self._waiting -= 1
            waiters.discard(event)
            if not waiters and self._waiters.get(approval_id) is waiters:
                del self._waiters[approval_id]

    async def decide(
        self,
        person: Person,
        approval_id: str,
        verdict: str,
        comment: str,
        *,
        version: int | None = None,
    ) -> Approval:
        """Count `person`'s word; raises Refusal when it may not speak or the time is over.

        `version` is what the person saw: with it, a request that changed since is a conflict.
        """
        approval = await self.get(approval_id)
        require_may_decide(person, approval, self._clock.wall())
        if version is not None and approval.version != version:
            raise Refusal(RefusalCode.CONFLICT, "this request changed since you looked at it")
        if approval.request.terms.comment_required and not comment:
            raise Refusal(RefusalCode.INVALID, "the rule asks for a comment with every decision")
        if verdict == "approve" and approval.request.terms.max_rows_seen:
            await self._require_rows(approval)
        if verdict == "approve" and approval.state is ApprovalState.PENDING:
            await self._require_current_policy(approval)
        approval = await self._call(
            lambda store: store.vote(approval_id, person.key, verdict, comment, self._now_us())
        )
        self._wake(approval_id)
        return approval

    async def consume(self, approval_id: str, digest: str, holder: str) -> bool:
        """Take an approval for one execution; True for exactly one holder."""
        approval = await self.get(approval_id)
        if approval.state is ApprovalState.APPROVED:
            try:
                await self._require_current_policy(approval)
            except Refusal:
                return False
        taken = await self._call(
            lambda store: store.consume(approval_id, digest, holder, self._now_us())
        )
        self._wake(approval_id)
        return taken

    async def rows_max(self, approval_id: str) -> int:
        """Return how many rows the approved run may change, -1 where the guard bounds none.

        What the reviewer saw times the guard's factor; without a number, which no approval can
        be given without, none at all.
        """
        approval = await self.get(approval_id)
        factor = approval.request.terms.max_rows_seen
        if not factor:
            return -1
        preview = (await self.background(approval)).preview
        return 0 if preview is None or preview.rows is None else int(preview.rows * factor)

    async def finish(self, approval_id: str, outcome: str) -> Approval:
        """Record how the execution ended; raises Refusal."""
        approval = await self._call(
            lambda store: store.finish(approval_id, outcome, self._now_us())
        )
        self._wake(approval_id)
        return approval

    async def cancel(self, approval_id: str, actor: str, note: str) -> Approval:
        """Withdraw a PENDING request. The caller has checked that `actor` may."""
        approval = await self._call(
            lambda store: store.cancel(approval_id, actor, note, self._now_us())
        )
        self._wake(approval_id)
        return approval

    async def withdraw(self, person: Person, approval_id: str, note: str) -> Approval:
        """Cancel on the requester's own word, or an admin's; raises Refusal."""
        approval = await self.get(approval_id)
        if not (is_requester(person, approval) or "admin" in person.roles):
            raise Refusal(RefusalCode.FORBIDDEN, "only the requester or an admin cancels a request")
        return await self.cancel(approval_id, person.key, note)

    async def revoke(self, person: Person, approval_id: str, note: str) -> Approval:
        """Take back an approval that was not used; by who may decide it, or an admin."""
        approval = await self.get(approval_id)
        if "admin" not in person.roles or person.is_agent:
            require_may_decide(person, approval, self._clock.wall())
        approval = await self._call(
            lambda store: store.revoke(approval_id, person.key, note, self._now_us())
        )
        self._wake(approval_id)
        return approval

    async def holder_lost(self, holder_prefix: str) -> None:
        """Give up on what the holders with this prefix were executing."""
        while moved := await self._call(
            lambda store: store.give_up(holder_prefix, "the worker died", self._now_us())
        ):
            self._wake(*moved)

    async def _require_rows(self, approval: Approval) -> None:
        preview = (await self.background(approval)).preview
        if preview is None:
            raise Refusal(RefusalCode.CONFLICT, "the rows it touches are still being counted")
        if preview.rows is None:
            text = "the rule bounds the run by the rows you see, and nobody knows their number: "
            raise Refusal(RefusalCode.CONFLICT, text + preview.problem)

    async def _require_current_policy(self, approval: Approval) -> None:
        policy = await self._active_policy()
        if approval.request.policy_digest == policy:
            return
        # The next tick withdraws every request like this one; this caller gets the reason now.
        raise Refusal(RefusalCode.CONFLICT, POLICY_CHANGED)

    async def _call(self, work: Callable[[ApprovalStore], T]) -> T:
        store, thread = self._store, self._thread
        if store is None or thread is None or self._queued >= STORE_QUEUE_MAX:
            raise Refusal(RefusalCode.BUSY, "the approval desk cannot take this now")
        self._queued += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().run_in_executor(
            thread, work, store
        )
        future.add_done_callback(self._dequeue)
        # A caller that goes away does not undo what the thread is about to do.
        try:
            result: T = await asyncio.shield(future)
        except apsw.Error as exc:
            log.exception("the approval store failed")
            raise Refusal(RefusalCode.BUSY, "the approval store does not work now") from exc
        return result

    def _dequeue(self, future: asyncio.Future[Any]) -> None:
        self._queued -= 1
        if not future.cancelled():
            future.exception()  # the caller may be gone; what it was is in its own traceback

    def _wake(self, *approval_ids: str) -> None:
        if not approval_ids:
            return
        for approval_id in approval_ids:
            for event in self._waiters.get(approval_id, ()):
                event.set()
        self.changes.note()

    def _now_us(self) -> int:
        return int(self._clock.wall() * 1_000_000)
