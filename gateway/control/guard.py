"""The layer around every request: headers that disarm pages, the audit record, the last catch.

A call is recorded before the first byte of its answer leaves; when it cannot be recorded, the
caller gets 503 and none of the answer. Plain ASGI, because streams must pass through unbuffered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.approvals.refusal import Refusal
from gateway.control.problems import STATUS_OF, HttpProblem, problem_response
from gateway.errors import AuditUnwritable, ClientError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.control.trail import Trail

# Probes and the page's own files: asked every few seconds, change nothing, show nothing.
UNRECORDED = ("/healthz", "/readyz", "/metrics", "/static/")

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
        "require-trusted-types-for 'script'; trusted-types default"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: a browser then sends "Origin: null" with our own forms, and the check of
    # where a form came from could not tell them from a sandboxed stranger's.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cache-control": "no-store",
}
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Guard:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, trail: Trail) -> None:
        self._app = app
        self._trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        started = False
        unwritable: AuditUnwritable | None = None

        async def guarded_send(message: Message) -> None:
            nonlocal started, unwritable
            if message["type"] == "http.response.start":
                try:
                    self._record(scope, int(message["status"]))
                except AuditUnwritable as exc:
                    unwritable = exc
                    raise
                present = {name.lower() for name, _ in message["headers"]}
                extra = [pair for pair in _RAW_HEADERS if pair[0] not in present]
                message = {**message, "headers": [*message["headers"], *extra]}
                started = True
            await send(message)

        try:
            await self._app(scope, receive, guarded_send)
        except Exception:
            # Starlette wraps what a send raises, so the flag tells and not the type.
            if unwritable is None or started:
                raise
            response = problem_response(503, unwritable.message)
            response.headers.update(HEADERS)
            await response(scope, receive, send)

    def _record(self, scope: Scope, status: int) -> None:
        path = str(scope["path"])
        if path.startswith(UNRECORDED) and status not in {401, 403}:
            return
        state, peer = scope["state"], scope.get("client")
        person = state.get("person")
        self._trail.call(
            action=f"{scope['method']} {_template(scope)}",
            path=path[:300],
            status=status,
            client=f"{peer[0]}:{peer[1]}" if peer else "",
            principal=None if person is None else person.principal,
            reason=str(state.get("reason", "")),
        )


def describe(exc: Exception) -> tuple[int, str, str, dict[str, str]]:
    """Return status, text for the caller, text for the trail and headers of an exception."""
    if isinstance(exc, HttpProblem):
        return exc.status, exc.detail, exc.reason or exc.detail, exc.headers
    if isinstance(exc, Refusal):
        return STATUS_OF[exc.code], exc.message, exc.message, {}
    if isinstance(exc, ClientError):
        return 503, exc.message, exc.reason, {}
    return 500, "internal error", type(exc).__name__, {}


def _template(scope: Scope) -> str:
    route = scope.get("route")
    return str(getattr(route, "path", "(no route)"))
