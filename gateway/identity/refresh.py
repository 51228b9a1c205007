"""Fetch an issuer's keys by OpenID Connect discovery. Only the control process does.

What the network gives is checked before it replaces the keys in use: the document must name
the issuer it was asked for, and the set must hold a key that can verify. How often this
may run is the caller's business.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from gateway.clock import SYSTEM_CLOCK
from gateway.identity.files import write_atomically
from gateway.identity.jwk import KEYS_MAX, parse_keys
from gateway.identity.keys import keys_path
from gateway.identity.provider_http import (
    ProviderError,
    fetch_discovery,
    get_object,
    provider_client,
)

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.config import Issuer


async def fetch_keys(issuer: Issuer) -> list[dict[str, Any]]:
    """Return the members of the issuer's current key set.

    Raises ProviderError, within `JWKS_FETCH_TIMEOUT_S`, for whatever goes wrong.
    """
    async with provider_client() as client:
        location = (await fetch_discovery(client, issuer)).get("jwks_uri")
        if not isinstance(location, str):
            raise ProviderError("the discovery document has no jwks_uri")
        return _check_set(await get_object(client, issuer, location))


async def refresh_keys(issuer: Issuer, data_dir: Path, clock: Clock = SYSTEM_CLOCK) -> None:
    """Fetch the keys of `issuer` and put them where every process reads them.

    Raises ProviderError; the file in use is untouched then.
    """
    keys = await fetch_keys(issuer)
    path = keys_path(data_dir, issuer)
    data = json.dumps({"fetched_at": clock.wall(), "keys": keys}, indent=1).encode()
    # A small file, but its flush may take long: the control process has other callers.
    await asyncio.to_thread(_write, path, data)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, data, mode=0o644)


def _check_set(key_set: dict[str, Any]) -> list[dict[str, Any]]:
    members = key_set.get("keys")
    if not isinstance(members, list) or len(members) > KEYS_MAX:
        raise ProviderError(f"not a key set of at most {KEYS_MAX} keys")
    if not parse_keys(members):
        raise ProviderError("no usable key in the key set")
    return [member for member in members if isinstance(member, dict)]
