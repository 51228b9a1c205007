"""What API and pages share: the parts of the application, and how a request is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, quote

import orjson
from starlette.responses import Response

from gateway.approvals.listing import Viewer
from gateway.control.problems import HttpProblem
from gateway.limits import COMMENT_BYTES_MAX, HTTP_BODY_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from starlette.requests import Request

    from gateway.approvals.desk import ApprovalDesk
    from gateway.approvals.rules import Person
    from gateway.clock import Clock
    from gateway.config import Config
    from gateway.control.auth import Authenticator
    from gateway.control.connectors import Connectors
    from gateway.control.directory import Directory
    from gateway.control.inspector import Inspector
    from gateway.control.keys import KeyKeeper
    from gateway.control.live import LiveSessions
    from gateway.control.login_codes import LoginCodes
    from gateway.control.policies import Policies
    from gateway.control.rates import Rates
    from gateway.control.revocation import RevocationKeeper
    from gateway.control.saved import SavedFilters
    from gateway.control.trail import Trail
    from gateway.identity.gateway_tokens import GatewayTokens
    from gateway.identity.logout import Logout

FORM_FIELDS_MAX = 10
_PATH = re.compile(r"(?:/[A-Za-z0-9_-]{1,64}){1,6}", re.ASCII)


class Analyzers(Protocol):
    """What the control plane needs of `gateway.ipc.analyzer_client.AnalyzerClient`."""

    async def preview(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a held statement would do."""
        ...

    async def tell(self, operation: str, **fields: object) -> dict[str, Any]:
        """Return an analyzer's answer to a person."""
        ...

    def close(self) -> None:
        """Drop the connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of the control plane that requests are answered from."""

    config: Config
    data_dir: Path
    desk: ApprovalDesk
    live: LiveSessions
    directory: Directory
    keys: KeyKeeper
    auth: Authenticator
    revocations: RevocationKeeper
    rates: Rates
    analyzers: Analyzers
    inspector: Inspector
    policies: Policies
    saved: SavedFilters
    gateway_tokens: GatewayTokens
    login_codes: LoginCodes
    verify_logout: Callable[[str], Awaitable[Logout]]
    trail: Trail
    clock: Clock
    connectors: Connectors | None = None  # None: no address for them is configured


def json_answer(value: object, headers: Mapping[str, str] | None = None) -> Response:
    """Return `value` as the body of a 200."""
    return Response(orjson.dumps(value), 200, dict(headers or {}), media_type="application/json")


def viewer_of(person: Person) -> Viewer:
    """Return whose eyes a list is for. Agents see their own requests and nothing else."""
    if person.is_agent:
        return Viewer(key=person.key)
    if person.roles & {"admin", "auditor"}:
        return Viewer(key=person.key, sees_all=True)
    groups = tuple(sorted(person.groups)) if "reviewer" in person.roles else ()
    return Viewer(key=person.key, groups=groups)


def sees_sessions(person: Person) -> bool:
    """Tell whether `person` may see sessions of others."""
    return bool(person.roles) and not person.is_agent


def sees_preview(person: Person) -> bool:
    """Tell whether `person` may see what the database said: a plan shows how many rows there are.

    Not the requester: a held statement would otherwise be a way to ask about hidden rows.
    """
    return bool(person.roles) and not person.is_agent


def safe_path(text: str) -> str:
    """Return `text` when it is a page of ours to go to after a login, "" when it may not be."""
    is_page = _PATH.fullmatch(text) and not text.startswith(("/login", "/logout"))
    return text if is_page else ""


def login_links(config: Config, next_path: str) -> list[tuple[str, str]]:
    """Return name and address of each way to log in at a provider."""
    query = f"?next={quote(next_path, safe='')}" if next_path else ""
    return [
        (issuer.id, f"/login/with/{quote(issuer.id, safe='')}{query}")
        for issuer in config.issuers
        if issuer.login.client_id or issuer.kind == "saml"
    ]


async def read_body(request: Request) -> bytes:
    """Return the body; raises HttpProblem before holding more than the limit."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > HTTP_BODY_BYTES_MAX:
            raise HttpProblem(413, f"a body is at most {HTTP_BODY_BYTES_MAX} bytes")
    return bytes(body)


async def read_json(request: Request) -> dict[str, Any]:
    """Return a JSON object, {} for an empty body; raises HttpProblem."""
    body = await read_body(request)
    if not body:
        return {}
    if media_type(request) != "application/json":
        # Also keeps out what a foreign page can send without asking: forms and plain text.
        raise HttpProblem(415, "send application/json")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise HttpProblem(400, "the body is not valid JSON") from exc
    if not isinstance(value, dict):
        raise HttpProblem(422, "the body must be a JSON object")
    return value


async def read_form(request: Request) -> dict[str, str]:
    """Return a form's fields; raises HttpProblem. A field given twice is refused."""
    if media_type(request) != "application/x-www-form-urlencoded":
        raise HttpProblem(415, "send a form")
    try:
        text = (await read_body(request)).decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict",
            max_num_fields=FORM_FIELDS_MAX,
        )  # fmt: skip
    except ValueError as exc:
        raise HttpProblem(400, "the form is malformed") from exc
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise HttpProblem(400, "the form has a field twice")
    return fields


def media_type(request: Request) -> str:
    """Return the body's media type without parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_comment(comment: object) -> str:
    """Return a reviewer's comment as text; raises HttpProblem."""
    if comment is None:
        return ""
    if not isinstance(comment, str):
        raise HttpProblem(422, "comment must be a string")
    text = comment.replace("\r\n", "\n").strip()
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise HttpProblem(422, "comment is not valid Unicode") from exc
    if size > COMMENT_BYTES_MAX:
        raise HttpProblem(422, f"comment is at most {COMMENT_BYTES_MAX} bytes")
    return text


def client_of(request: Request) -> str:
    """Return the peer's address for the audit trail."""
    return "" if request.client is None else f"{request.client.host}:{request.client.port}"
