"""What a principal may do on a target, as one worker caches it.

Many principals share one set of verdicts: those with equal rights have equal profile keys. An
entry is good for one generation of policy and catalog; the relay compares the generations before
every statement, so a stale entry is replaced before it decides anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from _fastpath.bounds import StatementLimits
from _fastpath.statements import VerdictCache
from gateway.ipc import epochs
from gateway.ipc.analyzer_client import AnalyzerClient
from gateway.ipc.epochs import Epochs
from gateway.policy.principal import Principal
from gateway.policy.profile import Profile
from gateway.session.bounding import statement_limits
from gateway.session.maskkey import MaskKeys
from gateway.session.maskplan import make_planner

_ENTRIES_MAX = 10_000

Generation = tuple[int, int]  # policy, catalog


@dataclass(frozen=True, slots=True)
class Rights:
    """A profile and the verdicts reached under it."""

    profile: Profile
    cache: VerdictCache
    limits: StatementLimits | None = None


class RightsCache:
    """Profiles by principal and target, verdict caches by profile key."""

    def __init__(
        self, analyzer: AnalyzerClient, shared: Epochs, mask_keys: Callable[[], MaskKeys]
    ) -> None:
        self._analyzer = analyzer
        self._epochs = shared
        self._read_keys = mask_keys
        self._mask_keys = mask_keys()
        self._generation: Generation = (-1, -1)
        self._rights: dict[tuple[object, ...], Rights | None] = {}
        self._caches: dict[str, VerdictCache] = {}

    async def load(self, principal: Principal, target: str, requested: str) -> Rights | None:
        """Return what `principal` holds on `target`, None when nothing.

        Raises NotReady when no analyzer answers.
        """
        generation = self._current()
        if generation != self._generation or len(self._rights) >= _ENTRIES_MAX:
            self._rights.clear()
            self._caches.clear()
            if generation[0] != self._generation[0]:
                # A rotation counts as a change of the policy: every plan is made anew.
                self._mask_keys = self._read_keys()
            self._generation = generation
        key = (
            principal.key,
            principal.groups,
            principal.actor,
            principal.actor_groups,
            target,
            requested,
        )
        if key in self._rights:
            return self._rights[key]
        wire = await self._analyzer.profile(principal.to_wire(), target, requested)
        rights = None if wire is None else self._rights_of(Profile.from_wire(wire), generation)
        if generation == self._generation:
            self._rights[key] = rights
        return rights

    @property
    def caches(self) -> list[VerdictCache]:
        """The verdict caches in use."""
        return list(self._caches.values())

    def forget(self) -> None:
        """Ask anew from now on: an analyzer answered under other rights than ours."""
        self._generation = (-1, -1)

    def _current(self) -> Generation:
        return self._epochs.get(epochs.POLICY), self._epochs.get(epochs.CATALOG)

    def _rights_of(self, profile: Profile, generation: Generation) -> Rights:
        # The generation from before the question: if it moved meanwhile, the entry is already
        # stale and the next statement asks again.
        cache = self._caches.get(profile.key)
        if cache is None or (cache.policy_generation, cache.catalog_generation) != generation:
            cache = VerdictCache(
                make_planner(profile, self._mask_keys), bool(profile.masked), *generation
            )
            if generation == self._generation:
                self._caches[profile.key] = cache
        return Rights(profile, cache, statement_limits(profile.bounds))
