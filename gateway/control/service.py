"""What workers ask of the control process over control.sock.

A refusal is an answer (`{"refused": code, "message": text}`), not a failure of the channel: the
worker must tell "no" from "no answer", although it forwards nothing after either.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from gateway.approvals.bounds import WAIT_S_MAX
from gateway.approvals.model import ApprovalRequest
from gateway.approvals.refusal import Refusal, RefusalCode
from gateway.errors import AuditUnwritable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.approvals.desk import ApprovalDesk
    from gateway.control.keys import KeyKeeper
    from gateway.control.live import LiveSessions
    from gateway.control.maskkeys import MaskKeyKeeper
    from gateway.identity.gateway_tokens import GatewayTokens

Message = dict[str, Any]
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class ControlService:
    """Answers the operations of control.sock."""

    def __init__(
        self,
        desk: ApprovalDesk,
        live: LiveSessions,
        keys: KeyKeeper,
        tokens: GatewayTokens,
        masks: MaskKeyKeeper,
    ) -> None:
        self._desk = desk
        self._live = live
        self._keys = keys
        self._tokens = tokens
        self._operations: dict[str, Callable[[Message], Awaitable[Message]]] = {
            "approval.request": self._request,
            "approval.wait": self._wait,
            "approval.show": self._show,
            "approval.consume": self._consume,
            "approval.finish": self._finish,
            "approval.cancel": self._cancel,
            "keys.refresh": self._refresh_keys,
            "mask.rotate": masks.change,
            "token.find": self._find_token,
            "session.open": self._open_session,
            "session.close": self._close_session,
            "session.sync": self._sync_sessions,
        }

    def add(self, op: str, operation: Callable[[Message], Awaitable[Message]]) -> None:
        """Answer one more operation."""
        self._operations[op] = operation

    async def handle(self, message: Message) -> Mapping[str, Any]:
        """Answer one message; the handler for `serve_channel`."""
        operation = self._operations.get(str(message.get("op")))
        try:
            if operation is None:
                raise Refusal(RefusalCode.INVALID, "unknown operation")
            return await operation(message)
        except Refusal as refusal:
            return {"refused": refusal.code.value, "message": refusal.message}
        except AuditUnwritable as error:
            return {"refused": RefusalCode.BUSY.value, "message": error.message}

    async def _request(self, message: Message) -> Message:
        approval = await self._desk.submit(ApprovalRequest.from_wire(message))
        return {
            "id": approval.id,
            "state": approval.state.value,
            "digest": approval.digest,
            "comment": approval.decider[1],
        }

    async def _wait(self, message: Message) -> Message:
        timeout_s = message.get("timeout_s", 0)
        if not isinstance(timeout_s, int | float) or not 0 <= timeout_s <= WAIT_S_MAX:
            raise Refusal(RefusalCode.INVALID, "malformed timeout_s")
        approval = await self._desk.wait(_id(message), timeout_s)
        by, comment = approval.decider
        return {"state": approval.state.value, "by": by, "comment": comment}

    async def _show(self, message: Message) -> Message:
        """Answer `SHOW postern.approval_<id>`, to the principal that asked for it only."""
        approval = await self._desk.get(_id(message))
        if approval.request.principal.key != message.get("principal_key"):
            raise Refusal(RefusalCode.NOT_FOUND, "no such approval")
        return {
            "id": approval.id,
            "state": approval.state.value,
            "rule": approval.request.terms.rule,
            "approvals": approval.approvals,
            "quorum": approval.request.terms.quorum,
            "expires_us": approval.expires_us,
            "comment": approval.decider[1],
        }

    async def _consume(self, message: Message) -> Message:
        digest, holder = message.get("digest"), message.get("holder")
        if not isinstance(digest, str) or not isinstance(holder, str) or not holder:
            raise Refusal(RefusalCode.INVALID, "consume needs the digest and a holder")
        if not await self._desk.consume(_id(message), digest, holder):
            return {"ok": False}
        return {"ok": True, "rows_max": await self._desk.rows_max(_id(message))}

    async def _finish(self, message: Message) -> Message:
        approval = await self._desk.finish(_id(message), str(message.get("outcome")))
        return {"state": approval.state.value}

    async def _cancel(self, message: Message) -> Message:
        approval = await self._desk.cancel(_id(message), "", "the client cancelled")
        return {"state": approval.state.value}

    async def _refresh_keys(self, message: Message) -> Message:
        return {"ok": await self._keys.refresh_now(str(message.get("issuer")))}

    async def _find_token(self, message: Message) -> Message:
        digest = message.get("digest")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise Refusal(RefusalCode.INVALID, "malformed digest")
        found = await asyncio.to_thread(self._tokens.find, digest)
        return {"principal": None if found is None else found[0].to_wire()}

    async def _open_session(self, message: Message) -> Message:
        await self._note_worker(message)
        resync = self._live.open(message)
        return {"ok": True, "resync": resync}

    async def _close_session(self, message: Message) -> Message:
        self._live.close(message)
        return {"ok": True}

    async def _sync_sessions(self, message: Message) -> Message:
        await self._note_worker(message)
        self._live.sync(message)
        return {"ok": True}

    async def _note_worker(self, message: Message) -> None:
        worker, generation = message.get("worker"), message.get("generation")
        if not isinstance(worker, int) or not isinstance(generation, int):
            raise Refusal(RefusalCode.INVALID, "malformed worker or generation")
        replaced = self._live.meet(worker, generation)
        if replaced is not None:
            # Its executions ended with it, and nobody knows how.
            await self._desk.holder_lost(f"{worker}:{replaced}:")


def _id(message: Message) -> str:
    approval_id = message.get("id")
    if not isinstance(approval_id, str):
        raise Refusal(RefusalCode.INVALID, "malformed id")
    return approval_id
