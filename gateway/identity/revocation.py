"""Who is out: subjects, groups, tokens, runs, sessions and keys that were revoked.

One file in the data directory, written by the control process alone and read by every process
when the REVOCATION epoch moves. The list of an epoch is read after the epoch, so a list is never
taken for newer than it is. A list that cannot be read lets nobody in: fail closed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import IdentityRevoked, NotReady
from gateway.identity.files import write_atomically
from gateway.identity.strict_json import load_object
from gateway.ipc.epochs import REVOCATION
from gateway.limits import REVOCATIONS_BYTES_MAX, REVOCATIONS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.ipc.epochs import Epochs
    from gateway.policy.principal import Principal

KINDS: Final = ("subject", "group", "token", "session", "run", "key", "issuer", "login")
_VALUE_MAX: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One entry: `issuer` is a configured issuer's id, "" for sessions, which have none.

    With `before`, only tokens issued until then are out: a person may come back with a new one.
    """

    kind: str
    issuer: str
    value: str
    by: str
    at: float
    reason: str = ""
    before: float | None = None
    until: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What the entry is about; a later one about the same replaces it."""
        return self.kind, self.issuer, self.value

    def to_wire(self) -> dict[str, Any]:
        """Return a plain dict."""
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Revocation:
        """Rebuild an entry; raises ValueError for anything `to_wire` does not give."""
        try:
            entry = cls(**wire)
        except TypeError as error:
            raise ValueError(f"not a revocation: {error}") from None
        texts: tuple[object, ...] = (entry.kind, entry.issuer, entry.value, entry.by, entry.reason)
        times: tuple[object, ...] = (entry.at, entry.before or 0.0, entry.until or 0.0)
        if not all(isinstance(text, str) and len(text) <= _VALUE_MAX for text in texts):
            raise ValueError("not a revocation: text expected")
        if entry.kind not in KINDS or not all(isinstance(time, int | float) for time in times):
            raise ValueError("not a revocation")
        return entry


def revocations_path(data_dir: Path) -> Path:
    """Return where the list is kept."""
    return data_dir / "identity" / "revoked.json"


class Revocations:
    """The list as one process knows it. `refresh` is cheap while nothing changed."""

    def __init__(self, data_dir: Path, epochs: Epochs, clock: Clock) -> None:
        self._path = revocations_path(data_dir)
        self._epochs = epochs
        self._clock = clock
        self._entries: dict[tuple[str, str, str], Revocation] = {}
        self._kinds: frozenset[str] = frozenset()
        self._problem = "not read yet"
        self.generation = -1

    @property
    def is_current(self) -> bool:
        """Whether nothing was revoked since the list was read."""
        return self.generation == self._epochs.get(REVOCATION)

    def refresh(self) -> None:
        """Read the list if it changed."""
        if self.is_current and not self._problem:
            return
        generation = self._epochs.get(REVOCATION)
        try:
            entries = read_revocations(self._path)
            # A list that this gateway has written and that is gone now revokes nobody.
            self._problem = "" if entries is not None or generation == 0 else "the list is gone"
        except (OSError, ValueError) as error:
            entries, self._problem = [], f"the list cannot be read: {error}"
        self._entries = {entry.key: entry for entry in entries or ()}
        self._kinds = frozenset(entry.kind for entry in entries or ())
        self.generation = generation

    def check(self, principal: Principal, session: str = "") -> None:
        """Raise IdentityRevoked when an entry is about `principal` or `session`."""
        if self._problem:
            raise NotReady("revocations cannot be checked", reason=self._problem)
        found = self.find(principal, session)
        if found is not None:
            raise revoked(found)

    def find(self, principal: Principal, session: str = "") -> Revocation | None:
        """Return the entry that puts `principal` or `session` out, None when there is none."""
        if not self._entries:
            return None
        now = self._clock.wall()
        for key in self._keys(principal, session):
            entry = self._entries.get(key)
            if entry is None or (entry.until is not None and now >= entry.until):
                continue
            if entry.before is None or principal.issued_at <= entry.before:
                return entry
        return None

    def _keys(self, principal: Principal, session: str) -> Iterator[tuple[str, str, str]]:
        issuer, kinds = principal.issuer_id, self._kinds
        yield "session", "", session
        yield "subject", issuer, principal.subject
        yield "issuer", issuer, "*"
        for token_id in (principal.token_id, principal.gateway_token):
            if token_id is not None:
                yield "token", issuer, token_id
        if principal.run_id is not None:
            yield "run", issuer, principal.run_id
        if principal.login is not None:
            yield "login", issuer, principal.login
        if principal.key_id is not None:
            yield "key", issuer, principal.key_id
        if principal.actor is not None:
            yield "subject", principal.actor_issuer or issuer, principal.actor
        if "group" in kinds:
            for group in (*principal.groups, *principal.actor_groups):
                vouched_by, _, name = group.partition(":")
                yield "group", vouched_by, name


def revoked(entry: Revocation) -> IdentityRevoked:
    """Return what the client is told: that it is out, not what the entry says."""
    return IdentityRevoked(
        "access was revoked", reason=f"{entry.kind} {entry.value[:100]!r} by {entry.by[:100]}"
    )


def read_revocations(path: Path) -> list[Revocation] | None:
    """Return the entries of the file, None without a file; raises OSError or ValueError."""
    try:
        with path.open("rb") as file:
            data = file.read(REVOCATIONS_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    if len(data) > REVOCATIONS_BYTES_MAX:
        raise ValueError("too large")
    members = load_object(data).get("revoked")
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise ValueError("not a list of revocations")
    return [Revocation.from_wire(member) for member in members]


def write_revocations(path: Path, entries: Iterable[Revocation]) -> None:
    """Replace the file; raises OSError, and ValueError when there are too many entries."""
    members = [entry.to_wire() for entry in entries]
    data = json.dumps({"revoked": members}, indent=1).encode()
    if len(members) > REVOCATIONS_MAX or len(data) > REVOCATIONS_BYTES_MAX:
        raise ValueError("the list of revocations is full: lift some, or block a group instead")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, data, mode=0o600)
