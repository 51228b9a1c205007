"""SAML 2.0 web logins: our metadata, the request to the provider, its answer.

The answer arrives by a form that another site sends, with which a browser sends no cookie. So it
opens nothing: who it proves is kept under a one-time code, and the browser that began the login
picks that up by a plain navigation, with its cookie.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import apsw
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.control.auth import SESSION_S_MAX
from gateway.control.guard import HEADERS
from gateway.control.problems import HttpProblem
from gateway.control.web import read_form
from gateway.errors import ClientError, IdentityRevoked, TokenInvalid
from gateway.identity.one_time import OneTimeIds
from gateway.identity.saml.apart import Reader
from gateway.identity.saml.request import build_metadata, build_request, redirect_url
from gateway.policy.principal import Principal

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.config import Issuer
    from gateway.control.login_state import LoginState, LoginStates
    from gateway.control.pages import Pages
    from gateway.control.web import Services

FINISH: Final = "/login/saml/finish"


class SamlLogin:
    """The endpoints of SAML issuers."""

    def __init__(self, services: Services, pages: Pages, states: LoginStates) -> None:
        self._services = services
        self._pages = pages
        self._states = states
        self._reader = Reader()
        self._used = OneTimeIds(services.data_dir / "identity" / "used.db", services.clock)
        self._metadata: dict[str, tuple[int, dict[str, Any]]] = {}
        issuers = services.config.issuers
        self.issuers = {issuer.id: issuer for issuer in issuers if issuer.kind == "saml"}

    def routes(self) -> list[Route]:
        """Return the routes; identity providers and browsers without a session use them."""
        return [
            Route("/login/saml/{issuer}/metadata", self.metadata),
            Route("/login/saml/{issuer}/acs", self.consume, methods=["POST"]),
        ]

    async def metadata(self, request: Request) -> Response:
        """Give our metadata, to be registered at the provider."""
        issuer = self._issuer(request)
        body = build_metadata(issuer.audiences[0], self._consumer(issuer))
        return Response(body, media_type="application/samlmetadata+xml")

    async def start(self, issuer: Issuer, state: LoginState) -> Response:
        """Send the browser to the provider; raises TokenInvalid for unusable metadata."""
        found = await self._provider(issuer)
        destination = found["redirect"] or found["post"]
        message = build_request(
            request_id=f"_{state.text}", entity=issuer.audiences[0], destination=destination,
            consumer=self._consumer(issuer), now=self._services.clock.wall(),
        )  # fmt: skip
        if found["redirect"]:
            return RedirectResponse(redirect_url(destination, message), 303)
        response = self._pages.post_form(destination, base64.b64encode(message).decode())
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(destination))
        policy = HEADERS["content-security-policy"]
        response.headers["content-security-policy"] = policy.replace(
            "form-action 'self'", f"form-action {origin}"
        )
        return response

    async def consume(self, request: Request) -> Response:
        """Take the provider's answer; leads to the browser's own request."""
        issuer = self._issuer(request)
        form = await read_form(request)
        address = "" if request.client is None else request.client.host
        try:
            with self._services.auth.counting_failures(address):
                principal, state = await self._prove(issuer, form.get("SAMLResponse", ""))
        except (TokenInvalid, IdentityRevoked) as refused:
            request.state.reason = refused.reason
            return self._pages.login_page("", "the login was not accepted", status=403)
        person = await self._services.directory.person(principal)
        request.state.person = person
        code = self._services.login_codes.give(principal, state.browser, state.next)
        return RedirectResponse(f"{FINISH}?code={code}", 303)

    async def _prove(self, issuer: Issuer, encoded: str) -> tuple[Principal, LoginState]:
        """Return whom a response proves; raises TokenInvalid, IdentityRevoked."""
        try:
            data = base64.b64decode("".join(encoded.split()), validate=True)
        except (binascii.Error, ValueError):
            raise TokenInvalid(reason="not base64") from None
        provider, now = await self._provider(issuer), self._services.clock.wall()
        expected = {
            "issuer": issuer.issuer,
            "certificates": provider["certificates"],
            "recipient": self._consumer(issuer),
            "audiences": issuer.audiences,
            "groups": issuer.groups_claim,
            "needs_both": issuer.saml_signed == "both",
            "max_age_s": issuer.max_age_s,
            "leeway_s": issuer.leeway_s,
            "now": now,
        }
        found = await self._reader.read_response(data, expected)
        request_id = str(found["request_id"])
        state = self._states.read(request_id.removeprefix("_"))
        if state is None or state.issuer_id != issuer.id or not request_id.startswith("_"):
            raise TokenInvalid(reason="an answer to a request that is not ours, or too old")
        principal = _principal(issuer, found, now)
        self._services.auth.check(principal)
        for kind, value in (("saml-assertion", found["id"]), ("saml-request", request_id)):
            await self._use(kind, issuer.id, value, now + issuer.max_age_s)
        return principal, state

    async def _use(self, kind: str, issuer_id: str, value: str, until: float) -> None:
        try:
            fresh = await asyncio.to_thread(self._used.use, kind, issuer_id, value, until)
        except (apsw.Error, ValueError) as error:
            raise HttpProblem(503, "logins cannot be noted now", reason=str(error)) from error
        if not fresh:
            raise TokenInvalid(reason=f"{kind} used before (replay)")

    async def _provider(self, issuer: Issuer) -> dict[str, Any]:
        """Return what the provider's metadata says, read again when the file changed."""
        path = issuer.saml_metadata
        if path is None:
            raise TokenInvalid(reason="no metadata")
        try:
            stamp = path.stat().st_mtime_ns
            known = self._metadata.get(issuer.id)
            if known is not None and known[0] == stamp:
                return known[1]
            data = await asyncio.to_thread(path.read_bytes)
            found = await self._reader.read_metadata(data, issuer.issuer)
        except OSError as error:
            raise TokenInvalid(reason=f"metadata: {error.strerror}") from error
        except ClientError as error:
            raise TokenInvalid(reason=f"metadata: {error.reason}") from error
        self._metadata[issuer.id] = stamp, found
        return found

    def _issuer(self, request: Request) -> Issuer:
        issuer = self.issuers.get(request.path_params["issuer"])
        if issuer is None:
            raise HttpProblem(404, "no such page")
        return issuer

    def _consumer(self, issuer: Issuer) -> str:
        return f"{self._services.config.control.public_url}/login/saml/{issuer.id}/acs"


def _principal(issuer: Issuer, found: dict[str, Any], now: float) -> Principal:
    authenticated_at = float(found["authenticated_at"])
    ends = [now + SESSION_S_MAX, authenticated_at + issuer.max_age_s]
    if found["ends_at"] is not None:
        ends.append(float(found["ends_at"]))
    return Principal(
        issuer_id=issuer.id,
        issuer=issuer.issuer,
        subject=str(found["subject"]),
        groups=tuple(f"{issuer.id}:{name}" for name in found["groups"]),
        token_id=str(found["id"]),
        expires_at=min(ends),
        issued_at=float(found["issued_at"]),
        key_id=str(found["key_id"]),
        login=found["session_index"],
    )
