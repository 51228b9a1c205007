"""Get a person's token from an OpenID provider: in the browser (PKCE) or by a code elsewhere.

Runs on the person's machine. The provider's answers are checked in form only: who the token is
about is the gateway's to verify. Nothing here is ever written to a log.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx

from gateway.errors import GatewayError
from gateway.identity.code_flow import challenge_of, unverified_claims
from gateway.identity.strict_json import load_object

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_ANSWER_BYTES_MAX: Final = 1 << 20
_TIMEOUT_S: Final = 15.0
LOGIN_TIMEOUT_S: Final = 300.0
_DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_PAGE: Final = b"<!doctype html><meta charset=utf-8><title>Postern</title><p>%s"


class LoginFailed(GatewayError):
    """The provider, or the person, did not let it come to a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdClient:
    """One client at one provider; build it with `discover`."""

    issuer: str
    client_id: str
    scope: str
    endpoints: dict[str, str]
    http: httpx.Client

    def log_in_by_browser(self, open_url: Callable[[str], None]) -> str:
        """Return the id token of whoever logs in at the page `open_url` is given."""
        verifier, state, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        with _Callback(("127.0.0.1", 0), _Handler) as server:
            server.state = state
            redirect = f"http://127.0.0.1:{server.server_address[1]}/callback"
            query = {
                "response_type": "code",
                "client_id": self.client_id,
                "redirect_uri": redirect,
                "scope": self.scope,
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge_of(verifier),
                "code_challenge_method": "S256",
            }
            open_url(f"{self._endpoint('authorization_endpoint')}?{urlencode(query)}")
            code = server.wait(LOGIN_TIMEOUT_S)
        token = self._id_token(
            self._post(
                "token_endpoint",
                grant_type="authorization_code",
                code=code,
                redirect_uri=redirect,
                code_verifier=verifier,
            )
        )
        if _claims(token).get("nonce") != nonce:
            raise LoginFailed("the provider answered another login than this one")
        return token

    def log_in_by_device(self, tell: Callable[[str, str], None]) -> str:
        """Return the id token of whoever enters the code that `tell` is given, at its address."""
        asked = self._post("device_authorization_endpoint", scope=self.scope)
        try:
            address = str(asked.get("verification_uri_complete") or asked["verification_uri"])
            code, device_code = str(asked["user_code"]), str(asked["device_code"])
            interval_s = max(0.1, float(asked.get("interval", 5)))
            lasts_s = min(float(asked["expires_in"]), LOGIN_TIMEOUT_S)
        except (KeyError, ValueError, TypeError):
            raise LoginFailed("the provider's answer holds no device code") from None
        tell(address, code)
        deadline, pause = time.monotonic() + lasts_s, threading.Event()
        while time.monotonic() < deadline:
            pause.wait(interval_s)
            answer = self._post(
                "token_endpoint",
                allow_error=True,
                grant_type=_DEVICE_GRANT,
                device_code=device_code,
            )
            match answer.get("error"):
                case None:
                    return self._id_token(answer)
                case "authorization_pending":
                    pass
                case "slow_down":
                    interval_s += 5
                case error:
                    raise LoginFailed(f"the provider refused: {str(error)[:100]}")
        raise LoginFailed("nobody entered the code in time")

    def _post(self, endpoint: str, *, allow_error: bool = False, **fields: str) -> dict[str, Any]:
        answer = self._call(
            "POST", self._endpoint(endpoint), {"client_id": self.client_id} | fields
        )
        if "error" in answer and not allow_error:
            raise LoginFailed(f"the provider refused: {str(answer['error'])[:100]}")
        return answer

    def _call(self, method: str, url: str, fields: dict[str, str] | None = None) -> dict[str, Any]:
        return _call(self.http, method, url, fields)

    def _endpoint(self, name: str) -> str:
        if name not in self.endpoints:
            raise LoginFailed(f"the provider has no {name}")
        return self.endpoints[name]

    @staticmethod
    def _id_token(answer: dict[str, Any]) -> str:
        token = answer.get("id_token")
        if not isinstance(token, str) or token.count(".") != 2 or not token.isascii():
            raise LoginFailed("the provider gave no id token; does the scope hold openid?")
        return token


def log_in_at_gateway(
    control_url: str, issuer_id: str, open_url: Callable[[str], None]
) -> tuple[str, str]:
    """Return the code of a web login at the gateway, and the verifier it is redeemed with.

    For issuers whose client the gateway is: SAML, and OpenID providers with a client secret.
    """
    verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    with _Callback(("127.0.0.1", 0), _Handler) as server:
        server.state = state
        query = {
            "port": str(server.server_address[1]),
            "challenge": challenge_of(verifier),
            "state": state,
        }
        address = f"{control_url.rstrip('/')}/login/with/{quote(issuer_id, safe='')}"
        open_url(f"{address}?{urlencode(query)}")
        return server.wait(LOGIN_TIMEOUT_S), verifier


def discover(issuer: str, client_id: str, scope: str) -> OpenIdClient:
    """Return a client of the provider at `issuer`; raises LoginFailed."""
    http = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False)
    _check_url(issuer, issuer)
    found = _call(http, "GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if found.get("issuer") != issuer:
        raise LoginFailed("the discovery document is of another issuer")
    endpoints = {
        name: value
        for name, value in found.items()
        if name.endswith("_endpoint") and isinstance(value, str)
    }
    for url in endpoints.values():
        _check_url(issuer, url)
    return OpenIdClient(
        issuer=issuer, client_id=client_id, scope=scope, endpoints=endpoints, http=http
    )


def _check_url(issuer: str, url: str) -> None:
    """Refuse plain HTTP, except from a provider on this host to this host."""
    parts, origin = urlsplit(url), urlsplit(issuer)
    is_local = parts.hostname in _LOOPBACK and origin.hostname in _LOOPBACK
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
        raise LoginFailed(f"{url[:200]}: only https is used for logins")


def _call(
    http: httpx.Client, method: str, url: str, fields: dict[str, str] | None = None
) -> dict[str, Any]:
    try:
        response = http.request(method, url, data=fields, headers={"accept": "application/json"})
        if len(response.content) > _ANSWER_BYTES_MAX:
            raise ValueError("too large")
        answer = load_object(response.content)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise LoginFailed(f"{url[:200]}: {error}") from None
    except ValueError:
        raise LoginFailed(f"{url[:200]} does not answer like an OpenID provider") from None
    if response.is_error and "error" not in answer:
        raise LoginFailed(f"{url[:200]}: status {response.status_code}")
    return answer


def _claims(token: str) -> dict[str, Any]:
    try:
        return unverified_claims(token)
    except ValueError:
        raise LoginFailed("the provider's id token is none") from None


class _Callback(HTTPServer):
    """Takes the browser's one call back, on the loopback interface (RFC 8252)."""

    state = ""
    outcome: dict[str, str] | None = None

    def wait(self, timeout_s: float) -> str:
        deadline = time.monotonic() + timeout_s
        while self.outcome is None:
            self.timeout = deadline - time.monotonic()
            if self.timeout <= 0:
                raise LoginFailed("nobody logged in in time")
            self.handle_request()
        if "code" not in self.outcome:
            raise LoginFailed(f"the provider refused: {self.outcome.get('error', '')[:100]}")
        return self.outcome["code"]


class _Handler(BaseHTTPRequestHandler):
    server: _Callback
    timeout = 5.0  # a peer that says nothing must not hold up the browser

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        # Other programs can call this port too: only who knows the state is heard.
        known = secrets.compare_digest(query.get("state", "").encode(), self.server.state.encode())
        if parts.path != "/callback" or not known:
            self.send_error(404)
            return
        self.server.outcome = query
        text = b"You are logged in; close this page." if "code" in query else b"Not logged in."
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("cache-control", "no-store")
        self.end_headers()
        self.wfile.write(_PAGE % text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its base names it
        """Say nothing: the address holds the code."""
