"""The key behind keyed masks: one per data directory, so that all workers mask alike."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from gateway.errors import ConfigError

_KEY_BYTES = 32


def load_mask_key(data_dir: Path) -> bytes:
    """Return the mask key of `data_dir`, made at first use.

    Raises ConfigError for a key file of another size: masks must not change by accident.
    """
    path = data_dir / "mask.key"
    if not path.exists():
        fresh = path.with_name(f"mask.key.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            os.fsync(file.fileno())
        try:
            # A link fails where a rename would replace the key another worker just made.
            path.hardlink_to(fresh)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ConfigError(str(path), f"holds {len(key)} bytes, a mask key has {_KEY_BYTES}")
    return key
