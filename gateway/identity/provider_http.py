"""What is fetched from an OpenID provider, and under which conditions.

Over https, never redirected, bounded in size and time, and read as strict JSON. Plain http is
only for a provider on this host.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from gateway.errors import GatewayError
from gateway.identity.strict_json import load_object
from gateway.limits import JWKS_BYTES_MAX, JWKS_FETCH_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from gateway.config import Issuer

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ProviderError(GatewayError):
    """A provider gave no usable answer. The text holds nothing of a secret."""


@asynccontextmanager
async def provider_client() -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client for a few calls; raises ProviderError within `JWKS_FETCH_TIMEOUT_S`."""
    try:
        async with (
            asyncio.timeout(JWKS_FETCH_TIMEOUT_S),
            # A redirect would let whoever serves the page choose where keys come from.
            httpx.AsyncClient(follow_redirects=False, timeout=JWKS_FETCH_TIMEOUT_S) as client,
        ):
            yield client
    except TimeoutError:
        raise ProviderError(f"no answer within {JWKS_FETCH_TIMEOUT_S:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProviderError(f"{type(error).__name__}: {error}"[:200]) from error


async def fetch_discovery(client: httpx.AsyncClient, issuer: Issuer) -> dict[str, Any]:
    """Return the discovery document of `issuer`; raises ProviderError."""
    url = issuer.issuer.rstrip("/") + "/.well-known/openid-configuration"
    document = await get_object(client, issuer, url)
    if document.get("issuer") != issuer.issuer:
        raise ProviderError("the discovery document names another issuer")
    return document


async def get_object(client: httpx.AsyncClient, issuer: Issuer, url: str) -> dict[str, Any]:
    """Return the JSON object at `url`; raises ProviderError."""
    status, answer = await _call(client, issuer, "GET", url)
    if status != httpx.codes.OK:
        raise ProviderError(f"status {status} from {url[:200]}")
    return _object(answer, url)


async def post_form(
    client: httpx.AsyncClient,
    issuer: Issuer,
    url: str,
    fields: Mapping[str, str],
    auth: tuple[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    """Return status and JSON object of a form's answer; raises ProviderError."""
    status, answer = await _call(client, issuer, "POST", url, data=fields, auth=auth)
    return status, _object(answer, url)


async def _call(
    client: httpx.AsyncClient, issuer: Issuer, method: str, url: str, **more: Any
) -> tuple[int, bytes]:
    check_provider_url(issuer.issuer, url)
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    body = bytearray()
    async with client.stream(method, url, headers=headers, **more) as response:
        # Raw: a compressed body could unpack to any size.
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > JWKS_BYTES_MAX:
                raise ProviderError(f"over {JWKS_BYTES_MAX} bytes from {url[:200]}")
    return response.status_code, bytes(body)


def _object(body: bytes, url: str) -> dict[str, Any]:
    try:
        return load_object(body)
    except ValueError as error:
        # Unchained and without the body: an answer with a token may be the one that is broken.
        raise ProviderError(f"not JSON from {url[:200]}: {type(error).__name__}") from None


def check_provider_url(issuer: str, url: str) -> None:
    """Raise ProviderError for plain HTTP, except from a loopback issuer to loopback."""
    try:
        parts, origin = urlsplit(url), urlsplit(issuer)
        is_local = parts.hostname in _LOOPBACK and origin.hostname in _LOOPBACK
    except ValueError:
        raise ProviderError("malformed URL") from None
    if parts.username is not None or not parts.hostname:
        raise ProviderError("a location may not hold a user, and needs a host")
    allowed = parts.scheme == "https" or (
        parts.scheme == "http" and origin.scheme == "http" and is_local
    )
    if not allowed:
        raise ProviderError("only taken over https")
