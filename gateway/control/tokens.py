"""Tokens at the control plane: the same verifier as on the wire, with keys kept current."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, TypeVar

from gateway.clock import SYSTEM_CLOCK
from gateway.errors import ConfigError, TokenInvalid
from gateway.identity.gateway_tokens import GatewayTokens, is_gateway_token, token_digest
from gateway.identity.introspection import introspect, is_opaque
from gateway.identity.keys import KeyStore
from gateway.identity.refresh import refresh_keys
from gateway.identity.verify import UnknownKey, Verifier
from gateway.ipc.epochs import KEYS
from gateway.upstream.secrets import resolve_secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.config import Issuer
    from gateway.control.context import ControlContext
    from gateway.identity.logout import Logout
    from gateway.policy.principal import Principal

T = TypeVar("T")
INTROSPECTIONS_AT_ONCE = 8


def fetcher(data_dir: Path) -> Callable[[Issuer], Awaitable[None]]:
    """Return what fetches the key set of one issuer into the data directory."""

    async def fetch(issuer: Issuer) -> None:
        await refresh_keys(issuer, data_dir)

    return fetch


class Tokens:
    """Verifies tokens; an unknown key costs at most one rate-limited fetch."""

    def __init__(
        self, context: ControlContext, refresh_keys: Callable[[str], Awaitable[bool]]
    ) -> None:
        self._keys = KeyStore(context.config.issuers, context.data_dir)
        self._verifier = Verifier(context.config.issuers, self._keys, SYSTEM_CLOCK)
        asked = (issuer for issuer in context.config.issuers if issuer.introspection)
        self._introspected = next(asked, None)
        self._asking = asyncio.Semaphore(INTROSPECTIONS_AT_ONCE)
        self._epochs = context.epochs
        self._epoch = -1
        self._refresh_keys = refresh_keys
        self._max_age_s = {issuer.id: issuer.max_age_s for issuer in context.config.issuers}
        self.own = GatewayTokens(context.data_dir / "identity" / "tokens.db", SYSTEM_CLOCK)

    async def prove(self, token: str) -> tuple[Principal, float]:
        """Return who `token` is about, and when what it rests on ends; raises TokenInvalid."""
        if is_gateway_token(token):
            digest = token_digest(token)
            found = None if digest is None else await asyncio.to_thread(self.own.find, digest)
            if found is None:
                raise TokenInvalid(reason="no such gateway token, or it has expired")
            return found
        if self._introspected is not None and is_opaque(token):
            return await self._introspect(self._introspected, token)
        principal = await self._verify(token)
        oldest = principal.issued_at + self._max_age_s[principal.issuer_id]
        return principal, min(principal.expires_at, oldest)

    async def _introspect(self, issuer: Issuer, token: str) -> tuple[Principal, float]:
        """Ask the issuer; what rests on its answer ends soon, so that it is asked again."""
        try:
            secret = await asyncio.to_thread(resolve_secret, issuer.login.credential, os.environ)
        except ConfigError as error:
            raise TokenInvalid(reason=f"introspection: {error}") from error
        async with self._asking:
            principal = await introspect(issuer, secret, token, SYSTEM_CLOCK.wall())
        return principal, principal.expires_at

    async def verify_logout(self, token: str) -> Logout:
        """Return whom a provider's logout token puts out; raises TokenInvalid."""
        return await self._with_keys(lambda: self._verifier.verify_logout(token))

    async def _verify(self, token: str) -> Principal:
        return await self._with_keys(lambda: self._verifier.verify(token))

    async def _with_keys(self, verify: Callable[[], T]) -> T:
        epoch = self._epochs.get(KEYS)
        if epoch != self._epoch:
            self._epoch = epoch
            self._keys.reload()
        try:
            return verify()
        except UnknownKey as unknown:
            await self._refresh_keys(unknown.issuer_id)
            self._keys.reload()
        try:
            return verify()
        except UnknownKey as unknown:
            reason = f"issuer {unknown.issuer_id} has no key {unknown.kid!r}"
            raise TokenInvalid(reason=reason) from None
