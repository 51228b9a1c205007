"""Hold each issuer's verification keys, as the control process or the operator wrote them.

Workers never fetch keys: control refreshes the files, and a worker reads them again when
told to or when a token names a key it does not have and the file has changed since.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.clock import SYSTEM_CLOCK
from gateway.identity.jwk import parse_keys
from gateway.identity.strict_json import load_object
from gateway.limits import JWKS_BYTES_MAX, JWKS_STALE_S_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.config import Issuer
    from gateway.identity.jwk import VerifyKey

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one issuer at one time; without keys, `problem` says why."""

    keys: tuple[VerifyKey, ...] = ()
    fetched_at: float | None = None  # None: kept by the operator, or our own
    problem: str = ""


def keys_path(data_dir: Path, issuer: Issuer) -> Path:
    """Return where the keys of `issuer` are kept."""
    return issuer.jwks_file or data_dir / "keys" / f"{issuer.id}.json"


class KeyStore:
    """The current keys of every issuer. `generation` grows with every change."""

    def __init__(
        self, issuers: Sequence[Issuer], data_dir: Path, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._paths = {issuer.id: keys_path(data_dir, issuer) for issuer in issuers}
        self._clock = clock
        self._sets: dict[str, KeySet] = {}
        self._stamps: dict[str, _Stamp | None] = {}
        self.generation = 0
        self.reload()

    def reload(self) -> None:
        """Read every file that changed. A file that cannot be read leaves no keys: fail closed."""
        for issuer_id in self._paths:
            self._reload_changed(issuer_id)

    def _reload_changed(self, issuer_id: str) -> bool:
        path = self._paths[issuer_id]
        stamp = _stamp(path)
        if issuer_id in self._sets and stamp == self._stamps[issuer_id]:
            return False
        # The stamp first: a file replaced in between is read again next time.
        self._stamps[issuer_id] = stamp
        before, now = self._sets.get(issuer_id, KeySet()), _read(path)
        self._sets[issuer_id] = now
        # Fetched again with the same keys, what they verified stays verified.
        if now.keys != before.keys:
            self.generation += 1
        return True

    def find(self, issuer_id: str, kid: str | None, algorithm: str) -> VerifyKey | None:
        """Return the one key that may verify a token with this header, or None.

        A key id that two fitting keys share, or no key id where several keys would fit, is
        no key: which one signed must not be a guess.
        """
        key = self._find(issuer_id, kid, algorithm)
        if key is None and self._reload_changed(issuer_id):
            key = self._find(issuer_id, kid, algorithm)
        return key

    def _find(self, issuer_id: str, kid: str | None, algorithm: str) -> VerifyKey | None:
        fitting = [
            key
            for key in self._sets[issuer_id].keys
            if algorithm in key.algorithms and (kid is None or key.kid == kid)
        ]
        return fitting[0] if len(fitting) == 1 else None

    def knows(self, issuer_id: str, kid: str | None) -> bool:
        """Whether any key has this id: then fetching again would not help."""
        keys = self._sets[issuer_id].keys
        return any(key.kid == kid for key in keys) if kid is not None else bool(keys)

    def problem(self, issuer_id: str) -> str:
        """Return why this issuer's keys cannot be used now; empty when they can."""
        found = self._sets[issuer_id]
        if found.fetched_at is not None:
            age_s = self._clock.wall() - found.fetched_at
            if age_s > JWKS_STALE_S_MAX:
                return f"keys last fetched {age_s / 3600:.0f} h ago"
        return found.problem


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> KeySet:
    try:
        with path.open("rb") as file:
            data = file.read(JWKS_BYTES_MAX + 1)
        if len(data) > JWKS_BYTES_MAX:
            return KeySet(problem="key file too large")
        document = load_object(data)
    except FileNotFoundError:
        return KeySet(problem="no keys yet")
    except OSError as error:
        return KeySet(problem=f"key file: {os.strerror(error.errno or 0)}")
    except ValueError as error:
        return KeySet(problem=f"key file is not a key set: {error}")
    members, fetched_at = document.get("keys"), document.get("fetched_at")
    if not isinstance(members, list):
        return KeySet(problem="key file is not a key set")
    keys = parse_keys(members)
    if not keys:
        return KeySet(problem="no usable key in the key set")
    is_time = isinstance(fetched_at, int | float) and not isinstance(fetched_at, bool)
    return KeySet(keys, float(fetched_at) if is_time and fetched_at is not None else None)
