"""Policies as people see them: the active one, those before it, and what the files would activate.

Activation itself is the supervisor's: it reads the files, checks them against the databases and
puts them in force. Here people look at the difference and say yes; where `control.policy_quorum`
asks for several, the supervisor takes only the bundle whose digest all of them said yes to.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.control.problems import HttpProblem
from gateway.errors import GatewayError, PolicyError
from gateway.ipc import paths
from gateway.policy.bundle import Bundle
from gateway.policy.diff import RuleChange, compare_rules
from gateway.policy.load import load_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.config import Config

YES_S: Final = 900.0  # how long a yes waits for the next person's
HISTORY_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What the policy files hold now, compared with what is active."""

    digest: str = ""
    problems: tuple[str, ...] = ()
    changes: tuple[RuleChange, ...] = ()
    people: tuple[str, ...] = ()  # who said yes to exactly this


@dataclass(slots=True)
class _Yes:
    digest: str = ""
    at: float = 0.0
    people: dict[str, None] = field(default_factory=dict)


class Policies:
    """Reads bundles, keeps copies of those that were active, and counts who agrees."""

    def __init__(
        self, config: Config, data_dir: Path, clock: Clock, reload: Callable[[], None] | None
    ) -> None:
        self._config = config
        self._data_dir = data_dir
        self._clock = clock
        self._reload = reload
        self._yes = _Yes()

    @property
    def quorum(self) -> int:
        """How many people an activation takes."""
        return self._config.control.policy_quorum

    async def active(self) -> Bundle | None:
        """Return the bundle in force, and keep a copy of it; None when it cannot be read."""
        return await asyncio.to_thread(self._active)

    async def past(self, digest: str) -> Bundle | None:
        """Return a bundle that was active, None when no copy was kept."""
        if not (digest.isascii() and digest.isalnum()):
            return None
        return await asyncio.to_thread(_read, self._history / f"{digest}.json")

    async def compare(self, old: str, new: str) -> list[RuleChange]:
        """Return the rules that differ between two kept bundles; raises HttpProblem."""
        before, after = await self.past(old), await self.past(new)
        if before is None or after is None:
            raise HttpProblem(404, "no copy of that policy was kept")
        return compare_rules(before, after)

    async def candidate(self) -> Candidate:
        """Return what the files would activate; digest "" when they cannot be used."""
        try:
            bundle = await asyncio.to_thread(self._load)
        except (PolicyError, GatewayError, OSError) as error:
            problems = error.problems if isinstance(error, PolicyError) else [error]
            return Candidate(problems=tuple(str(problem) for problem in problems))
        active = await self.active()
        changes = compare_rules(active, bundle) if active is not None else []
        return Candidate(
            digest=bundle.digest, changes=tuple(changes), people=self._agreed(bundle.digest)
        )

    async def say_yes(self, person: str, digest: str) -> bool:
        """Count `person`'s yes to exactly `digest`; True when that was the last one needed.

        Raises HttpProblem when the files hold another policy by now.
        """
        if self._reload is None:
            raise HttpProblem(503, "policies are not activated from here")
        if (await self.candidate()).digest != digest:
            raise HttpProblem(409, "the policy files changed since you looked at them")
        if self._yes.digest != digest or not self._agreed(digest):
            self._yes = _Yes(digest)
        self._yes.people[person] = None
        self._yes.at = self._clock.monotonic()
        if len(self._yes.people) < self.quorum:
            return False
        await asyncio.to_thread(self._allow, digest)
        self._yes = _Yes()
        self._reload()
        return True

    @property
    def _history(self) -> Path:
        return paths.active_policy(self._data_dir).parent / "history"

    def _agreed(self, digest: str) -> tuple[str, ...]:
        fresh = self._clock.monotonic() - self._yes.at < YES_S
        return tuple(self._yes.people) if fresh and self._yes.digest == digest else ()

    def _active(self) -> Bundle | None:
        bundle = _read(paths.active_policy(self._data_dir))
        if bundle is not None:
            self._history.mkdir(exist_ok=True)
            copy = self._history / f"{bundle.digest}.json"
            if not copy.exists():
                _write(copy, bundle.to_json())
                kept = sorted(self._history.glob("*.json"), key=lambda path: path.stat().st_mtime)
                for old in kept[:-HISTORY_MAX]:
                    old.unlink(missing_ok=True)
        return bundle

    def _load(self) -> Bundle:
        config = self._config
        issuers = [issuer.id for issuer in config.issuers]
        return load_bundle(config.policies, targets=list(config.targets), issuers=issuers)

    def _allow(self, digest: str) -> None:
        _write(paths.approved_policy(self._data_dir), digest.encode())


def _read(path: Path) -> Bundle | None:
    try:
        return Bundle.from_json(path.read_bytes())
    except (OSError, PolicyError):
        return None


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
