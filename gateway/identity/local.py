"""Mint tokens of our own issuer, for development, demonstration and tests.

The key is made at first use, readable only by its owner; its public half goes where the
verifier looks for every issuer's keys. Whoever can read the key is every agent at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.clock import SYSTEM_CLOCK
from gateway.errors import ConfigError
from gateway.identity.claims import claim_path
from gateway.identity.files import write_atomically
from gateway.identity.keys import keys_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.config import Issuer

_RESERVED = frozenset({"iss", "sub", "aud", "exp", "iat", "nbf", "jti"})


class LocalIssuer:
    """One `kind = "local"` issuer; the key appears with the first token."""

    def __init__(self, data_dir: Path, issuer: Issuer, clock: Clock = SYSTEM_CLOCK) -> None:
        where = f"issuers.{issuer.id}"
        if issuer.kind != "local":
            raise ConfigError(where, 'only an issuer of kind = "local" can mint tokens')
        if "EdDSA" not in issuer.algorithms:
            raise ConfigError(where, "a local issuer signs with EdDSA; add it to algorithms")
        if issuer.jwks_file is not None:
            raise ConfigError(where, "a local issuer keeps its own keys; leave jwks_file out")
        self._where = where
        self._issuer = issuer
        self._key_path = data_dir / "issuers" / f"{issuer.id}.pem"
        self._keys_path = keys_path(data_dir, issuer)
        self._clock = clock

    def mint(
        self,
        subject: str,
        groups: Sequence[str],
        ttl_s: float,
        extra: Mapping[str, object] | None = None,
    ) -> str:
        """Return a signed token. `extra` adds claims (`agent`, `run_id`) and replaces none.

        Raises ConfigError when the key cannot be made or read, ValueError for claims that
        the gateway would not accept.
        """
        if not subject or not 0 < ttl_s <= self._issuer.max_age_s:
            raise ValueError(f"needs a subject and a ttl of at most {self._issuer.max_age_s:g} s")
        added = dict(extra or {})
        if _RESERVED & set(added):
            raise ValueError(f"not to be replaced: {', '.join(sorted(_RESERVED & set(added)))}")
        now = int(self._clock.wall())
        claims: dict[str, Any] = {
            **added,
            **self._issuer.required_claims,
            "iss": self._issuer.issuer,
            "sub": subject,
            "aud": self._issuer.audiences[0],
            "iat": now,
            "exp": now + max(1, int(ttl_s)),
            "jti": secrets.token_urlsafe(12),
        }
        _put(claims, claim_path(self._issuer.groups_claim), list(groups))
        key = self._key()
        return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": _kid(key)})

    def _key(self) -> Ed25519PrivateKey:
        try:
            if not self._key_path.exists():
                self._create_key()
            mode = self._key_path.stat().st_mode
            if mode & 0o077:
                raise ConfigError(self._where, f"{self._key_path} is open to others: chmod 600")
            key = serialization.load_pem_private_key(self._key_path.read_bytes(), None)
            if not isinstance(key, Ed25519PrivateKey):
                raise ConfigError(self._where, f"{self._key_path} is not an Ed25519 key")
            self._export(key)
        except (OSError, ValueError) as error:
            raise ConfigError(self._where, f"signing key {self._key_path}: {error}") from error
        return key

    def _create_key(self) -> None:
        self._key_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_atomically(self._key_path, pem, mode=0o600, replace=False)

    def _export(self, key: Ed25519PrivateKey) -> None:
        member = {**_public_jwk(key), "kid": _kid(key), "use": "sig", "alg": "EdDSA"}
        data = json.dumps({"keys": [member]}, indent=1).encode()
        # Unchanged, the file is left alone: a new one would cost every worker a reload.
        if not self._keys_path.exists() or self._keys_path.read_bytes() != data:
            self._keys_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self._keys_path, data, mode=0o644)


def _public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    public = key.public_key().public_bytes_raw()
    return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(public)}


def _kid(key: Ed25519PrivateKey) -> str:
    """Return the thumbprint of RFC 7638."""
    canonical = json.dumps(_public_jwk(key), separators=(",", ":"), sort_keys=True)
    return _base64url(hashlib.sha256(canonical.encode()).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _put(claims: dict[str, Any], path: list[str], value: object) -> None:
    *parents, last = path
    for step in parents:
        claims = claims.setdefault(step, {})
    claims[last] = value
