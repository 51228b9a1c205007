"""The worker's end of the analyzers: choose one, wait within bounds, survive its death.

A request that was merely queued when its analyzer died is asked again. The text that was being
analysed is not: it is refused as too complex, here and at every other worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.errors import ERRORS, ClientError, NotReady, TooComplex
from gateway.ipc import paths
from gateway.ipc.channel import (
    Channel,
    ChannelBusy,
    ChannelError,
    ChannelLost,
    ChannelTimeout,
    Message,
)
from gateway.ipc.crash_memory import CrashMemory, request_digest
from gateway.limits import ANALYSIS_TIMEOUT_S, ANALYZER_PENDING_MAX

_ATTEMPTS_MAX = 3
_RESTART_PENALTY = 8


@dataclass(slots=True)
class _Analyzer:
    number: int
    channel: Channel
    pending: int = 0


class AnalyzerClient:
    """Asks analyzers over their sockets. Every refusal is a `ClientError`."""

    def __init__(
        self,
        sockets: Sequence[Path],
        crashes: CrashMemory,
        *,
        timeout_s: float = ANALYSIS_TIMEOUT_S,
    ) -> None:
        self._analyzers = tuple(
            _Analyzer(number, Channel(path, pending_max=ANALYZER_PENDING_MAX))
            for number, path in enumerate(sockets)
        )
        self._crashes = crashes
        self._timeout_s = timeout_s

    @classmethod
    def for_gateway(cls, data_dir: Path, count: int) -> AnalyzerClient:
        """Client of the `count` analyzers that run on `data_dir`."""
        sockets = [paths.analyzer_socket(data_dir, number) for number in range(count)]
        return cls(sockets, CrashMemory.open(paths.crash_file(data_dir)))

    async def decide(self, request: Mapping[str, Any]) -> Message:
        """Return the wire form of the Decision on `DecideRequest.to_wire()`.

        Raises TooComplex (PN308) for a text that took an analyzer down or ran out of time.
        """
        digest = request_digest(request)
        if digest in self._crashes:
            raise _deadly_text()
        try:
            return await self._ask({**request, "op": "decide"}, digest)
        except ChannelTimeout as error:
            raise TooComplex(
                f"the statement was not decided within {self._timeout_s:g} s",
                hint="Send it again later, or in a simpler form.",
                reason=str(error),
            ) from error
        except ChannelBusy as error:
            raise TooComplex(
                "too many statements wait to be decided",
                hint="Send the statement again later.",
                reason=str(error),
            ) from error
        except ChannelError as error:
            raise TooComplex("the statement could not be decided", reason=str(error)) from error

    async def profile(
        self, principal: Mapping[str, Any], target: str, requested: str
    ) -> Message | None:
        """Return the wire form of the Profile, None without any grant on the target.

        Raises NotReady (PN107) when no analyzer can answer.
        """
        message = {
            "op": "profile",
            "principal": principal,
            "target": target,
            "requested": requested,
        }
        try:
            answer = await self._ask(message, None)
        except ChannelError as error:
            raise NotReady("the gateway is not ready", reason=str(error)) from error
        return None if answer.get("none") else answer

    async def preview(self, request: Mapping[str, Any]) -> Message:
        """Return what a held statement would do, as `gateway.process.preview` says it.

        Raises ChannelError, or the ClientError an analyzer answers with.
        """
        return await self._ask({**request, "op": "preview"}, None)

    async def tell(self, operation: str, **fields: object) -> Message:
        """Return an analyzer's answer to a person: explain, policy_tests or status.

        Raises ChannelError, or the ClientError an analyzer answers with.
        """
        return await self._ask({**fields, "op": operation}, None)

    def close(self) -> None:
        """Drop the connections; pending requests fail."""
        for analyzer in self._analyzers:
            analyzer.channel.close()

    async def _ask(self, message: Mapping[str, Any], digest: bytes | None) -> Message:
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        for _ in range(_ATTEMPTS_MAX):
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                break
            analyzer = self._least_busy()
            analyzer.pending += 1
            try:
                answer = await analyzer.channel.request(message, left_s)
            except ChannelLost:
                if digest is not None and self._killed(analyzer, digest):
                    raise _deadly_text() from None
                continue
            finally:
                analyzer.pending -= 1
            if (refusal := answer.get("client_error")) is not None:
                raise _rebuild(refusal)
            return answer
        raise ChannelTimeout("the analyzers went away while the request waited")

    def _least_busy(self) -> _Analyzer:
        # One that is being restarted has nothing pending, and must not draw all requests.
        return min(
            self._analyzers,
            key=lambda one: one.pending + (0 if one.channel.is_connected else _RESTART_PENALTY),
        )

    def _killed(self, analyzer: _Analyzer, digest: bytes) -> bool:
        # The mark first: the supervisor moves it into the ring, so that a look at the ring
        # before could miss it in both.
        return self._crashes.marked(analyzer.number) == digest or digest in self._crashes


def _deadly_text() -> TooComplex:
    return TooComplex(
        "the statement is beyond what the gateway can analyse",
        reason="this text took an analyzer down",
    )


def _rebuild(wire: Mapping[str, Any]) -> ClientError:
    return ERRORS[wire["id"]](
        wire["message"],
        hint=wire["hint"],
        facts=wire["facts"],
        reason=wire["reason"],
        position=wire["position"],
    )
