"""What an analyzer answers: profiles and decisions, at the risk of its life.

Short statements are judged in this process under a CPU limit. Long ones, and all of a principal
that took an analyzer down before, are judged in a forked copy of it: nobody else waits for
them or dies with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson

from gateway.errors import ClientError, NotReady, TooComplex
from gateway.ipc import paths
from gateway.ipc.channel import ChannelError, Message
from gateway.ipc.crash_memory import request_digest, sender_digest
from gateway.ipc.epochs import POLICY
from gateway.limits import ANALYSIS_TIMEOUT_S
from gateway.policy.decision import DecideRequest, Decision
from gateway.policy.engine import Engine
from gateway.policy.principal import Principal
from gateway.policy.profile import Profile
from gateway.process.child import ChildContext
from gateway.process.confine import (
    INLINE_SQL_BYTES_MAX,
    WorkDied,
    cpu_limit,
    run_apart,
)
from gateway.process.inspecting import explain_json, tests_json
from gateway.process.preview import Wanted
from gateway.process.turns import Turns
from gateway.sql.catalog import Catalog

_LONG_AT_ONCE_MAX = 2


class Keeper(Protocol):
    """What an analyzer needs of its catalogs, see `CatalogKeeper`."""

    changes: int

    @property
    def catalogs(self) -> Mapping[str, Catalog]:
        """The catalogs at hand."""

    async def ensure(self, name: str) -> None:
        """Have a current catalog of `name` at hand, or raise NotReady."""

    async def on_miss(self, name: str) -> bool:
        """Look again, now and then; True when that changed a catalog."""

    def status(self) -> dict[str, str]:
        """Return per target what keeps it from being served, "" for nothing."""


class EngineLike(Protocol):
    """What an analyzer needs of `gateway.policy.engine.Engine`."""

    def profile(self, principal: Principal, target: str, requested: str) -> Profile | None:
        """Return the rights of a session."""

    def decide(self, request: DecideRequest) -> Decision:
        """Return the decision on one string of SQL."""


class PreviewerLike(Protocol):
    """What an analyzer needs of `gateway.process.preview.Previewer`."""

    async def preview(self, wanted: Wanted, engine: Engine) -> dict[str, Any]:
        """Return what a held statement would do."""


MakeEngine = Callable[[bytes, Mapping[str, Catalog], EngineLike | None], EngineLike]


class Analyzer:
    """The requests an analyzer answers."""

    def __init__(
        self,
        context: ChildContext,
        keeper: Keeper,
        *,
        make_engine: MakeEngine,
        previewer: PreviewerLike | None = None,
    ) -> None:
        self._number = context.number
        self._epochs = context.epochs
        self._crashes = context.crashes
        self._policy_path = paths.active_policy(context.data_dir)
        self._keeper = keeper
        self._previewer = previewer
        self._turns = Turns()
        self._long_turns = Turns(_LONG_AT_ONCE_MAX)
        self._make_engine = make_engine
        self._engine: EngineLike | None = None
        self._engine_of: tuple[int, int] = (-1, -1)

    async def handle(self, message: Message) -> dict[str, Any]:
        """Answer one request; a refusal travels as `client_error`."""
        try:
            match message.get("op"):
                case "decide":
                    return await self._decide(message)
                case "profile":
                    return await self._profile(message)
                case "preview":
                    return await self._preview(message)
                case "explain":
                    await self._keeper.ensure(message["target"])
                    return await self._tell(lambda engine: explain_json(engine, message))
                case "policy_tests":
                    return await self._tell(tests_json)
                case "status":
                    return {"targets": self._keeper.status()}
                case other:
                    raise ChannelError(f"unknown request {other!r}")
        except ClientError as error:
            return {"client_error": _to_wire(error)}

    async def _profile(self, message: Message) -> dict[str, Any]:
        await self._keeper.ensure(message["target"])
        principal = Principal.from_wire(message["principal"])
        profile = self._current_engine().profile(principal, message["target"], message["requested"])
        return {"none": True} if profile is None else profile.to_wire()

    async def _tell(self, work: Callable[[Engine], bytes]) -> dict[str, Any]:
        """Answer a person, in a copy of this process: nobody else dies of what was typed."""
        engine = self._current_engine()
        if not isinstance(engine, Engine):
            raise NotReady("no policy is active")
        async with self._long_turns.turn("people"):
            try:
                answer = await run_apart(lambda: work(engine), timeout_s=ANALYSIS_TIMEOUT_S)
            except (WorkDied, TimeoutError) as error:
                raise _beyond_analysis("an explanation died or ran out of time") from error
        told: dict[str, Any] = orjson.loads(answer)
        return told

    async def _preview(self, message: Message) -> dict[str, Any]:
        wanted = Wanted.from_wire(message)
        await self._keeper.ensure(wanted.target)
        engine = self._current_engine()
        if self._previewer is None or not isinstance(engine, Engine):
            raise NotReady("no previews here")
        return await self._previewer.preview(wanted, engine)

    async def _decide(self, message: Message) -> dict[str, Any]:
        digest = request_digest(message)
        if digest in self._crashes:
            raise _beyond_analysis("this text took an analyzer down")
        request = DecideRequest.from_wire(message)
        await self._keeper.ensure(request.target)
        sender = sender_digest(request.principal.key)
        if len(request.sql) > INLINE_SQL_BYTES_MAX or sender in self._crashes:
            return await self._decide_apart(request, digest)
        answer = await self._decide_here(request, digest, sender)
        if _names_unknown(answer) and await self._keeper.on_miss(request.target):
            answer = await self._decide_here(request, digest, sender)
        if _names_unknown(answer):
            # What does not exist now may exist in a moment, and no change of ours would tell.
            answer["cache"] = "never"
        return answer

    async def _decide_here(
        self, request: DecideRequest, digest: bytes, sender: bytes
    ) -> dict[str, Any]:
        async with self._turns.turn(request.principal.key):
            # Let what arrived meanwhile take its place in the round before this one blocks it.
            await asyncio.sleep(0)
            engine = self._current_engine()
            self._crashes.mark(self._number, digest, sender)
            try:
                with cpu_limit():
                    answer: dict[str, Any] = engine.decide(request).to_wire()
            except MemoryError:
                raise TooComplex("the statement needs too much memory to analyse") from None
            except RecursionError:
                raise TooComplex("the statement is nested too deep") from None
            finally:
                self._crashes.unmark(self._number)
        return answer

    async def _decide_apart(self, request: DecideRequest, digest: bytes) -> dict[str, Any]:
        async with self._long_turns.turn(request.principal.key):
            engine = self._current_engine()
            try:
                answer = await run_apart(
                    lambda: _decide_to_bytes(engine, request), timeout_s=ANALYSIS_TIMEOUT_S
                )
            except WorkDied as error:
                self._crashes.add(digest)
                raise _beyond_analysis(f"its analysis died: {error}") from error
            except TimeoutError:
                raise _beyond_analysis("its analysis ran out of time") from None
        decided: dict[str, Any] = orjson.loads(answer)
        return decided

    def _current_engine(self) -> EngineLike:
        generations = (self._epochs.get(POLICY), self._keeper.changes)
        if self._engine is None or generations != self._engine_of:
            active = _read_active(self._policy_path)
            self._engine = self._make_engine(active, self._keeper.catalogs, self._engine)
            self._engine_of = generations
        return self._engine


def _read_active(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotReady("no policy is active", reason=f"{path.name}: {error.strerror}") from error


def _decide_to_bytes(engine: EngineLike, request: DecideRequest) -> bytes:
    try:
        return orjson.dumps(engine.decide(request).to_wire())
    except ClientError as error:
        return orjson.dumps({"client_error": _to_wire(error)})


def _beyond_analysis(reason: str) -> TooComplex:
    return TooComplex("the statement is beyond what the gateway can analyse", reason=reason)


def _names_unknown(answer: dict[str, Any]) -> bool:
    """Whether the statement was refused for a name the catalog does not hold."""
    error = answer.get("error")
    return error is not None and error["id"] in {"PN301", "PN305"}


def _to_wire(error: ClientError) -> dict[str, Any]:
    return {
        "id": error.id,
        "message": error.message,
        "hint": error.hint,
        "facts": dict(error.facts),
        "position": error.position,
        "reason": error.reason,
    }
