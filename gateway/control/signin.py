"""Web logins: to the provider, back, and into a browser session.

The session's cookie is `SameSite=Strict`, so a browser does not send it with a navigation that
another site began, redirects included. The last step is a page of ours that goes on by itself.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.clock import SYSTEM_CLOCK
from gateway.control.cookies import drop_login_cookie, set_login_cookie, set_session_cookie
from gateway.control.login_state import LOGIN_COOKIE, LoginStates, digest_of
from gateway.control.problems import HttpProblem
from gateway.control.saml import FINISH, SamlLogin
from gateway.control.web import safe_path
from gateway.errors import ConfigError, TokenInvalid
from gateway.identity.code_flow import CodeFlow
from gateway.identity.provider_http import ProviderError
from gateway.upstream.logins import resolve_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from gateway.config import Issuer
    from gateway.control.login_state import LoginState
    from gateway.control.pages import Pages
    from gateway.control.web import Services
    from gateway.policy.principal import Principal

CALLBACK = "/login/callback"
PROGRAM = "!"
_CODE_MAX = 4_096
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class SignIn:
    """The endpoints between the login page and the first page behind it."""

    def __init__(self, services: Services, pages: Pages) -> None:
        self._services = services
        self._pages = pages
        self._states = LoginStates(services.clock)
        self._saml = SamlLogin(services, pages, self._states)
        self._flows = {
            issuer.id: CodeFlow(
                issuer,
                services.config.control.public_url + CALLBACK,
                _secret_of(issuer),
                SYSTEM_CLOCK,
            )
            for issuer in services.config.issuers
            if issuer.login.client_id
        }

    def routes(self) -> list[Route]:
        """Return the routes; people without a session use them."""
        return [
            Route("/login/with/{issuer}", self.start),
            Route(CALLBACK, self.callback),
            Route(FINISH, self.finish_saml),
            *self._saml.routes(),
        ]

    async def start(self, request: Request) -> Response:
        """Send the browser to the provider."""
        name = request.path_params["issuer"]
        if name not in self._flows and name not in self._saml.issuers:
            raise HttpProblem(404, "no such page")
        state, cookie = self._states.start(name, _wanted(request))
        try:
            if name in self._flows:
                response = await self._start_code(state, cookie)
            else:
                response = await self._saml.start(self._saml.issuers[name], state)
        except ProviderError as error:
            return self._refused(request, "the identity provider does not answer", str(error), 503)
        except TokenInvalid as error:
            return self._refused(request, "this identity provider is not set up", error.reason, 503)
        set_login_cookie(response, cookie, self._services.config, request)
        return response

    async def _start_code(self, state: LoginState, cookie: str) -> Response:
        url = await self._flows[state.issuer_id].start(
            state=state.text,
            nonce=self._states.secret("nonce", state, cookie),
            verifier=self._states.secret("pkce", state, cookie),
        )
        return RedirectResponse(url, 303)

    async def finish_saml(self, request: Request) -> Response:
        """Open the session of a SAML login, in the browser where it began."""
        party = digest_of(request.cookies.get(LOGIN_COOKIE, ""))
        proven = self._services.login_codes.take(request.query_params.get("code", ""), party)
        if proven is None:
            return self._refused(
                request, "this login has expired or began in another browser; start again",
                "no such code, or not of this browser",
            )  # fmt: skip
        return await self.admit(request, proven.principal, proven.next)

    async def callback(self, request: Request) -> Response:
        """Take the provider's answer and open the session."""
        query = request.query_params
        state = self._states.read(query.get("state", ""))
        cookie = request.cookies.get(LOGIN_COOKIE, "")
        if state is None or state.issuer_id not in self._flows:
            return self._refused(request, "this login has expired; start again", "no such state")
        if not self._states.is_of(state, cookie):
            # Somebody else's login would put this person into that somebody's session.
            return self._refused(
                request, "this login began in another browser; start again", "state without cookie"
            )
        if "error" in query:
            return self._refused(
                request, "the identity provider refused the login", query["error"][:100]
            )
        if query.get("iss", self._issuer_url(state)) != self._issuer_url(state):
            # RFC 9207: an answer of another provider (mix-up).
            return self._refused(request, "the login was not accepted", "answer of another issuer")
        if not 0 < len(query.get("code", "")) <= _CODE_MAX:
            return self._refused(request, "the login was not accepted", "no code")
        address = "" if request.client is None else request.client.host
        try:
            token = await self._flows[state.issuer_id].finish(
                query["code"],
                nonce=self._states.secret("nonce", state, cookie),
                verifier=self._states.secret("pkce", state, cookie),
            )
            principal = await self._services.auth.verify(token, address)
        except (ProviderError, ConfigError) as error:
            return self._refused(request, "the login was not accepted", str(error))
        except HttpProblem as problem:
            reason = problem.reason or problem.detail
            return self._refused(request, "the login was not accepted", reason, problem.status)
        return await self.admit(request, principal, state.next)

    async def admit(self, request: Request, principal: Principal, next_path: str) -> Response:
        """Open a browser session for a proven person and lead to where it wanted to go.

        For `postern login`, give its program a one-time code instead.
        """
        config = self._services.config
        if next_path.startswith(PROGRAM):
            _, port, challenge, program_state = next_path.split(PROGRAM)
            request.state.person = await self._services.directory.person(principal)
            code = self._services.login_codes.give(principal, challenge)
            query = urlencode({"code": code, "state": program_state})
            # Only ever to this computer: a code is for the program that knows the verifier.
            response: Response = RedirectResponse(f"http://127.0.0.1:{port}/callback?{query}", 303)
        else:
            name, request.state.person = await self._services.auth.open_session(principal)
            response = self._pages.signed_in(next_path)
            set_session_cookie(response, name, config, request)
        drop_login_cookie(response, config, request)
        return response

    def _refused(self, request: Request, text: str, reason: str, status: int = 403) -> Response:
        request.state.reason = reason
        response = self._pages.login_page("", text, status=status)
        drop_login_cookie(response, self._services.config, request)
        return response

    def _issuer_url(self, state: LoginState) -> str:
        issuers = self._services.config.issuers
        return next(one.issuer for one in issuers if one.id == state.issuer_id)


def _wanted(request: Request) -> str:
    """Return where a login leads: a page of ours, or the program that asked for it."""
    query = request.query_params
    if "port" not in query:
        return safe_path(query.get("next", ""))
    parts = [query["port"], query.get("challenge", ""), query.get("state", "")]
    if not _PORT.fullmatch(parts[0]) or not all(_SECRET.fullmatch(part) for part in parts[1:]):
        raise HttpProblem(422, "a program's login needs port, challenge and state")
    return PROGRAM + PROGRAM.join(parts)


def _secret_of(issuer: Issuer) -> Callable[[], bytes]:
    return lambda: resolve_value(issuer.login.credential, os.environ)
