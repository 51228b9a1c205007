"""Fetch an issuer's keys by OpenID Connect discovery. Only the control process does.

What the network gives is checked before it replaces the keys in use: the document must name
the issuer it was asked for, and the set must hold a key that can verify. How often this
may run is the caller's business.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from gateway.clock import SYSTEM_CLOCK
from gateway.errors import GatewayError
from gateway.identity.files import write_atomically
from gateway.identity.jwk import KEYS_MAX, parse_keys
from gateway.identity.keys import keys_path
from gateway.identity.strict_json import load_object
from gateway.limits import JWKS_BYTES_MAX, JWKS_FETCH_TIMEOUT_S

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.config import Issuer

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class KeyFetchError(GatewayError):
    """The keys of an issuer could not be fetched; those in use stay."""


async def fetch_keys(issuer: Issuer) -> list[dict[str, Any]]:
    """Return the members of the issuer's current key set.

    Raises KeyFetchError, within `JWKS_FETCH_TIMEOUT_S`, for whatever goes wrong.
    """
    try:
        async with (
            asyncio.timeout(JWKS_FETCH_TIMEOUT_S),
            # A redirect would let whoever serves the page choose where keys come from.
            httpx.AsyncClient(follow_redirects=False, timeout=JWKS_FETCH_TIMEOUT_S) as client,
        ):
            discovery = issuer.issuer.rstrip("/") + "/.well-known/openid-configuration"
            document = await _get(client, issuer, discovery)
            if document.get("issuer") != issuer.issuer:
                raise KeyFetchError("the discovery document names another issuer")
            location = document.get("jwks_uri")
            if not isinstance(location, str):
                raise KeyFetchError("the discovery document has no jwks_uri")
            key_set = await _get(client, issuer, location)
    except TimeoutError:
        raise KeyFetchError(f"no answer within {JWKS_FETCH_TIMEOUT_S:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise KeyFetchError(f"{type(error).__name__}: {error}"[:200]) from error
    return _check_set(key_set)


async def refresh_keys(issuer: Issuer, data_dir: Path, clock: Clock = SYSTEM_CLOCK) -> None:
    """Fetch the keys of `issuer` and put them where every process reads them.

    Raises KeyFetchError; the file in use is untouched then.
    """
    keys = await fetch_keys(issuer)
    path = keys_path(data_dir, issuer)
    data = json.dumps({"fetched_at": clock.wall(), "keys": keys}, indent=1).encode()
    # A small file, but its flush may take long: the control process has other callers.
    await asyncio.to_thread(_write, path, data)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, data, mode=0o644)


async def _get(client: httpx.AsyncClient, issuer: Issuer, url: str) -> dict[str, Any]:
    _check_url(issuer, url)
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    body = bytearray()
    async with client.stream("GET", url, headers=headers) as response:
        if response.status_code != httpx.codes.OK:
            raise KeyFetchError(f"status {response.status_code} from {url[:200]}")
        # Raw: a compressed body could unpack to any size.
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > JWKS_BYTES_MAX:
                raise KeyFetchError(f"over {JWKS_BYTES_MAX} bytes from {url[:200]}")
    try:
        return load_object(bytes(body))
    except ValueError as error:
        raise KeyFetchError(f"not JSON from {url[:200]}: {error}") from error


def _check_url(issuer: Issuer, url: str) -> None:
    """Refuse plain HTTP, except from a loopback issuer to loopback."""
    try:
        parts, origin = urlsplit(url), urlsplit(issuer.issuer)
        is_local = parts.hostname in _LOOPBACK and origin.hostname in _LOOPBACK
    except ValueError:
        raise KeyFetchError("malformed URL") from None
    if parts.username is not None or not parts.hostname:
        raise KeyFetchError("a key location may not hold a user, and needs a host")
    allowed = parts.scheme == "https" or (
        parts.scheme == "http" and origin.scheme == "http" and is_local
    )
    if not allowed:
        raise KeyFetchError("keys are only taken over https")


def _check_set(key_set: dict[str, Any]) -> list[dict[str, Any]]:
    members = key_set.get("keys")
    if not isinstance(members, list) or len(members) > KEYS_MAX:
        raise KeyFetchError(f"not a key set of at most {KEYS_MAX} keys")
    if not parse_keys(members):
        raise KeyFetchError("no usable key in the key set")
    return [member for member in members if isinstance(member, dict)]
