"""People log in at the pages through a real SAML provider, in a real browser.

The provider is on another site (localhost) than the gateway (127.0.0.1).
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from lxml import etree
from playwright.sync_api import Browser, BrowserContext, Page

from gateway.control.auth import COOKIE
from gateway.control.login_state import LOGIN_COOKIE
from tests.support.browser import chromium
from tests.support.gateway import GatewayProcess, free_port
from tests.support.saml_idp import Provider, saml_provider
from tests.support.sample import POLICY
from tests.support.stands import EMBEDDED, Stands, own_directory


@dataclass
class Place:
    """A gateway that trusts the provider."""

    gateway: GatewayProcess
    provider: Provider
    url: str

    @property
    def acs(self) -> str:
        return f"{self.url}/login/saml/corp/acs"


@pytest.fixture(scope="module")
def place(stands: Stands) -> Iterator[Place]:
    policy = re.sub(r'"test:(\w+)"', r'"test:\1", "corp:\1"', POLICY)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (
        own_directory() as directory,
        saml_provider(Path(directory), f"{url}/login/saml/corp/acs") as provider,
    ):
        section = (
            f'[[issuers]]\nid = "corp"\nkind = "saml"\nissuer = "{provider.entity}"\n'
            f'audiences = ["{url}"]\nsaml_metadata = "{provider.metadata}"\n'
        )
        gateway = GatewayProcess(
            stands.cluster(EMBEDDED), Path(directory), policy=policy, issuers=section,
            control=f'public_url = "{url}"', control_port=port,
        )  # fmt: skip
        with gateway:
            yield Place(gateway, provider, url)


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


def log_in(place: Place, context: BrowserContext, name: str, path: str = "/sessions") -> Page:
    page = context.new_page()
    page.goto(place.url + path)
    page.get_by_role("link", name="Sign in with corp").click()
    page.fill("input[name=login]", name)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(place.url + path)
    return page


def names(context: BrowserContext) -> set[str]:
    return {str(one.get("name")) for one in context.cookies()}


def test_a_person_logs_in_and_out(place: Place, context: BrowserContext) -> None:
    """Goal: SP-initiated login by redirect, the answer by POST from another site, a session."""
    sent: list[str] = []
    context.on("request", lambda request: sent.append(request.post_data or ""))
    page = log_in(place, context, "ann")
    assert page.locator(".who").inner_text() == "ann"
    assert LOGIN_COOKIE not in names(context)
    (form,) = [text for text in sent if "SAMLResponse=" in text]
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(place.url + "/login")
    assert COOKIE not in names(context)
    # What went over the wire is nowhere else.
    assertion = parse_qs(form)["SAMLResponse"][0]
    trail = str(place.gateway.audit("-n", "1000"))
    assert "POST /login/saml/{issuer}/acs" in trail
    for secret in (assertion[:60], assertion[-60:]):
        assert secret not in trail + place.gateway.log


def test_the_request_can_go_by_post(place: Place, context: BrowserContext) -> None:
    """Goal: a provider without the redirect binding. Method: its metadata changes while we run."""
    before = place.provider.metadata.read_bytes()
    root = etree.fromstring(before)
    for service in root.iter("{*}SingleSignOnService"):
        if service.get("Binding").endswith("HTTP-Redirect"):
            service.getparent().remove(service)
    place.provider.metadata.write_bytes(etree.tostring(root))
    try:
        page = log_in(place, context, "ann")
        assert page.locator(".who").inner_text() == "ann"
    finally:
        place.provider.metadata.write_bytes(before)


def test_our_metadata_names_the_address(place: Place) -> None:
    answer = httpx.get(f"{place.url}/login/saml/corp/metadata")
    assert answer.headers["content-type"] == "application/samlmetadata+xml"
    root = etree.fromstring(answer.content)
    assert root.get("entityID") == place.url
    (consumer,) = root.iter("{*}AssertionConsumerService")
    assert consumer.get("Location") == place.acs
    for path in ("/login/saml/test/metadata", "/login/saml/nobody/metadata"):
        assert httpx.get(place.url + path).status_code == 404


class Answer:
    """A real answer of the provider, caught before it reaches the gateway."""

    def __init__(self, place: Place, name: str = "bot") -> None:
        self.place = place
        started = httpx.get(f"{place.url}/login/with/corp")
        self.cookie = started.cookies[LOGIN_COOKIE]
        request = parse_qs(urlsplit(started.headers["location"]).query)["SAMLRequest"][0]
        message = zlib.decompress(base64.b64decode(request), wbits=-15)
        page = httpx.post(
            place.provider.entity.replace("/idp", "/login"),
            data={"SAMLRequest": base64.b64encode(message).decode(), "login": name},
        )
        found = re.search(r'name="SAMLResponse"\s+value="([^"]+)"', page.text)
        assert found
        self.encoded = found[1]
        self.root = etree.fromstring(base64.b64decode(self.encoded))

    def send(self, encoded: str | None = None, issuer: str = "corp") -> httpx.Response:
        form = {"SAMLResponse": encoded or self.encoded}
        return httpx.post(f"{self.place.url}/login/saml/{issuer}/acs", data=form)

    def finish(self, answer: httpx.Response, cookie: str | None = None) -> httpx.Response:
        jar = {LOGIN_COOKIE: self.cookie if cookie is None else cookie}
        return httpx.get(self.place.url + answer.headers["location"], cookies=jar)


def test_an_assertion_is_good_once(place: Place) -> None:
    """Goal: replay. Method: the same answer twice, and in another browser."""
    answer = Answer(place)
    first = answer.send()
    assert first.status_code == 303
    assert COOKIE not in first.cookies
    again = answer.send()
    assert (again.status_code, "location" in again.headers) == (403, False)
    assert answer.finish(first).status_code == 200
    assert answer.finish(first).status_code == 403
    assert "replay" in str(place.gateway.audit("-n", "20"))


def test_an_answer_opens_nothing_in_another_browser(place: Place) -> None:
    """Goal: login CSRF. Method: another cookie, none, and then the right one: used up."""
    for cookie in ("", "x" * 43, Answer(place).cookie):
        answer = Answer(place)
        stopped = answer.finish(answer.send(), cookie)
        assert stopped.status_code == 403
        assert COOKIE not in stopped.cookies


def test_an_answer_that_nobody_asked_for(place: Place) -> None:
    answer = Answer(place)
    forged: dict[str, str] = {
        "no base64": "%%%",
        "nothing": "",
        "no XML": base64.b64encode(b"x").decode(),
        "changed": _changed(answer.root),
        "unsigned": _unsigned(answer.root),
    }
    for what, encoded in forged.items():
        sent = answer.send(encoded or " ")
        assert sent.status_code == 403, what
        assert "was not accepted" in sent.text
    assert answer.send(issuer="test").status_code == 404
    # It was good all the time.
    assert answer.send().status_code == 303


def test_a_person_at_a_terminal_logs_in_by_saml(
    place: Place, context: BrowserContext, tmp_path: Path
) -> None:
    """Goal: `postern login --web`: an assertion becomes a gateway token, and that a session."""
    environ = {
        **os.environ, "POSTERN_URL": place.url, "XDG_RUNTIME_DIR": str(tmp_path),
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "gateway.cli.main", "login", "--web", "corp", "--no-browser"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ,
    ) as command:  # fmt: skip
        assert command.stderr is not None
        found = re.search(r"open (\S+)", command.stderr.readline())
        assert found
        page = context.new_page()
        page.goto(found[1])
        page.fill("input[name=login]", "bot")
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("You are logged in").wait_for()
        assert command.wait(20) == 0
    assert COOKIE not in names(context)
    token = (tmp_path / "postern" / "token").read_text().strip()
    assert token.startswith("pgt_")
    with place.gateway.connect(password=token) as connection:
        assert "bot" in str(connection.execute("show postern.whoami").fetchone())
    code = parse_qs(urlsplit(page.url).query)["code"][0]
    stolen = httpx.post(
        f"{place.url}/v1/tokens/exchange",
        data={"grant_type": "authorization_code", "code": code, "code_verifier": "x" * 43},
    )
    assert stolen.json()["error"] == "invalid_grant"


def test_a_code_needs_its_verifier(place: Place) -> None:
    """Goal: a code that leaks on its way to the program is of no use, and is used up."""
    for challenge in ("", "short", "x" * 44):
        given = {"port": "1234", "challenge": challenge, "state": "x" * 43}
        assert httpx.get(f"{place.url}/login/with/corp", params=given).status_code == 422


def test_a_revoked_person_is_not_let_in(place: Place) -> None:
    answer = Answer(place, "eve")
    headers = {"authorization": f"Bearer {place.gateway.mint('root', ['dba'])}"}
    url = f"{place.url}/v1/identities/corp/eve/block"
    assert httpx.post(url, headers=headers).status_code == 200
    try:
        assert answer.send().status_code == 403
    finally:
        assert httpx.delete(url, headers=headers).status_code == 200


def _changed(root: Any) -> str:
    text: bytes = etree.tostring(root)
    assert b">bot<" in text
    return base64.b64encode(text.replace(b">bot<", b">ann<")).decode()


def _unsigned(root: Any) -> str:
    copied = etree.fromstring(etree.tostring(root))
    for signature in list(copied.iter("{*}Signature")):
        signature.getparent().remove(signature)
    return base64.b64encode(etree.tostring(copied)).decode()
