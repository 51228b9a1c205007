"""The HTTP API under /v1. `docs/api.md` tells it to people, `/openapi.json` to programs.

What a caller may not know of answers exactly as what does not exist.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response
from starlette.routing import Route

from gateway.approvals.listing import Query
from gateway.approvals.rules import why_not
from gateway.approvals.states import ApprovalState
from gateway.control.problems import HttpProblem
from gateway.control.shapes import approval_json, listed_json, principal_json, session_json
from gateway.control.web import check_comment, read_json, sees_preview, sees_sessions, viewer_of
from gateway.limits import HTTP_PAGE_ITEMS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from gateway.approvals.model import Approval
    from gateway.approvals.rules import Person
    from gateway.control.live import LiveSession
    from gateway.control.web import Services

PAGE_ITEMS = 50
_NUMBER = re.compile(r"[0-9]{1,4}", re.ASCII)
_ETAG = re.compile(r'"([0-9]{1,9})"', re.ASCII)


class Api:
    """The endpoints of /v1."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """Return the routes; `openapi.json` names the same ones."""
        post = ["POST"]
        return [
            Route("/v1/whoami", self.whoami),
            Route("/v1/approvals", self.list_approvals),
            Route("/v1/approvals/{id}", self.show_approval),
            Route("/v1/approvals/{id}/approve", self.approve, methods=post),
            Route("/v1/approvals/{id}/deny", self.deny, methods=post),
            Route("/v1/approvals/{id}/cancel", self.cancel, methods=post),
            Route("/v1/approvals/{id}/revoke", self.revoke, methods=post),
            Route("/v1/sessions", self.list_sessions),
            Route("/v1/sessions/{id}", self.show_session),
        ]

    async def whoami(self, request: Request) -> Response:
        """Tell the caller what it is here."""
        person = await self._person(request)
        return _json(
            {
                "principal": principal_json(person.principal),
                "groups": sorted(person.groups),
                "roles": sorted(person.roles),
                "is_agent": person.is_agent,
                "expires_at": person.principal.expires_at,
            }
        )

    async def list_approvals(self, request: Request) -> Response:
        """List what the caller may see, newest first."""
        person = await self._person(request)
        params = _query(request, {"state", "target", "limit", "cursor"})
        query = Query(
            states=_states(params.get("state", "")),
            target=params.get("target", ""),
            cursor=params.get("cursor", ""),
            limit=_limit(params),
        )
        items, cursor = await self._services.desk.find(viewer_of(person), query)
        return _json({"items": [listed_json(item) for item in items], "next": cursor or None})

    async def show_approval(self, request: Request) -> Response:
        """Show one request."""
        person = await self._person(request)
        approval = await self._visible(request, person)
        return await self._approval(approval, person)

    async def approve(self, request: Request) -> Response:
        """Approve one request."""
        return await self._decide(request, "approve")

    async def deny(self, request: Request) -> Response:
        """Deny one request."""
        return await self._decide(request, "deny")

    async def cancel(self, request: Request) -> Response:
        """Withdraw one's own request while it is pending."""
        person = await self._person(request)
        comment = await _comment(request)
        approval = await self._visible(request, person)
        approval = await self._services.desk.withdraw(person, approval.id, comment)
        return await self._approval(approval, person)

    async def revoke(self, request: Request) -> Response:
        """Take back an approval that was not used."""
        person = await self._person(request)
        comment = await _comment(request)
        approval = await self._visible(request, person)
        approval = await self._services.desk.revoke(person, approval.id, comment)
        return await self._approval(approval, person)

    async def list_sessions(self, request: Request) -> Response:
        """List live sessions, newest first: all of them, or one's own without a role."""
        person = await self._person(request)
        params = _query(request, {"target", "limit", "cursor"})
        limit, after = _limit(params), params.get("cursor", "")
        target = params.get("target", "")
        found = [s for s in self._sessions(person) if not target or s.target == target]
        found.sort(key=_session_order, reverse=True)
        if after:
            found = [s for s in found if _session_cursor(s) < after]
        page = found[:limit]
        cursor = _session_cursor(page[-1]) if len(found) > limit else None
        return _json({"items": [session_json(s) for s in page], "next": cursor})

    async def show_session(self, request: Request) -> Response:
        """Show one live session."""
        person = await self._person(request)
        session = self._services.live.get(request.path_params["id"])
        if session is None or not _sees(person, session):
            raise HttpProblem(404, "no such session")
        return _json(session_json(session))

    async def _decide(self, request: Request, verdict: str) -> Response:
        person = await self._person(request)
        comment = await _comment(request)
        version = _if_match(request)
        approval = await self._visible(request, person)
        approval = await self._services.desk.decide(
            person, approval.id, verdict, comment, version=version
        )
        return await self._approval(approval, person)

    async def _person(self, request: Request) -> Person:
        return (await self._services.auth.require(request)).person

    async def _visible(self, request: Request, person: Person) -> Approval:
        return await self._services.desk.view(viewer_of(person), request.path_params["id"])

    def _sessions(self, person: Person) -> list[LiveSession]:
        return [session for session in self._services.live if _sees(person, session)]

    async def _approval(self, approval: Approval, person: Person) -> Response:
        reason = why_not(person, approval, self._services.clock.wall())
        if not reason and approval.state is not ApprovalState.PENDING:
            reason = f"this request is {approval.state.value.lower()} already"
        background = await self._services.desk.background(approval)
        body = approval_json(
            approval, background, may_decide=not reason, why_not=reason, sees=sees_preview(person)
        )
        return _json(body, {"etag": f'"{approval.version}"'})


def _sees(person: Person, session: LiveSession) -> bool:
    return sees_sessions(person) or session.principal.key == person.key


def _session_order(session: LiveSession) -> tuple[int, str]:
    return session.opened_us, session.id


def _session_cursor(session: LiveSession) -> str:
    return f"{session.opened_us:020d}.{session.id}"


def _json(value: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), 200, dict(headers or {}), media_type="application/json")


def _query(request: Request, allowed: set[str]) -> dict[str, str]:
    # A misspelt filter must not silently list everything.
    params: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed or name in params:
            raise HttpProblem(422, f"unknown or repeated query parameter {name[:40]!r}")
        params[name] = value
    return params


def _states(text: str) -> tuple[ApprovalState, ...]:
    try:
        return tuple({ApprovalState(name.strip().upper()): 0 for name in text.split(",") if name})
    except ValueError as exc:
        known = ", ".join(ApprovalState)
        raise HttpProblem(422, f"unknown state; one or more of {known}") from exc


def _limit(params: Mapping[str, Any]) -> int:
    text = params.get("limit", str(PAGE_ITEMS))
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= HTTP_PAGE_ITEMS_MAX:
        raise HttpProblem(422, f"limit is a number from 1 to {HTTP_PAGE_ITEMS_MAX}")
    return int(text)


def _if_match(request: Request) -> int | None:
    header = request.headers.get("if-match")
    if header is None or header == "*":
        return None
    matched = _ETAG.fullmatch(header)
    if matched is None:
        raise HttpProblem(422, "If-Match takes one ETag as this API gives it")
    return int(matched.group(1))


async def _comment(request: Request) -> str:
    body = await read_json(request)
    if unknown := set(body) - {"comment"}:
        raise HttpProblem(422, f"unknown field {min(unknown)[:40]!r}")
    return check_comment(body.get("comment"))
