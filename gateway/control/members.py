"""The connectors that are there: what each serves, how busy it is, and asking one of them.

Least loaded first; one that just failed last. A member that does not beat gets no new
connection, while those it carries go on: they have time-outs of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway import metrics
from gateway.errors import UpstreamError, clean_text
from gateway.ipc.connector_wire import WireError, write_frame
from gateway.limits import CONNECTOR_LOST_S, CONNECTOR_OPENS_MAX, DIAL_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config import Target

_SHUNNED_S = 5.0
_CANCEL_KEYS_MAX = 20_000
_ANSWER_S = DIAL_TIMEOUT_S - 1  # the asking worker must hear of a failure
_OK = metrics.CONNECTOR_OPENS.slot("ok")
_FAILED = metrics.CONNECTOR_OPENS.slot("failed")


@dataclass(frozen=True, slots=True)
class Served:
    """What a member offers of one target."""

    database: str
    user: str
    roles: frozenset[str]


@dataclass(slots=True, eq=False)
class Member:
    """One connector process that is connected."""

    id: str
    connector: str
    client: str
    version: str
    writer: asyncio.StreamWriter
    targets: Mapping[str, Served]
    connected_at: float = field(default_factory=time.monotonic)
    beat_at: float = field(default_factory=time.monotonic)
    failed_at: float = float("-inf")
    streams: int = 0
    health: Mapping[str, str] = field(default_factory=dict)
    pending: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _last: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether it said lately that it lives."""
        return time.monotonic() - self.beat_at < CONNECTOR_LOST_S

    def order(self) -> tuple[bool, int]:
        """Sort key: who failed lately last, then the least loaded."""
        return time.monotonic() - self.failed_at < _SHUNNED_S, self.streams + len(self.pending)

    async def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the member's answer; raises UpstreamError."""
        if len(self.pending) >= CONNECTOR_OPENS_MAX:
            raise UpstreamError("the connector has too many requests in flight")
        self._last += 1
        number = self._last
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.pending[number] = answer
        try:
            write_frame(self.writer, {**message, "n": number})
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except TimeoutError:
            raise UpstreamError("the connector does not answer") from None
        finally:
            del self.pending[number]

    def take(self, frame: Mapping[str, Any]) -> None:
        """Take what the member sent: its beat or an answer."""
        if frame.get("op") == "beat":
            self.beat_at = time.monotonic()
            self.streams = _count(frame.get("streams"))
            self.health = _health(frame.get("health"), self.targets)
            return
        future = self.pending.get(_count(frame.get("n")))
        if future is None or future.done():
            return  # answered after its time-out
        if frame.get("ok") is True:
            future.set_result(dict(frame))
        else:
            text = clean_text(str(frame.get("error", "refused")), 300)
            future.set_exception(UpstreamError(text))

    def gone(self) -> None:
        """Fail what waits for an answer."""
        for future in self.pending.values():
            if not future.done():
                future.set_exception(UpstreamError("the connector went away"))
        self.writer.close()


class Members:
    """All members that are connected."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = targets
        self._members: dict[str, Member] = {}
        # Where a cancel goes: to the member that opened what is to be cancelled.
        self._openers: OrderedDict[tuple[str, int, str], str] = OrderedDict()

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members.values()))

    def get(self, member: str) -> Member | None:
        """Return the member that is connected under this id."""
        return self._members.get(member)

    def add(self, member: Member) -> None:
        """Put a member on the list; an older connection of the same one is closed."""
        old = self._members.pop(member.id, None)
        if old is not None:
            old.gone()
        self._members[member.id] = member
        self.count()

    def remove(self, member: Member) -> bool:
        """Take a member off; False when a newer connection of it has its place."""
        member.gone()
        if self._members.get(member.id) is not member:
            return False
        del self._members[member.id]
        self.count()
        return True

    def count(self) -> None:
        """Keep the gauge."""
        sound = sum(1 for member in self._members.values() if member.is_sound)
        metrics.put(metrics.CONNECTORS.slot(), sound)

    def judge(self, connector: str, told: Any) -> dict[str, Served]:
        """Return what a member of `connector` may serve of what it told; raises WireError."""
        if not isinstance(told, dict) or not told:
            raise WireError("the connector serves nothing")
        served = {}
        for name, offer in told.items():
            target = self._targets.get(name)
            # The same words for a target that does not exist: it need not learn which do.
            if target is None or target.connector != connector:
                raise WireError(f"it claims target {clean_text(str(name), 64)!r}, which is not its")
            served[name] = _served(offer)
        return served

    async def open(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Let a member open a connection for a worker; raises UpstreamError when none can."""
        target = self._targets.get(str(message.get("target")))
        level = message.get("level")
        if target is None or target.connector is None or level not in ("read", "write", "admin"):
            raise UpstreamError("not a target of a connector")
        role = getattr(target.roles, level) or target.user
        problems: list[str] = []
        for member in self._able(target, role, problems):
            try:
                answer = await member.ask(
                    {
                        "op": "open", "target": target.name, "role": role, "level": level,
                        "ticket": message.get("ticket"), "slot": message.get("slot"),
                    }
                )  # fmt: skip
            except UpstreamError as error:
                member.failed_at = time.monotonic()
                problems.append(f"{member.id}: {error}")
                continue
            member.streams += 1
            key = (target.name, _count(answer.get("pid")), str(answer.get("cancel")))
            self._openers[key] = member.id
            if len(self._openers) > _CANCEL_KEYS_MAX:
                self._openers.popitem(last=False)
            metrics.inc(_OK)
            return {"connector": member.id}
        metrics.inc(_FAILED)
        raise UpstreamError("; ".join(problems) or f"no connector {target.connector!r} is there")

    async def cancel(self, target: str, pid: int, secret: bytes) -> None:
        """Cancel at the server what a connection runs; raises UpstreamError."""
        member = self._members.get(self._openers.get((target, pid, secret.hex()), ""))
        if member is None:
            raise UpstreamError("the connector that opened the connection is not there")
        await member.ask({"op": "cancel", "target": target, "pid": pid, "cancel": secret.hex()})

    def _able(self, target: Target, role: str, problems: list[str]) -> list[Member]:
        able = []
        for member in self._members.values():
            offer = member.targets.get(target.name)
            if offer is None:
                continue
            if (offer.database, offer.user) != (target.database, target.user):
                problems.append(f"{member.id} has another database or login role")
            elif role not in offer.roles:
                problems.append(f"{member.id} does not serve role {role!r}")
            elif not member.is_sound:
                problems.append(f"{member.id} was not heard of lately")
            elif problem := member.health.get(target.name):
                problems.append(f"{member.id}: {problem}")
            else:
                able.append(member)
        return sorted(able, key=Member.order)


def _served(offer: Any) -> Served:
    if not isinstance(offer, dict):
        raise WireError("an offer that is not an object")
    roles, database, user = (offer.get(key) for key in ("roles", "database", "user"))
    if not isinstance(roles, list) or not isinstance(database, str) or not isinstance(user, str):
        raise WireError("an offer that is malformed")
    return Served(database, user, frozenset(str(role) for role in roles))


def _health(told: Any, targets: Mapping[str, Served]) -> dict[str, str]:
    if not isinstance(told, dict):
        return {}
    return {name: clean_text(str(told[name]), 300) for name in targets if told.get(name)}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 31 else 0
