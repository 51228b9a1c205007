"""A provider tells that a person logged out there: its tokens are revoked here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import apsw
import orjson
from starlette.responses import Response
from starlette.routing import Route

from gateway.control.problems import HttpProblem
from gateway.control.web import json_answer, read_form
from gateway.errors import TokenInvalid
from gateway.identity.one_time import OneTimeIds
from gateway.identity.revocation import Revocation
from gateway.limits import TOKEN_AGE_S_MAX

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.control.web import Services
    from gateway.identity.logout import Logout

LOGOUT = "/login/backchannel"
_KEPT_S = 3_600.0  # longer than any logout token is good


class BackChannelLogout:
    """The endpoint that providers call. Nothing but the token's signature proves them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._used = OneTimeIds(services.data_dir / "identity" / "used.db", services.clock)

    def routes(self) -> list[Route]:
        """Return the route; its address is registered at the provider."""
        return [Route(LOGOUT, self.logout, methods=["POST"])]

    async def logout(self, request: Request) -> Response:
        """Put out whom the token names; 400 for a token that proves nothing."""
        form = await read_form(request)
        address = "" if request.client is None else request.client.host
        auth = self._services.auth
        try:
            with auth.counting_failures(address):
                logout = await self._services.verify_logout(form.get("logout_token", ""))
            await self._use(logout)
        except TokenInvalid as refused:
            request.state.reason = refused.reason
            body = orjson.dumps({"error": "invalid_request"})
            return Response(body, 400, media_type="application/json")
        self._services.trail.record(
            "admin.action", action="logged out at the issuer", text="",
            object=f"{logout.kind} {logout.issuer_id} {logout.value}",
        )  # fmt: skip
        await self._services.revocations.add(_entry(logout, self._services.clock.wall()))
        return json_answer({})

    async def _use(self, logout: Logout) -> None:
        until = self._services.clock.wall() + _KEPT_S
        try:
            fresh = await asyncio.to_thread(
                self._used.use, "logout", logout.issuer_id, logout.token_id, until
            )
        except (apsw.Error, ValueError) as error:
            raise HttpProblem(503, "logouts cannot be noted now", reason=str(error)) from error
        if not fresh:
            raise TokenInvalid(reason="this logout token was used before")


def _entry(logout: Logout, now: float) -> Revocation:
    # Whoever logs in again afterwards has a later token and is not meant.
    before = logout.at if logout.kind == "subject" else None
    return Revocation(
        kind=logout.kind, issuer=logout.issuer_id, value=logout.value, by="the issuer", at=now,
        reason="logged out there", before=before, until=now + TOKEN_AGE_S_MAX,
    )  # fmt: skip
