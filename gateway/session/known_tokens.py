"""Gateway tokens as a worker knows them: asked from control once, then kept until they expire."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from gateway.errors import NotReady, TokenInvalid
from gateway.identity.gateway_tokens import token_digest
from gateway.ipc.channel import Channel, ChannelError
from gateway.limits import TOKEN_CACHE_ENTRIES_MAX
from gateway.policy.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT_S = 2.0


class KnownTokens:
    """The cache. Who is revoked is not its business: that is looked up at every login."""

    def __init__(self, control: Channel, now: Callable[[], float] = time.time) -> None:
        self._control = control
        self._now = now
        self._known: OrderedDict[str, Principal] = OrderedDict()

    def knows(self, token: str) -> bool:
        """Whether `token` was found before."""
        return token_digest(token) in self._known

    async def find(self, token: str) -> Principal:
        """Return whom `token` speaks for.

        Raises TokenInvalid, and NotReady when control does not answer: known tokens go on
        without it, others wait for it to come back.
        """
        digest = token_digest(token)
        if digest is None:
            raise TokenInvalid(reason="malformed gateway token")
        principal = self._known.get(digest)
        if principal is None:
            principal = await self._ask(digest)
            self._known[digest] = principal
            if len(self._known) > TOKEN_CACHE_ENTRIES_MAX:
                self._known.popitem(last=False)
        if principal.expires_at <= self._now():
            del self._known[digest]
            raise TokenInvalid(reason="the gateway token has expired")
        return principal

    async def _ask(self, digest: str) -> Principal:
        try:
            answer = await self._control.request({"op": "token.find", "digest": digest}, _TIMEOUT_S)
        except ChannelError as error:
            raise NotReady("tokens cannot be looked up now", reason=str(error)) from error
        if answer.get("principal") is None:
            raise TokenInvalid(reason="no such gateway token, or it has expired")
        return Principal.from_wire(answer["principal"])
