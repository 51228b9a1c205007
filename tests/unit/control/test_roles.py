"""Every call is authorised: nobody gets anything from a route that is not on the lists below.

A new route is refused to people without a role and to agents, or this fails until somebody puts
it on a list on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route

from gateway.control.guard import Guard
from tests.unit.control.plane import Plane, run

# Proof is in the request itself, or nothing is shown: logins, probes, the page's own files.
PUBLIC = {
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",  # loopback only, see test_openapi
    "GET /openapi.json",
    "GET /login",
    "POST /login",
    "GET /login/with/{issuer}",
    "GET /login/callback",
    "GET /login/saml/finish",
    "GET /login/saml/{issuer}/metadata",
    "POST /login/saml/{issuer}/acs",
    "POST /login/backchannel",
    "POST /v1/tokens/exchange",
    "POST /v1/tokens/revoke",
}
# What whoever has proven an identity may do, role or not: about itself alone.
ANYBODY = {
    "GET /",
    "GET /approvals",
    "GET /sessions",
    "GET /events",
    "GET /v1/whoami",
    "GET /v1/approvals",
    "GET /v1/sessions",
    "POST /logout",
}
NAMES = {"issuer": "corp", "subject": "ann", "id": "0abc", "verb": "approve", "name": "orders"}


def calls(plane: Plane) -> Iterator[tuple[str, str, str]]:
    """Yield name, method and a path for every route of the application."""
    assert isinstance(plane.app, Guard)
    routes = plane.app._app.routes  # type: ignore[attr-defined]
    assert len(routes) > 30
    for route in routes:
        assert isinstance(route, Route), f"{route}: what is not a route is not looked at here"
        if route.path.startswith("/static/"):
            continue
        path = route.path.replace(":path}", "}")
        for name in route.param_convertors:
            path = path.replace(f"{{{name}}}", NAMES.get(name, "x"))
        for method in (route.methods or set()) - {"HEAD"}:
            yield f"{method} {route.path}", method, path


async def call(http: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    if method in {"GET", "DELETE"}:
        return await http.request(method, path)
    if path.startswith("/v1/"):
        return await http.request(method, path, json={})
    return await http.request(method, path, data={"csrf": "x"})


def is_given(answer: httpx.Response) -> bool:
    """Whether the caller got something other than a refusal or the login page."""
    to_login = answer.status_code == 303 and answer.headers["location"].startswith("/login")
    return answer.status_code < 400 and not to_login


@pytest.mark.parametrize("who", [None, "nobody", "bot", "ann-by-bot", "mole"])
def test_default_deny(tmp_path: Path, who: str | None) -> None:
    """Goal: without a role nothing is given.

    Method: every route, as nobody, as a person without roles, as an agent, as an agent in a
    reviewer's name, as who is both.
    """
    allowed = PUBLIC if who is None else PUBLIC | ANYBODY

    async def body(plane: Plane) -> None:
        plane.stop.set()  # so that streams end
        async with plane.http(who) as http:
            for name, method, path in calls(plane):
                answer = await call(http, method, path)
                assert answer.status_code < 500 or name in PUBLIC, name
                assert name in allowed or not is_given(answer), (name, answer.status_code)

    run(tmp_path, body)


@pytest.mark.parametrize("who", ["ann", "sam"])
def test_only_admins_administer(tmp_path: Path, who: str) -> None:
    """Goal: the role is looked at per verb. Method: what admins change, as the other roles."""
    verbs = ("/v1/revocations", "/v1/revocations/lift", "/v1/identities/corp/ann/block")

    async def body(plane: Plane) -> None:
        async with plane.http(who) as http:
            for path in verbs:
                assert (await http.post(path, json={})).status_code == 403, path
            path = "/v1/identities/corp/ann/block"
            assert (await http.delete(path)).status_code == 403
        async with plane.http("root") as http:
            assert (await http.post(path, json={})).status_code == 200
            assert (await http.delete(path)).status_code == 200

    run(tmp_path, body)


def test_a_token_that_is_none_opens_no_route(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        plane.stop.set()
        async with plane.http() as http:
            for name, method, path in calls(plane):
                if name in PUBLIC:
                    continue
                http.headers["authorization"] = "Basic YW5uOmFubg=="
                answer = await call(http, method, path)
                assert not is_given(answer), (name, answer.status_code)

    run(tmp_path, body)
