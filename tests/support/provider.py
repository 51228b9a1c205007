"""The OpenID provider program of the tests, and a person with a browser without a window."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import httpx

from tests.support.gateway import free_port

OIDC_DIR = Path(__file__).parents[1] / "conformance" / "oidc"
CLIENT_ID = "postern"
WEB_CLIENT_ID = "postern-web"
WEB_SECRET = "the secret of the web client"
_FORM = re.compile(r"<form[^>]*action=\"([^\"]*)\"[^>]*>(.*?)</form>", re.DOTALL)
_INPUT = re.compile(r"<input[^>]*>")
_STEPS_MAX = 20


@contextmanager
def provider(gateway_url: str = "", host: str = "127.0.0.1") -> Iterator[str]:
    """Run the provider; yields its issuer. With `gateway_url` its pages are a client too."""
    assert (OIDC_DIR / "node_modules" / "oidc-provider").is_dir(), "`make setup` installs it"
    environ = {**os.environ, "PORT": str(free_port()), "NODE_ENV": "test", "HOST": host}
    if gateway_url:
        environ |= {"GATEWAY_URL": gateway_url, "WEB_SECRET": WEB_SECRET}
    with subprocess.Popen(
        ["node", "provider.js"], cwd=OIDC_DIR, env=environ, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def visit(address: str, name: str, *, code: str = "", until: str = "") -> httpx.Response:
    """Open `address` as `name` does: follow, log in, agree, until a page without a form.

    Or until one whose address begins with `until`.
    """
    with httpx.Client(timeout=10) as browser:
        page = _follow(browser, browser.get(address))
        for _ in range(_STEPS_MAX):
            form = _FORM.search(page.text)
            if form is None or (until and str(page.url).startswith(until)):
                return page
            fields = _fields(form[2], name, code)
            page = _follow(browser, browser.post(urljoin(str(page.url), form[1]), data=fields))
    raise AssertionError(f"the provider asks without end:\n{page.text[:2000]}")


def _follow(browser: httpx.Client, page: httpx.Response) -> httpx.Response:
    for _ in range(_STEPS_MAX):
        if not page.is_redirect:
            return page
        page = browser.get(urljoin(str(page.url), page.headers["location"]))
    raise AssertionError("redirects without end")


def _fields(form: str, name: str, code: str) -> dict[str, str]:
    typed = {"login": name, "password": "any", "user_code": code}
    fields = {}
    for tag in _INPUT.findall(form):
        attributes = dict(re.findall(r"(\w+)=\"([^\"]*)\"", tag))
        if "name" in attributes:
            given = typed.get(attributes["name"]) or unescape(attributes.get("value", ""))
            fields[attributes["name"]] = given
    return fields
