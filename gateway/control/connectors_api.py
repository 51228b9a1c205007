"""The endpoints about connectors, for admins; auditors may look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway.clock import format_time
from gateway.config_values import check_name
from gateway.control.problems import HttpProblem
from gateway.control.web import json_answer, read_json
from gateway.limits import CONNECTOR_TOKEN_S_MAX

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.approvals.rules import Person
    from gateway.control.connectors import Connectors
    from gateway.control.enrolment import Enrolled
    from gateway.control.members import Member
    from gateway.control.web import Services

TOKEN_S = 3_600.0


class ConnectorsApi:
    """Lists, invites and revokes."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """Return the routes; `openapi.json` names the same ones."""
        return [
            Route("/v1/connectors", self.list_members),
            Route("/v1/connectors/{name}/join", self.join, methods=["POST"]),
            Route("/v1/connectors/{name}/revoke", self.revoke, methods=["POST"]),
        ]

    async def list_members(self, request: Request) -> Response:
        """List who joined, newest first, and how those do that are connected."""
        await self._require(request, {"admin", "auditor"})
        return json_answer({"items": [_shape(*pair) for pair in await self._connectors().list()]})

    async def join(self, request: Request) -> Response:
        """Make a join token for a process of the connector."""
        person = await self._require(request, {"admin"})
        body = await read_json(request)
        if unknown := set(body) - {"for_s"}:
            raise HttpProblem(422, f"unknown field {min(unknown)[:40]!r}")
        for_s = body.get("for_s", TOKEN_S)
        if isinstance(for_s, bool) or not isinstance(for_s, int | float):
            raise HttpProblem(422, "for_s is a number of seconds")
        if not 0 < for_s <= CONNECTOR_TOKEN_S_MAX:
            raise HttpProblem(422, f"for_s is at most {CONNECTOR_TOKEN_S_MAX:g}")
        name = _name(request)
        targets = self._services.config.targets.values()
        if name not in {target.connector for target in targets}:
            raise HttpProblem(422, "no target names this connector")
        token = await self._connectors().invite(name, person.key, for_s)
        return json_answer({"token": token, "expires_in": for_s})

    async def revoke(self, request: Request) -> Response:
        """Put a member out, or all of a connector."""
        person = await self._require(request, {"admin"})
        await read_json(request)
        gone = await self._connectors().revoke(_name(request), person.key)
        if not gone:
            raise HttpProblem(404, "no such connector")
        return json_answer({"revoked": gone})

    def _connectors(self) -> Connectors:
        if self._services.connectors is None:
            raise HttpProblem(404, "connectors.listen is not set")
        return self._services.connectors

    async def _require(self, request: Request, roles: set[str]) -> Person:
        person = (await self._services.auth.require(request)).person
        if person.is_agent or not person.roles & roles:
            raise HttpProblem(403, f"this is for {' and '.join(sorted(roles))}s")
        return person


def _name(request: Request) -> str:
    name = str(request.path_params["name"])
    try:
        check_name(name)
    except ValueError as error:
        raise HttpProblem(422, str(error)) from error
    return name


def _shape(known: Enrolled, member: Member | None) -> dict[str, Any]:
    state = "revoked" if known.revoked_at is not None else "away"
    if member is not None:
        state = "ready" if member.is_sound and not member.health else "unsound"
    shape: dict[str, Any] = {
        "id": known.id,
        "connector": known.connector,
        "state": state,
        "joined": format_time(int(known.joined_at * 1e6)),
        "joined_from": known.joined_from,
    }
    if member is not None:
        shape |= {
            "client": member.client,
            "version": member.version,
            "targets": sorted(member.targets),
            "streams": member.streams,
            "problems": dict(member.health),
        }
    return shape
