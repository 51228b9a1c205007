"""The audit trail for people: search, one record, kept searches, export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import orjson
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.audit.export import formatter, read_events
from gateway.audit.search import TIME_MAX, Query
from gateway.control.audit_rows import PAGE_ROWS, read_before, read_query, rows_of
from gateway.control.page_base import PageBase
from gateway.control.problems import HttpProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

ROLES: Final = ("auditor", "admin")
FORMATS: Final = ("ndjson", "cef", "ocsf")
_EXAMPLES: Final = (
    ("refused today", "kind:statement.refused when:today"),
    ("decisions of people", "kind:approval.decided"),
    ("changes of policy", "kind:policy.activated"),
    ("who was put out", "revoke kind:admin.action"),
    ("security events", "kind:security.*"),
)


class AuditPages(PageBase):
    """The endpoints about the trail; the API's under /v1 as well, as they answer from the same."""

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        post = ["POST"]
        return [
            Route("/audit", self.search),
            Route("/audit/export", self.export),
            Route("/audit/saved", self.save, methods=post),
            Route("/audit/{sequence:int}", self.record),
        ]

    async def search(self, request: Request) -> Response:
        """List what a search finds, newest first."""
        caller = await self.require_caller(request, *ROLES)
        text, before = request.query_params.get("q", ""), read_before(request)
        rows, problem = [], ""
        try:
            query = read_query(text, before=before)
        except HttpProblem as error:
            problem = error.detail
        else:
            rows = rows_of(await self._services.inspector.search(query))
        return self.page(
            "audit.html", caller, 422 if problem else 200, q=text, rows=rows, problem=problem,
            older=rows[-1].sequence if len(rows) == PAGE_ROWS else 0, newest=before == TIME_MAX,
            saved=await self._services.saved.of(caller.person.key), examples=_EXAMPLES,
            formats=FORMATS,
        )  # fmt: skip

    async def record(self, request: Request) -> Response:
        """Show one record with every field."""
        caller = await self.require_caller(request, *ROLES)
        sequence = int(request.path_params["sequence"])
        if sequence >= TIME_MAX:
            raise HttpProblem(404, "no such record")
        query = Query(before=sequence + 1, limit=1)
        events = await self._services.inspector.search(query)
        if not events or events[0].sequence != sequence:
            raise HttpProblem(404, "no such record")
        merged = events[0].merged()
        return self.page(
            "record.html", caller, sequence=sequence, kind=str(merged.get("kind", "")),
            time_us=int(merged.get("time", 0)), sql=str(merged.pop("sql", "") or ""),
            facts=[(name, _readable(value)) for name, value in merged.items()],
        )  # fmt: skip

    async def save(self, request: Request) -> Response:
        """Keep a search under a name, or forget one."""
        caller, form = await self.form(request, *ROLES)
        text, name = form.get("q", ""), form.get("name", "").strip()
        if form.get("do") == "forget":
            await self._services.saved.drop(caller.person.key, name)
        else:
            read_query(text)
            await self._services.saved.keep(caller.person.key, name, text)
        return RedirectResponse(f"/audit?{urlencode({'q': text})}", 303)

    async def export(self, request: Request) -> Response:
        """Stream everything a search finds, oldest first."""
        await self.require_caller(request, *ROLES)
        form = request.query_params.get("format", "ndjson")
        if form not in FORMATS:
            raise HttpProblem(422, f"format is one of {', '.join(FORMATS)}")
        query = read_query(request.query_params.get("q", ""))
        headers = {"content-disposition": f'attachment; filename="postern-audit.{form}"'}
        lines = iterate_in_threadpool(self._lines(query, form))
        return StreamingResponse(lines, media_type="application/x-ndjson", headers=headers)

    def _lines(self, query: Query, form: str) -> Iterator[bytes]:
        line_of = formatter(form)
        for event in read_events(self._services.data_dir, query):
            if line := line_of(event):
                yield line.encode() + b"\n"


def _readable(value: Any) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(value, default=str).decode()
