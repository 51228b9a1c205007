"""Token exchange (RFC 8693) and revocation of one's own token (RFC 7009).

Whoever proves an identity here gets a short token for it: nothing but that proof is asked, and
nothing is given that the proof does not hold already.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import apsw
import orjson
from starlette.responses import Response
from starlette.routing import Route

from gateway.control.problems import HttpProblem
from gateway.control.trail import who_fields
from gateway.control.web import json_answer, read_form
from gateway.errors import NotReady
from gateway.identity.code_flow import challenge_of
from gateway.identity.gateway_tokens import TokenRefused, delegate, narrow
from gateway.identity.revocation import Revocation
from gateway.limits import TOKEN_AGE_S_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from gateway.control.web import Services
    from gateway.policy.principal import Principal

GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
CODE_GRANT: Final = "authorization_code"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  a type
_TYPES: Final = frozenset(
    {
        ACCESS_TOKEN,
        "urn:ietf:params:oauth:token-type:id_token",
        "urn:ietf:params:oauth:token-type:jwt",
    }
)
_CODE_FIELDS: Final = frozenset({"code", "code_verifier"})
_FIELDS: Final = _CODE_FIELDS | frozenset(
    {
        "grant_type", "subject_token", "subject_token_type", "requested_token_type", "audience",
        "scope", "actor_token", "actor_token_type",
    }
)  # fmt: skip
_TARGET = re.compile(r"[^\x00-\x1f\x7f]{1,63}")


class ExchangeApi:
    """The endpoints where tokens are given out and put out by who holds them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """Return the routes; `openapi.json` names the same ones."""
        return [
            Route("/v1/tokens/exchange", self.exchange, methods=["POST"]),
            Route("/v1/tokens/revoke", self.revoke, methods=["POST"]),
        ]

    async def exchange(self, request: Request) -> Response:
        """Give a gateway token for a token of an issuer, or for another gateway token."""
        try:
            return await self._exchange(request, await read_form(request))
        except TokenRefused as refused:
            # What proving the token found is the precise one, where it came that far.
            found = getattr(request.state, "reason", "")
            request.state.reason = found or f"{refused.code}: {refused}"
            return _refusal(refused.code, str(refused))

    async def revoke(self, request: Request) -> Response:
        """Put out the token that is sent; 200 for one that is good for nothing already."""
        fields = await read_form(request)
        if set(fields) - {"token", "token_type_hint"} or not fields.get("token"):
            return _refusal("invalid_request", "send the token, and nothing else")
        try:
            principal, _ = await self._prove(request, fields["token"])
        except TokenRefused:
            return json_answer({})
        now = self._services.clock.wall()
        token_id = principal.gateway_token or principal.token_id or ""
        self._record("token revoked", principal, token_id)
        await self._services.revocations.add(
            Revocation(
                kind="token", issuer=principal.issuer_id, value=token_id, by=principal.key, at=now,
                reason="by its holder", until=now + TOKEN_AGE_S_MAX,
            )
        )  # fmt: skip
        return json_answer({})

    async def _exchange(self, request: Request, fields: Mapping[str, str]) -> Response:
        if unknown := set(fields) - _FIELDS:
            raise TokenRefused("invalid_request", f"unknown parameter {min(unknown)[:40]!r}")
        if fields.get("grant_type") == CODE_GRANT:
            return await self._redeem(fields)
        if fields.get("grant_type") != GRANT:
            raise TokenRefused("unsupported_grant_type", f"grant_type is {GRANT}")
        if set(fields) & _CODE_FIELDS:
            raise TokenRefused("invalid_request", "a code goes with grant_type authorization_code")
        if fields.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
            raise TokenRefused("invalid_request", f"requested_token_type is {ACCESS_TOKEN}")
        principal, until = await self._prove_typed(request, fields, "subject")
        if "actor_token" in fields:
            actor, actor_until = await self._prove_typed(request, fields, "actor")
            principal, until = delegate(principal, actor), min(until, actor_until)
        target = fields.get("audience", "")
        if target and not _TARGET.fullmatch(target):
            raise TokenRefused("invalid_target", "audience is the name of a target")
        return await self._issue(narrow(principal, target, fields.get("scope", "")), until)

    async def _redeem(self, fields: Mapping[str, str]) -> Response:
        """Give a gateway token for the code of a web login that `postern login` began."""
        if set(fields) - _CODE_FIELDS - {"grant_type"}:
            raise TokenRefused("invalid_request", "send the code and its verifier")
        verifier = fields.get("code_verifier", "")
        party = challenge_of(verifier) if verifier.isascii() else ""
        proven = self._services.login_codes.take(fields.get("code", ""), party)
        if proven is None:
            raise TokenRefused("invalid_grant", "the code was not accepted")
        self._services.auth.check(proven.principal)
        return await self._issue(proven.principal, proven.principal.expires_at)

    async def _issue(self, principal: Principal, until: float) -> Response:
        try:
            token, given = await asyncio.to_thread(
                self._services.gateway_tokens.issue, principal, until
            )
        except apsw.Error as error:
            raise NotReady("no token can be stored now", reason=str(error)) from error
        self._record("token exchanged", given, given.gateway_token or "")
        left_s = int(given.expires_at - self._services.clock.wall())
        if left_s <= 0:
            raise TokenRefused("invalid_request", "the token given ends right now")
        answer = {
            "access_token": token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": left_s,
        }
        if given.only_level:
            answer["scope"] = given.only_level
        return json_answer(answer)

    async def _prove_typed(
        self, request: Request, fields: Mapping[str, str], whose: str
    ) -> tuple[Principal, float]:
        if fields.get(f"{whose}_token_type") not in _TYPES:
            names = ", ".join(sorted(_TYPES))
            raise TokenRefused("invalid_request", f"{whose}_token_type is one of {names}")
        return await self._prove(request, fields.get(f"{whose}_token", ""))

    async def _prove(self, request: Request, token: str) -> tuple[Principal, float]:
        auth = self._services.auth
        try:
            return await auth.prove(token, "" if request.client is None else request.client.host)
        except HttpProblem as problem:
            if problem.status != 401:
                raise
            request.state.reason = problem.reason
            raise TokenRefused("invalid_request", "the token was not accepted") from None

    def _record(self, action: str, principal: Principal, token_id: str) -> None:
        narrowed = " ".join(filter(None, (principal.only_target, principal.only_level)))
        self._services.trail.record(
            "admin.action", action=action, object=token_id, text=narrowed, **who_fields(principal)
        )


def _refusal(code: str, text: str) -> Response:
    body = orjson.dumps({"error": code, "error_description": text})
    return Response(body, 400, media_type="application/json")
