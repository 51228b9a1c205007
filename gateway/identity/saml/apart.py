"""Have a document read by a process of its own, and take its answer."""

from __future__ import annotations

import asyncio
import base64
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

from gateway.errors import NotReady, TokenInvalid

_TIMEOUT_S: Final = 10.0
_AT_ONCE: Final = 2
_WAITING_MAX: Final = 32
_CODE: Final = Path(__file__).parents[3]


class Reader:
    """Starts the processes: a few at once, a bounded number waiting."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def read_metadata(self, data: bytes, entity: str) -> dict[str, Any]:
        """Return what `metadata.read_metadata` finds; raises TokenInvalid, NotReady."""
        return await self._ask({"what": "metadata", "entity": entity}, data)

    async def read_response(self, data: bytes, expected: dict[str, Any]) -> dict[str, Any]:
        """Return what `response.read_response` finds; raises TokenInvalid, NotReady."""
        return await self._ask({"what": "response", "expected": expected}, data)

    async def _ask(self, question: dict[str, Any], data: bytes) -> dict[str, Any]:
        if self._waiting >= _WAITING_MAX:
            raise NotReady("too many logins at once", reason="SAML responses are waiting")
        self._waiting += 1
        try:
            async with self._slots, asyncio.timeout(_TIMEOUT_S):
                document = base64.b64encode(data).decode()
                return await _run(orjson.dumps(question | {"document": document}))
        except TimeoutError:
            raise TokenInvalid(reason="reading it took too long") from None
        finally:
            self._waiting -= 1


async def _run(question: bytes) -> dict[str, Any]:
    # No environment: it may hold secrets of ours. The document goes by the pipe, never by an
    # argument that the process list shows.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.identity.saml.child", cwd=_CODE, env={},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        output, _ = await process.communicate(question)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        raise TokenInvalid(reason=f"its reader ended with status {process.returncode}")
    answer = orjson.loads(output)
    if "found" not in answer:
        raise TokenInvalid(reason=str(answer.get("refused"))[:300])
    found: dict[str, Any] = answer["found"]
    return found
