"""The application: API, pages, probes and the guard around them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from gateway.approvals.refusal import Refusal
from gateway.control.api import Api
from gateway.control.connectors_api import ConnectorsApi
from gateway.control.events import Events
from gateway.control.exchange import ExchangeApi
from gateway.control.guard import Guard, describe
from gateway.control.logout import LOGOUT, BackChannelLogout
from gateway.control.page_base import LoginNeeded
from gateway.control.pages import Pages
from gateway.control.pages_audit import AuditPages
from gateway.control.pages_people import PeoplePages
from gateway.control.pages_policy import PolicyPages
from gateway.control.pages_watch import WatchPages
from gateway.control.probes import Probes
from gateway.control.problems import HttpProblem, problem_response
from gateway.control.revocation import RevocationApi
from gateway.control.signin import SignIn
from gateway.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, ExceptionHandler

    from gateway.control.web import Services

STATIC = Path(__file__).with_name("static")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PROGRAMS = ("/v1/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/events", LOGOUT)


def build_app(services: Services, stop: asyncio.Event) -> ASGIApp:
    """Return the ASGI application that serves all of the control plane."""
    pages = Pages(services)

    async def on_login(request: Request, exc: Exception) -> Response:
        if not isinstance(exc, LoginNeeded):
            raise exc
        return exc.response()

    async def on_error(request: Request, exc: Exception) -> Response:
        if isinstance(exc, HTTPException):  # Starlette's own: no such route or method
            status, text, headers = exc.status_code, exc.detail, dict(exc.headers or {})
        else:
            status, text, request.state.reason, headers = describe(exc)
        if request.url.path.startswith(_PROGRAMS):
            return problem_response(status, text, headers)
        return pages.error(request, status, text)

    handled: list[type[Exception]] = [HTTPException, HttpProblem, Refusal, ClientError, Exception]
    handlers: dict[int | type[Exception], ExceptionHandler] = dict.fromkeys(handled, on_error)
    handlers[LoginNeeded] = on_login
    app = Starlette(
        routes=[
            *Api(services).routes(),
            *RevocationApi(services).routes(),
            *ExchangeApi(services).routes(),
            *ConnectorsApi(services).routes(),
            *Probes(services).routes(),
            *Events(services, stop).routes(),
            *_static_routes(),
            *SignIn(services, pages).routes(),
            *BackChannelLogout(services).routes(),
            *pages.routes(),
            *WatchPages(services).routes(),
            *AuditPages(services).routes(),
            *PolicyPages(services).routes(),
            *PeoplePages(services).routes(),
        ],
        exception_handlers=handlers,
    )
    return Guard(app, services.trail)


def _static_routes() -> list[Route]:
    # A closed list read at start: no path of a request ever reaches the file system.
    return [
        Route(f"/static/{path.name}", _static(path.read_bytes(), _TYPES[path.suffix]))
        for path in sorted(STATIC.iterdir())
        if path.suffix in _TYPES
    ]


def _static(body: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return Response(body, media_type=media_type, headers={"cache-control": "no-cache"})

    return endpoint
