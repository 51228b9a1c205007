"""The keys behind keyed masks: one file per data directory, so that all workers mask alike.

A mask domain's key is made from the root key and the domain's name, unless the domain was rotated
by itself and has a key of its own. Gateways that hold the same file show the same hashes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from gateway.errors import ConfigError
from gateway.identity.files import write_atomically

KEY_FILE = "mask.key"
_KEY_BYTES = 32
_ID_CHARS = 12
_DOMAIN_BYTES_MAX = 200
_FILE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class MaskKeys:
    """The root key, and the keys of domains that were rotated by themselves."""

    root: bytes
    domains: Mapping[str, bytes] = field(default_factory=dict)

    def key_of(self, domain: str) -> bytes:
        """Return the key of a mask domain."""
        return hmac.digest(self.domains.get(domain, self.root), domain.encode(), "sha256")

    def id_of(self, domain: str) -> str:
        """Name the key of a domain, to compare gateways by; it tells nothing of the key."""
        return hashlib.sha256(b"postern mask key id" + self.key_of(domain)).hexdigest()[:_ID_CHARS]

    def rotated(self, domain: str | None) -> MaskKeys:
        """Return these keys with a new one for `domain`, or for all domains."""
        fresh = secrets.token_bytes(_KEY_BYTES)
        if domain is None:
            return MaskKeys(fresh)
        if not 0 < len(domain.encode()) <= _DOMAIN_BYTES_MAX:
            raise ValueError(f"a mask domain has 1 to {_DOMAIN_BYTES_MAX} bytes")
        return MaskKeys(self.root, {**self.domains, domain: fresh})

    def to_bytes(self) -> bytes:
        """Return the content of the file; the root alone while no domain has its own."""
        if not self.domains:
            return self.root
        domains = {name: key.hex() for name, key in sorted(self.domains.items())}
        return orjson.dumps({"root": self.root.hex(), "domains": domains})

    @classmethod
    def from_bytes(cls, content: bytes) -> MaskKeys:
        """Read the content of the file; raises ValueError when it is not one."""
        if len(content) == _KEY_BYTES:
            return cls(content)
        try:
            read = orjson.loads(content)
            domains = {name: bytes.fromhex(key) for name, key in read["domains"].items()}
            keys = cls(bytes.fromhex(read["root"]), domains)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"holds neither {_KEY_BYTES} bytes nor mask keys") from error
        if any(len(key) != _KEY_BYTES for key in (keys.root, *domains.values())):
            raise ValueError(f"holds a key that has not {_KEY_BYTES} bytes")
        return keys


def load_mask_keys(data_dir: Path) -> MaskKeys:
    """Return the mask keys of `data_dir`, made at first use.

    Raises ConfigError for a file that holds none: masks must not change by accident.
    """
    path = data_dir / KEY_FILE
    if not path.exists():
        # Of several workers that start at once the first one's key stays.
        write_atomically(path, secrets.token_bytes(_KEY_BYTES), mode=0o600, replace=False)
    return read_mask_keys(path)


def read_mask_keys(path: Path) -> MaskKeys:
    """Read a key file; raises ConfigError when it cannot be read or holds no keys."""
    try:
        with path.open("rb") as file:
            return MaskKeys.from_bytes(file.read(_FILE_BYTES_MAX))
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), str(error)) from error


def save_mask_keys(data_dir: Path, keys: MaskKeys) -> None:
    """Put `keys` in force for whatever reads them next; raises OSError."""
    write_atomically(data_dir / KEY_FILE, keys.to_bytes(), mode=0o600)
    directory = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
