"""Server-sent events: one number that tells a page to look again.

Nothing of what changed is sent: the page asks for itself again and gets what its person may see.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway.control.problems import HttpProblem

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from gateway.approvals.changes import Changes
    from gateway.control.web import Services

STREAMS_MAX = 500
CHECK_S = 2.0  # how long a stream may outlive its login, its client or this process
QUIET_CHECKS = 8  # checks without news before a comment keeps proxies from closing
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class Events:
    """The endpoint that pages listen to."""

    def __init__(self, services: Services, stop: asyncio.Event) -> None:
        self._services = services
        self._stop = stop
        self._streams = 0

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/events", self.events)]

    async def events(self, request: Request) -> Response:
        """Stream the number of changes of one topic after the number the page knows."""
        await self._services.auth.require(request)
        topics = {
            "approvals": self._services.desk.changes,
            "sessions": self._services.live.changes,
        }
        changes = topics.get(request.query_params.get("topic", ""))
        after = request.query_params.get("after", "")
        if changes is None or not _NUMBER.fullmatch(after):
            raise HttpProblem(422, "unknown topic or number")
        if self._streams >= STREAMS_MAX:
            raise HttpProblem(503, "too many open pages")
        stream = self._stream(request, changes, int(after))
        return StreamingResponse(stream, media_type="text/event-stream")

    async def _stream(
        self, request: Request, changes: Changes, number: int
    ) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            yield b"retry: 3000\n\n"
            quiet = 0
            while not self._stop.is_set():
                latest = await changes.after(number, CHECK_S)
                if latest != number:
                    number, quiet = latest, 0
                    yield b"data: %d\n\n" % number
                else:
                    quiet += 1
                if quiet >= QUIET_CHECKS:
                    quiet = 0
                    yield b": still here\n\n"
                if await request.is_disconnected() or not await self._is_signed_in(request):
                    return
        finally:
            self._streams -= 1

    async def _is_signed_in(self, request: Request) -> bool:
        try:
            return await self._services.auth.caller(request) is not None
        except HttpProblem:
            return False
