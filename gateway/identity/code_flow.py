"""Log a person in at an OpenID provider from the web pages: authorization code with PKCE.

The gateway is the client. What comes back is an id token like any other: who it is about is
the verifier's to say, the nonce is checked here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from gateway.identity.provider_http import (
    ProviderError,
    check_provider_url,
    fetch_discovery,
    post_form,
    provider_client,
)
from gateway.identity.strict_json import load_object
from gateway.limits import DISCOVERY_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.clock import Clock
    from gateway.config import Issuer


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def unverified_claims(token: str) -> dict[str, Any]:
    """Return what a signed token says, unverified; raises ValueError."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("not a signed token in compact form")
    return load_object(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))


class CodeFlow:
    """The gateway as a client of one provider."""

    def __init__(
        self, issuer: Issuer, redirect_uri: str, secret: Callable[[], bytes], clock: Clock
    ) -> None:
        self._issuer = issuer
        self._redirect_uri = redirect_uri
        self._secret = secret  # may block, may raise ConfigError
        self._clock = clock
        self._known: dict[str, Any] = {}
        self._known_at = 0.0
        self._lock = asyncio.Lock()

    async def start(self, *, state: str, nonce: str, verifier: str) -> str:
        """Return where the browser goes; raises ProviderError."""
        url = await self._endpoint("authorization_endpoint")
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self._issuer.login.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"

    async def finish(self, code: str, *, nonce: str, verifier: str) -> str:
        """Return the id token for a code; raises ProviderError.

        Its signature is not verified yet, nothing of it is to be believed.
        """
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        url = await self._endpoint("token_endpoint")
        fields, auth = await self._authenticate(fields)
        async with provider_client() as client:
            status, answer = await post_form(client, self._issuer, url, fields, auth)
        if status != 200 or "error" in answer:
            raise ProviderError(f"status {status}, error {str(answer.get('error', ''))[:100]!r}")
        token = answer.get("id_token")
        if not isinstance(token, str) or not token.isascii():
            raise ProviderError("no id token in the answer; does the scope hold openid?")
        try:
            given = unverified_claims(token).get("nonce")
        except ValueError:
            raise ProviderError("the id token is none") from None
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise ProviderError("the id token is of another login (nonce)")
        return token

    @property
    def _client_id(self) -> str:
        return self._issuer.login.client_id or ""

    async def _authenticate(
        self, fields: dict[str, str]
    ) -> tuple[dict[str, str], tuple[str, str] | None]:
        """Return `fields` and the credentials for basic authentication, one of them proving us."""
        if self._issuer.login.credential.kind == "none":
            return fields | {"client_id": self._client_id}, None
        secret = (await asyncio.to_thread(self._secret)).decode()
        methods = self._known.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if "client_secret_basic" in methods:
            return fields, (self._client_id, secret)
        return fields | {"client_id": self._client_id, "client_secret": secret}, None

    async def _endpoint(self, name: str) -> str:
        async with self._lock:
            now = self._clock.monotonic()
            if not self._known or now - self._known_at > DISCOVERY_S:
                async with provider_client() as client:
                    self._known = await fetch_discovery(client, self._issuer)
                self._known_at = now
        url = self._known.get(name)
        if not isinstance(url, str):
            raise ProviderError(f"the provider has no {name}")
        check_provider_url(self._issuer.issuer, url)
        return url
