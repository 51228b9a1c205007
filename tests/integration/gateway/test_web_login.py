"""People log in at the pages through a real OpenID provider, in a real browser.

The provider is on another site than the gateway (localhost, 127.0.0.1), as in life: cookies that
are for one site alone would otherwise seem to work.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from gateway.control.auth import COOKIE
from gateway.control.login_state import LOGIN_COOKIE
from gateway.identity.oauth_client import discover
from tests.support.browser import chromium
from tests.support.gateway import GatewayProcess, free_port, wait_until
from tests.support.provider import CLIENT_ID, WEB_CLIENT_ID, WEB_SECRET, provider, visit
from tests.support.sample import POLICY
from tests.support.stands import EMBEDDED, Stands, own_directory


@dataclass
class Place:
    """A gateway whose pages are a client of the provider."""

    gateway: GatewayProcess
    issuer: str
    url: str


@pytest.fixture(scope="module")
def place(stands: Stands) -> Iterator[Place]:
    policy = re.sub(r'"test:(\w+)"', r'"test:\1", "corp:\1"', POLICY)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with provider(url, host="localhost") as issuer, own_directory() as directory:
        secret = Path(directory) / "web-secret"
        secret.write_text(WEB_SECRET)
        section = (
            f'[[issuers]]\nid = "corp"\nissuer = "{issuer}"\naudiences = ["{WEB_CLIENT_ID}", '
            f'"{CLIENT_ID}"]\n'
            "introspection = true\n"
            f'login = {{client_id = "{WEB_CLIENT_ID}", credential = {{file = "{secret}"}}}}\n'
        )
        gateway = GatewayProcess(
            stands.cluster(EMBEDDED), Path(directory), policy=policy, issuers=section,
            control=f'public_url = "{url}"', control_port=port,
        )  # fmt: skip
        with gateway:
            yield Place(gateway, issuer, url)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    fresh = browser.new_context()
    fresh.set_default_timeout(15_000)
    yield fresh
    fresh.close()


def log_in(place: Place, context: BrowserContext, name: str, path: str = "/") -> Page:
    """Log in as a person does, from the page at `path`."""
    page = context.new_page()
    page.goto(place.url + path)
    page.get_by_role("link", name="Sign in with corp").click()
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", "any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(place.url + path)
    return page


def cookies(context: BrowserContext) -> dict[str, dict[str, object]]:
    return {str(one.get("name")): dict(one) for one in context.cookies()}


def test_a_person_logs_in_and_out(place: Place, context: BrowserContext) -> None:
    """Goal: login, the page that was asked for, logout; a cookie that no script or site can use."""
    page = log_in(place, context, "ann", "/sessions")
    assert page.locator(".who").inner_text() == "ann"
    cookie = cookies(context)[COOKIE]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert LOGIN_COOKIE not in cookies(context)
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(place.url + "/login")
    assert COOKIE not in cookies(context)
    # The name is good for nothing any more, wherever it was copied to.
    answer = httpx.get(place.url + "/", cookies={COOKIE: str(cookie["value"])})
    assert answer.headers["location"].startswith("/login")


def test_a_planted_session_name_is_replaced(place: Place, context: BrowserContext) -> None:
    """Goal: session fixation. Method: plant a name, log in, use the planted name elsewhere."""
    planted = "x" * 43
    context.add_cookies([{"name": COOKIE, "value": planted, "url": place.url}])
    log_in(place, context, "ann")
    assert cookies(context)[COOKIE]["value"] != planted
    answer = httpx.get(place.url + "/", cookies={COOKIE: planted})
    assert answer.headers["location"].startswith("/login")


def test_no_secret_is_left_anywhere(place: Place, context: BrowserContext) -> None:
    """Goal: neither code, state, client secret nor cookie in the log, the trail, a process list."""
    seen: list[str] = []
    context.on("request", lambda request: seen.append(request.url))
    log_in(place, context, "ann")
    (back,) = [url for url in seen if urlsplit(url).path == "/login/callback"]
    query = parse_qs(urlsplit(back).query)
    name = str(cookies(context)[COOKIE]["value"])
    trail = str(place.gateway.audit("-n", "1000"))
    assert "GET /login/callback" in trail
    commands = "".join(
        path.read_text(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline")
    )
    for secret in (query["code"][0], query["state"][0], WEB_SECRET, name):
        assert secret not in trail
        assert secret not in place.gateway.log
        assert secret not in commands


class Half:
    """The first half of a login: a browser that was sent to the provider and is not back yet."""

    def __init__(self, place: Place) -> None:
        self.place = place
        answer = httpx.get(f"{place.url}/login/with/corp")
        assert answer.status_code == 303
        self.location = answer.headers["location"]
        self.query = {k: v[0] for k, v in parse_qs(urlsplit(self.location).query).items()}
        self.cookie = answer.cookies[LOGIN_COOKIE]
        self.set_cookie = answer.headers["set-cookie"].lower()

    def back(self, *, cookie: str | None = None, **query: str) -> httpx.Response:
        given = {"state": self.query["state"], "code": "made-up"} | query
        jar = {LOGIN_COOKIE: self.cookie if cookie is None else cookie}
        return httpx.get(f"{self.place.url}/login/callback", params=given, cookies=jar)


def test_the_login_asks_with_pkce_state_and_nonce(place: Place) -> None:
    half = Half(place)
    assert half.query["code_challenge_method"] == "S256"
    assert len(half.query["code_challenge"]) == 43
    assert half.query["redirect_uri"] == f"{place.url}/login/callback"
    for part in ("httponly", "samesite=lax", "path=/login", "max-age=600"):
        assert part in half.set_cookie
    other = Half(place)
    for name in ("state", "nonce", "code_challenge"):
        assert half.query[name] != other.query[name]


def test_an_answer_that_does_not_fit_opens_nothing(place: Place) -> None:
    """Goal: login by another browser, forged, reused and mixed-up answers are refused alike."""
    half, other = Half(place), Half(place)
    state = half.query["state"]
    answers = {
        "no state": half.back(state=""),
        "another state": half.back(state=other.query["state"]),
        "changed state": half.back(state=state[:-2] + ("AA" if state[-2:] != "AA" else "BB")),
        "no cookie": half.back(cookie=""),
        "other cookie": half.back(cookie=other.cookie),
        "made-up code": half.back(),
        "no code": half.back(code=""),
        "long code": half.back(code="x" * 5000),
        "another issuer": half.back(iss="https://evil.example"),
        "an error": half.back(error="access_denied"),
    }
    for what, answer in answers.items():
        assert answer.status_code == 403, what
        assert COOKIE not in answer.cookies, what
        assert "Sign in" in answer.text, what
        assert "made-up" not in answer.text, what
    reasons = str(place.gateway.audit("-n", "200", "kind:admin.action"))
    assert "state without cookie" in reasons
    assert "invalid_grant" in reasons


def test_a_login_of_somebody_else_cannot_be_handed_over(place: Place, browser: Browser) -> None:
    """Goal: login CSRF. Method: the attacker's own answer, opened in the victim's browser."""
    half = Half(place)
    # The attacker's provider session sends its own browser back, which has no cookie here.
    stopped = visit(half.location, "bot", until=place.url)
    assert stopped.status_code == 403
    back = str(stopped.url)
    victim = browser.new_context()
    page = victim.new_page()
    page.goto(back)
    assert "began in another browser" in page.inner_text(".error")
    assert COOKIE not in cookies(victim)
    victim.close()
    # It was a good answer all the time, for the browser it is of.
    answer = httpx.get(back, cookies={LOGIN_COOKIE: half.cookie})
    assert answer.status_code == 200
    assert COOKIE in answer.cookies


def test_a_logout_at_the_provider_ends_everything_here(
    place: Place, context: BrowserContext
) -> None:
    """Goal: OIDC back-channel logout.

    Method: a page and an idle database session of one person; log out at the provider, which
    calls the gateway; somebody else's session goes on.
    """
    page = log_in(place, context, "bot", "/sessions")
    with person_at_the_database(place, "bot") as own, person_at_the_database(place, "eve") as other:
        page.goto(place.issuer + "/session/end")
        page.get_by_role("button", name="Yes, sign me out").click()
        with pytest.raises(psycopg.OperationalError, match=r"PN202|closed"):
            wait_until(lambda: own.execute("select 1") is None, 3)
        assert other.execute("select 1").fetchone() == (1,)
    page.goto(place.url + "/sessions")
    assert urlsplit(page.url).path == "/login"
    assert "logged out at the issuer" in str(place.gateway.audit("-n", "100"))
    # Whoever logs in again is welcome: the clock of tokens has seconds.
    page.wait_for_timeout(1_100)
    again = log_in(place, context, "bot", "/sessions")
    assert again.locator(".who").inner_text() == "bot"


def person_at_the_database(place: Place, name: str) -> psycopg.Connection[Any]:
    """A session opened with the id token that the provider gives a person."""
    client = discover(place.issuer, CLIENT_ID, "openid")
    threads = []

    def open_url(url: str) -> None:
        threads.append(threading.Thread(target=visit, args=(url, name)))
        threads[0].start()

    token = client.log_in_by_browser(open_url)
    threads[0].join()
    client.http.close()
    return place.gateway.connect(password=token)


def test_an_opaque_token_is_exchanged_after_asking_its_issuer(place: Place) -> None:
    """Goal: RFC 7662 against a real provider; an access token that it has revoked is refused."""
    answers: list[dict[str, Any]] = []
    client = discover(place.issuer, CLIENT_ID, "openid")
    told: list[str] = []
    keep = replace(client, http=_Keeping(answers))
    keep.log_in_by_device(lambda url, code: told.append(visit(url, "bot", code=code).text))
    keep.http.close()
    client.http.close()
    opaque = next(str(a["access_token"]) for a in answers if "access_token" in a)
    assert opaque.count(".") == 0

    def exchange(token: str) -> httpx.Response:
        fields = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }
        return httpx.post(f"{place.url}/v1/tokens/exchange", data=fields)

    given = exchange(opaque).json()
    assert given["expires_in"] <= 900
    with place.gateway.connect(password=given["access_token"]) as connection:
        assert "bot" in str(connection.execute("show postern.whoami").fetchone())
    assert exchange(opaque[:-1] + "x").status_code == 400
    ended = httpx.post(
        client.endpoints["revocation_endpoint"], data={"token": opaque, "client_id": CLIENT_ID}
    )
    assert ended.is_success
    assert exchange(opaque).status_code == 400
    trail = str(place.gateway.audit("-n", "50"))
    assert "not active" in trail
    assert opaque not in trail + place.gateway.log


class _Keeping(httpx.Client):
    """A client that remembers the JSON it was answered."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        super().__init__(timeout=15)
        self._answers = answers

    def request(self, *given: Any, **more: Any) -> httpx.Response:
        response = super().request(*given, **more)
        self._answers.append(response.json())
        return response


def test_nobody_else_can_log_people_out(place: Place) -> None:
    for form in (
        {"logout_token": "x"},
        {"logout_token": "a.b.c"},
        {"logout_token": "x" * 9000},
    ):
        answer = httpx.post(f"{place.url}/login/backchannel", data=form)
        assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request"})
        assert answer.headers["cache-control"] == "no-store"
    assert httpx.get(f"{place.url}/login/backchannel").status_code == 405


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/a/../b", "/\\evil"])
def test_a_login_leads_to_our_pages_only(place: Place, path: str) -> None:
    page = httpx.get(f"{place.url}/login", params={"next": path}).text
    assert "evil" not in page
    assert httpx.get(f"{place.url}/login/with/nobody").status_code == 404
