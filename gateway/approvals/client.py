"""The worker's end of an approval: ask, wait, consume, report.

Every failure on this path is a refusal of the statement. A lost answer is never taken for a yes:
`consume` repeats itself under the same holder name, so the desk can tell a repetition from a
second use of the approval.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.approvals.binding import binding_digest
from gateway.approvals.bounds import CALL_TIMEOUT_S, CONSUME_TRIES, WAIT_S_MAX
from gateway.approvals.refusal import Refusal, RefusalCode
from gateway.approvals.states import ApprovalState
from gateway.errors import (
    ApprovalDenied,
    ApprovalDiffers,
    ApprovalExpired,
    ApprovalPending,
    Cancelled,
    ClientError,
    NotUnderstood,
    TooComplex,
)
from gateway.ipc.channel import ChannelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.approvals.model import ApprovalRequest


class Asking(Protocol):
    """What is needed of `gateway.ipc.channel.Channel`."""

    async def request(self, message: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send `message` and return the answer; raises ChannelError."""
        ...


@dataclass(frozen=True, slots=True)
class Ticket:
    """A filed request: the id to tell people, the digest to consume it with."""

    id: str
    state: ApprovalState
    digest: str
    hold_s: float
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a wait ended with; PENDING when its time was over first."""

    state: ApprovalState
    by: str
    comment: str


class ApprovalClient:
    """Talks to the approval desk in the control process. One per worker, used by all sessions."""

    def __init__(self, channel: Asking, *, worker: str = "", generation: int = 0) -> None:
        self._channel = channel
        self._worker = worker
        self._generation = generation

    async def request(self, request: ApprovalRequest) -> Ticket:
        """File `request`, or join the open one for the identical statement.

        Raises the ClientError to answer the statement with when it cannot be filed.
        """
        try:
            message = {"op": "approval.request", **request.to_wire()}
        except Refusal as refusal:
            raise _client_error(refusal.code.value, refusal.message) from refusal
        answer = await self._call(message)
        digest = binding_digest(request)
        if answer.get("digest") != digest:
            # Worker and desk must agree on what is being signed; a version skew must not.
            raise ApprovalPending(
                "this statement needs an approval that could not be filed",
                reason="binding digests of worker and control differ",
            )
        return Ticket(
            id=str(answer["id"]),
            state=ApprovalState(str(answer["state"])),
            digest=digest,
            hold_s=request.terms.hold_s,
            comment=str(answer.get("comment", "")),
        )

    async def wait(self, approval_id: str, timeout_s: float) -> Answer:
        """Wait up to `timeout_s` for the request to leave PENDING.

        Raises ApprovalPending when the desk cannot be asked; the request itself stays.
        """
        timeout_s = max(0.0, min(timeout_s, WAIT_S_MAX))
        message = {"op": "approval.wait", "id": approval_id, "timeout_s": timeout_s}
        answer = await self._call(message, timeout_s=timeout_s + CALL_TIMEOUT_S)
        return Answer(
            state=ApprovalState(str(answer["state"])),
            by=str(answer.get("by", "")),
            comment=str(answer.get("comment", "")),
        )

    async def consume(self, ticket: Ticket) -> bool:
        """As `take`, for whoever bounds nothing by the rows a reviewer saw."""
        return await self.take(ticket) is not None

    async def take(self, ticket: Ticket) -> int | None:
        """Take the approval for one execution; None when it is not there to be taken.

        A number means: this call and no other may forward the statement, once, now, and it may
        change that many rows at the most; -1 when they are not bounded. The caller owes a
        `finish`.
        """
        message = {
            "op": "approval.consume",
            "id": ticket.id,
            "digest": ticket.digest,
            "holder": f"{self._worker}:{self._generation}:{secrets.token_hex(16)}",
        }
        for _ in range(CONSUME_TRIES):
            try:
                answer = await self._channel.request(message, CALL_TIMEOUT_S)
            except ChannelError:
                continue  # same holder: the desk answers yes again if it already said yes to us
            if answer.get("ok") is not True:
                return None
            rows_max = answer.get("rows_max", -1)
            # Not a number: taken by us, and run under the strictest bound there is.
            return rows_max if isinstance(rows_max, int) else 0
        return None

    async def finish(self, approval_id: str, outcome: str) -> None:
        """Report how the execution ended: "executed", "failed" or "unknown".

        Does not raise: the statement has run, and a desk that never hears of it records UNKNOWN.
        """
        message = {"op": "approval.finish", "id": approval_id, "outcome": outcome}
        for _ in range(CONSUME_TRIES):
            try:
                await self._channel.request(message, CALL_TIMEOUT_S)
            except ChannelError:
                continue
            return

    async def cancel(self, approval_id: str) -> None:
        """Withdraw a PENDING request after the client cancelled. Does not raise.

        A request that cannot be withdrawn runs out by itself; nobody is left to consume it.
        """
        try:
            message = {"op": "approval.cancel", "id": approval_id}
            await self._channel.request(message, CALL_TIMEOUT_S)
        except ChannelError:
            return

    async def _call(
        self, message: Mapping[str, Any], *, timeout_s: float = CALL_TIMEOUT_S
    ) -> dict[str, Any]:
        try:
            answer = await self._channel.request(message, timeout_s)
        except ChannelError as exc:
            raise ApprovalPending(
                "this statement needs an approval, and the approval desk does not answer",
                reason=str(exc),
            ) from exc
        if "refused" in answer:
            raise _client_error(str(answer["refused"]), str(answer.get("message", "")))
        return answer


def answer_error(state: ApprovalState, approval_id: str, comment: str = "") -> ClientError:
    """Return the error that ends a held statement whose request stands at `state`.

    EXECUTING and later mean that another session used this approval up.
    """
    facts = {"approval": approval_id, "state": state.value}
    if state is ApprovalState.PENDING:
        return ApprovalPending(
            f"approval {approval_id} is pending; send the identical statement again later",
            facts=facts,
        )
    if state is ApprovalState.DENIED:
        said = f": {comment}" if comment else ""
        return ApprovalDenied(f"approval {approval_id} was denied{said}", facts=facts)
    if state is ApprovalState.CANCELLED:
        return Cancelled(f"approval {approval_id} was cancelled", facts=facts)
    if state in {ApprovalState.EXPIRED, ApprovalState.REVOKED}:
        return ApprovalExpired(f"approval {approval_id} is {state.value.lower()}", facts=facts)
    return ApprovalDiffers(
        f"approval {approval_id} is already used; send the statement again to ask anew",
        facts=facts,
    )


def _client_error(code: str, message: str) -> ClientError:
    match code:
        case RefusalCode.TOO_LARGE:
            return TooComplex(f"this statement needs an approval: {message}")
        case RefusalCode.INVALID:
            return NotUnderstood("this statement needs an approval that cannot be filed for it",
                                 reason=message)  # fmt: skip
        case _:
            return ApprovalPending(
                f"this statement needs an approval that was not filed: {message}",
                reason=code,
            )
