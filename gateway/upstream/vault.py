"""Read a database credential from HashiCorp Vault over its HTTP API.

Two engines: key-value (versions 1 and 2), whose secrets have no lease and are read again after
the credential's time to live; and `database`, which makes a role for us and leases it. A lease is
renewed at two thirds of its time until Vault says no more, then a new role is made: new logins
use it, while connections of the old one end by their age before the lease does, or by Vault's
revocation.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import httpx
import orjson

from gateway.config_values import is_loopback
from gateway.errors import ConfigError
from gateway.limits import SECRET_BYTES_MAX, VAULT_ANSWER_BYTES_MAX, VAULT_TIMEOUT_S

if TYPE_CHECKING:
    from gateway.config import Credential

_WHERE = "credential vault"
_RENEW_SHARE = 2 / 3
_LEASE_LEAST_S = 1.0


@dataclass(frozen=True, slots=True)
class Leased:
    """A secret and how long it may be used. Its text form holds neither."""

    secret: bytes = field(repr=False)
    until: float  # monotonic seconds: ask again then
    user: str = ""  # empty: the target's own
    lease: str = field(default="", repr=False)
    ends: float = 0.0  # monotonic seconds: Vault takes the credential back


def read_vault(
    credential: Credential, environ: Mapping[str, str], previous: Leased | None
) -> Leased:
    """Return the secret at the credential's path, renewing the lease of `previous` if it has one.

    Blocks. Raises ConfigError, which names path and status and never what Vault answered.
    """
    with _client(environ) as client:
        if previous is not None and previous.lease and time.monotonic() < previous.ends:
            renewed = _renew(client, previous)
            if renewed is not None:
                return renewed
        asked_at = time.monotonic()
        status, answer = _call(client, "GET", f"/v1/{quote(credential.value.strip('/'))}")
        if status != httpx.codes.OK:
            _refuse(f"{credential.value}: Vault answered {status}")
        return _leased(credential, answer, asked_at)


def _client(environ: Mapping[str, str]) -> httpx.Client:
    address = environ.get("VAULT_ADDR", "")
    if not address.startswith("https://") and not _is_local(address):
        _refuse("VAULT_ADDR must be an https:// address")
    headers = {"x-vault-token": _token(environ), "x-vault-request": "true"}
    if namespace := environ.get("VAULT_NAMESPACE"):
        headers["x-vault-namespace"] = namespace
    try:
        # As in libpq: no CA named means the system's.
        verify = ssl.create_default_context(cafile=environ.get("VAULT_CACERT") or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(_WHERE, f"VAULT_CACERT cannot be read: {error}") from None
    return httpx.Client(
        base_url=address, headers=headers, verify=verify, timeout=VAULT_TIMEOUT_S,
        follow_redirects=False, trust_env=False,
    )  # fmt: skip


def _is_local(address: str) -> bool:
    try:
        return address.startswith("http://") and is_loopback(address.removeprefix("http://"))
    except ValueError:
        return False


def _token(environ: Mapping[str, str]) -> str:
    token = environ.get("VAULT_TOKEN", "")
    if not token and (file := environ.get("VAULT_TOKEN_FILE")):
        try:
            # A Vault agent's sink: it is rotated under us.
            token = Path(file).read_bytes()[:SECRET_BYTES_MAX].decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError(_WHERE, f"VAULT_TOKEN_FILE {file!r} cannot be read") from None
    if not token or not token.isascii() or not token.isprintable():
        _refuse("neither VAULT_TOKEN nor VAULT_TOKEN_FILE holds a token")
    return token


def _renew(client: httpx.Client, previous: Leased) -> Leased | None:
    """Return the same secret with more time, None when Vault gives it no more."""
    asked_at = time.monotonic()
    body = {"lease_id": previous.lease}
    try:
        status, answer = _call(client, "PUT", "/v1/sys/leases/renew", body)
    except ConfigError:
        # Vault is away. What it leased is good until the lease ends.
        if previous.ends - asked_at > _LEASE_LEAST_S:
            soon = min(asked_at + 5.0, previous.ends - _LEASE_LEAST_S)
            return _with_time(previous, soon, previous.ends)
        raise
    granted = _seconds(answer.get("lease_duration")) if status == httpx.codes.OK else 0.0
    # Near its longest time Vault grants ever less: then it is time for a new one.
    if granted < _LEASE_LEAST_S or granted < (previous.ends - asked_at):
        return None
    return _with_time(previous, asked_at + granted * _RENEW_SHARE, asked_at + granted)


def _with_time(leased: Leased, until: float, ends: float) -> Leased:
    return Leased(leased.secret, until, leased.user, leased.lease, ends)


def _leased(credential: Credential, answer: Mapping[str, Any], asked_at: float) -> Leased:
    data = answer.get("data")
    if isinstance(data, dict) and isinstance(data.get("data"), dict) and "metadata" in data:
        data = data["data"]  # key-value version 2
    secret = data.get(credential.field) if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(secret, str) or not secret:
        _refuse(f"{credential.value}: no field {credential.field!r}")
    encoded = secret.encode()
    if b"\0" in encoded or len(encoded) > SECRET_BYTES_MAX:
        _refuse(f"{credential.value}: the secret is too long or holds a NUL byte")
    lease, seconds = answer.get("lease_id"), _seconds(answer.get("lease_duration"))
    user = data.get("username")
    if isinstance(lease, str) and lease and seconds >= _LEASE_LEAST_S:
        return Leased(
            secret=encoded,
            until=asked_at + seconds * _RENEW_SHARE,
            user=user if isinstance(user, str) else "",
            lease=lease,
            ends=asked_at + seconds,
        )
    # Static roles and key-value secrets name the user, too; only a leased one is new to us.
    return Leased(secret=encoded, until=asked_at + credential.ttl_s)


def _call(
    client: httpx.Client, method: str, path: str, body: Mapping[str, Any] | None = None
) -> tuple[int, dict[str, Any]]:
    try:
        with client.stream(method, path, json=body) as response:
            raw = bytearray()
            for chunk in response.iter_bytes():
                raw += chunk
                if len(raw) > VAULT_ANSWER_BYTES_MAX:
                    _refuse("Vault's answer is too long")
        answer = orjson.loads(raw) if raw else {}
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConfigError(_WHERE, f"Vault cannot be asked: {type(error).__name__}") from None
    except orjson.JSONDecodeError:
        # Unchained: the error quotes the answer.
        raise ConfigError(_WHERE, "Vault's answer is not JSON") from None
    return response.status_code, answer if isinstance(answer, dict) else {}


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0


def _refuse(text: str) -> NoReturn:
    raise ConfigError(_WHERE, text)
