"""As whom to log in at a target now: its login role and the secret, both of which may rotate.

What a command or Vault gave is kept for its time to live, in this process only. A login that
fails forgets it, so a password changed early costs one failed login and no more. Connections
that are open stay open: PostgreSQL checks a password only at the login.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.upstream.secrets import resolve_secret
from gateway.upstream.vault import Leased, read_vault

if TYPE_CHECKING:
    from gateway.config import Credential, Target

_KEPT = ("command", "vault")


class Logins:
    """Resolves credentials for one process, keeping what has a time to live."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[Credential, threading.Lock] = {}
        self._kept: dict[Credential, Leased] = {}

    def resolve(self, target: Target, environ: Mapping[str, str]) -> tuple[Target, bytes]:
        """Return `target` with the user to log in as, and the secret; blocks.

        Raises ConfigError, which names the source and never what it holds.
        """
        leased = self.fetch(target.credential, environ)
        return replace(target, user=leased.user or target.user), leased.secret

    def fetch(self, credential: Credential, environ: Mapping[str, str]) -> Leased:
        """Return what is at `credential`, kept or fetched; blocks. Raises ConfigError."""
        if credential.kind not in _KEPT:
            return Leased(resolve_secret(credential, environ), until=0.0)
        with self._lock:
            lock = self._locks.setdefault(credential, threading.Lock())
        with lock:  # forty dials at once run the command once
            leased = self._kept.get(credential)
            if leased is None or time.monotonic() >= leased.until:
                leased = self._fetch(credential, environ, leased)
                self._kept[credential] = leased
        return leased

    def forget(self, credential: Credential) -> None:
        """Ask the source again next time: the server did not take what we had."""
        self._kept.pop(credential, None)

    @staticmethod
    def _fetch(
        credential: Credential, environ: Mapping[str, str], previous: Leased | None
    ) -> Leased:
        if credential.kind == "vault":
            return read_vault(credential, environ, previous)
        secret = resolve_secret(credential, environ)
        return Leased(secret=secret, until=time.monotonic() + credential.ttl_s)


_LOGINS = Logins()


def resolve_login(target: Target, environ: Mapping[str, str]) -> tuple[Target, bytes]:
    """As `Logins.resolve`, with what this process keeps."""
    return _LOGINS.resolve(target, environ)


def resolve_value(credential: Credential, environ: Mapping[str, str]) -> bytes:
    """Return a secret that is no login's, as kept by this process; raises ConfigError."""
    return _LOGINS.fetch(credential, environ).secret


def forget_login(credential: Credential) -> None:
    """As `Logins.forget`."""
    _LOGINS.forget(credential)
