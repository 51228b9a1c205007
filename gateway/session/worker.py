"""What the sessions of one worker share: pools, rights, analyzers, approvals, the journal."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from _fastpath.journal import Journal
from gateway.approvals.client import ApprovalClient
from gateway.audit.journal import Recorder
from gateway.config import Config, Target
from gateway.errors import TokenInvalid, TooManySessions
from gateway.identity.gateway_tokens import is_gateway_token
from gateway.identity.keys import KeyStore
from gateway.identity.verify import UnknownKey, Verifier
from gateway.ipc import epochs, paths
from gateway.ipc.analyzer_client import AnalyzerClient
from gateway.ipc.channel import Channel, ChannelError
from gateway.ipc.tallies import Tallies
from gateway.limits import JOURNAL_BYTES, SESSIONS_PER_WORKER_MAX
from gateway.policy.principal import Principal
from gateway.policy.profile import Level
from gateway.session.cancel import CancelDesk
from gateway.session.commit import GroupCommit
from gateway.session.context import WorkerContext
from gateway.session.costing import Planner
from gateway.session.counting import CacheCounts, make_counts
from gateway.session.floods import Floods
from gateway.session.known_tokens import KnownTokens
from gateway.session.lifetime import Lifetime
from gateway.session.maskkey import load_mask_keys
from gateway.session.rights import RightsCache
from gateway.upstream.links import ConnectorLinks
from gateway.upstream.opener import open_direct
from gateway.upstream.pool import Pool

if TYPE_CHECKING:
    from gateway.session.login import Login
    from gateway.session.session import Session

T = TypeVar("T")
_CONTROL_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class Worker:
    """One worker's shared parts. Created on its loop, before it serves."""

    def __init__(self, context: WorkerContext) -> None:
        self.context = context
        self.config: Config = context.config
        self.epochs = context.epochs
        self.journal = Journal(str(context.journal_path), JOURNAL_BYTES)
        self.recorder = Recorder(self.journal)
        self.tallies = Tallies(paths.tallies_file(context.data_dir))
        is_first = context.worker_id == 0
        self.tallies.forget_worker(context.worker_id)
        if is_first:  # of an earlier start with more workers
            self.tallies.forget_worker(self.config.workers.count, and_above=True)
        self.planner = Planner()
        self.commit: GroupCommit | None = None
        if self.config.audit.durability == "group":
            self.commit = GroupCommit(self.journal, context.data_dir)
        self.counts = make_counts()
        self.cache_counts = CacheCounts()
        self.analyzer = AnalyzerClient.for_gateway(context.data_dir, self.config.workers.analyzers)
        self.rights = RightsCache(
            self.analyzer, self.epochs, functools.partial(load_mask_keys, context.data_dir)
        )
        self.control = Channel(paths.control_socket(context.data_dir))
        self.approvals = ApprovalClient(
            self.control, worker=str(context.worker_id), generation=context.generation
        )
        self.links: ConnectorLinks | None = None
        if self.config.connectors.listen:
            self.links = ConnectorLinks(context.data_dir, context.worker_id, self.control.request)
        self.cancels = CancelDesk(context.data_dir, context.worker_id)
        self._keys = KeyStore(self.config.issuers, context.data_dir)
        self._keys_generation = self.epochs.get(epochs.KEYS)
        self.verifier = Verifier(self.config.issuers, self._keys)
        self.gateway_tokens = KnownTokens(self.control)
        self.sessions: dict[str, Session] = {}
        self.identities: Counter[str] = Counter()  # sessions by principal
        self.lifetime = Lifetime(context.data_dir, self.epochs, self.config.sessions, self.sessions)
        self.is_empty = asyncio.Event()  # set whenever the last session has ended
        self.floods = Floods()
        self._pools: dict[tuple[str, Level], Pool] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def pool(self, target: Target, level: Level) -> Pool:
        """The pool of server connections for `target` at `level`."""
        pool = self._pools.get((target.name, level))
        if pool is None:
            pool = Pool(
                target,
                level,
                size=self.config.pool.size_of(self.config.workers.count),
                wait_s=self.config.pool.wait_s,
                opener=self.links.open if self.links and target.connector else open_direct,
            )
            self._pools[target.name, level] = pool
        return pool

    def check_room(self, principal: Principal) -> None:
        """Raise TooManySessions when this worker has no place for another of `principal`."""
        if len(self.sessions) >= SESSIONS_PER_WORKER_MAX:
            raise TooManySessions("too many sessions")
        if self.identities[principal.key] >= self.config.sessions.per_identity:
            raise TooManySessions("too many sessions of this identity")

    def is_balancer(self, peer: object) -> bool:
        """Whether connections of `peer` begin with the header of a load balancer."""
        networks = self.config.listen.proxy_protocol
        if not networks or not isinstance(peer, tuple):
            return False
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
        return any(address in network for network in networks)

    async def verify(self, token: str, address: str = "") -> Principal:
        """Return whose token this is; raises TokenInvalid or TokenExpired."""
        if not (self.verifier.knows(token) or self.gateway_tokens.knows(token)):
            self.floods.check(address)
        if is_gateway_token(token):
            return await self.gateway_tokens.find(token)
        generation = self.epochs.get(epochs.KEYS)
        if generation != self._keys_generation:
            self._keys_generation = generation
            self._keys.reload()
        try:
            return self.verifier.verify(token)
        except UnknownKey as unknown:
            # The issuer may have rotated its keys: control looks, as often as it allows itself.
            message = {"op": "keys.refresh", "issuer": unknown.issuer_id}
            try:
                await self.control.request(message, _CONTROL_TIMEOUT_S)
            except ChannelError as error:
                raise TokenInvalid(reason=f"unknown key, and no refresh: {error}") from error
            self._keys.reload()
            try:
                return self.verifier.verify(token)
            except UnknownKey as error:
                raise TokenInvalid(reason=f"unknown key: {error}") from error

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run `coroutine` as a task of this worker; a failure is logged, never lost."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def announce(self, login: Login) -> None:
        """Put a session on control's list of live ones; all of them when it asks for that."""
        opened = {"op": "session.open", **self._life(), **login.live_fields()}
        try:
            answer = await self.control.request(opened, _CONTROL_TIMEOUT_S)
        except ChannelError as error:
            log.debug("control does not list session %s: %s", login.session_id, error)
            return
        if answer.get("resync"):
            await self.sync_sessions()

    async def sync_sessions(self) -> None:
        """Tell control which sessions are open here: those of an earlier life are gone."""
        live = [session.login.live_fields() for session in self.sessions.values()]
        await self._tell({"op": "session.sync", **self._life(), "sessions": live})

    def _life(self) -> dict[str, Any]:
        return {"worker": self.context.worker_id, "generation": self.context.generation}

    def tell_control(self, message: dict[str, Any]) -> None:
        """Send `message` to control; what is lost there is found again by its next sync."""
        self.spawn(self._tell(message), "tell-control")

    async def close(self) -> None:
        """Close everything that is shared. Sessions have ended before."""
        await self.cancels.stop()
        if self.links is not None:
            self.links.stop()
        for task in tuple(self._tasks):
            task.cancel()
        for pool in self._pools.values():
            pool.close()
        self.analyzer.close()
        self.planner.close()
        self.control.close()
        if self.commit is not None:
            self.commit.close()

    @property
    def pools(self) -> list[Pool]:
        """All pools of this worker."""
        return list(self._pools.values())

    async def _tell(self, message: dict[str, Any]) -> None:
        try:
            await self.control.request(message, _CONTROL_TIMEOUT_S)
        except ChannelError as error:
            log.debug("control did not take %s: %s", message.get("op"), error)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)
