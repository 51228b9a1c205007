"""What ties the two halves of a web login together, without remembering anything.

A login starts with a random value in the browser's cookie. The state that travels through the
provider names its digest and is signed; nonce and PKCE verifier are derived from both. So whoever
starts logins without end costs no memory, and a state is good in the browser it began in alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from gateway.clock import Clock

LOGIN_COOKIE: Final = "postern_login"
LOGIN_S: Final = 600
_STATE_MAX: Final = 1_024


@dataclass(frozen=True, slots=True)
class LoginState:
    """One login under way: at which issuer, where it leads, in which browser."""

    issuer_id: str
    next: str
    browser: str  # digest of the cookie's value
    text: str  # as it travels


class LoginStates:
    """Makes states and reads them. Those of another life of this process are none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def start(self, issuer_id: str, next_path: str) -> tuple[LoginState, str]:
        """Return the state of a new login and the value of the browser's cookie."""
        cookie = secrets.token_urlsafe(32)
        browser = digest_of(cookie)
        until = int(self._clock.wall()) + LOGIN_S
        body = _b64(orjson.dumps([issuer_id, next_path, browser, until]))
        text = f"{body}.{self._mac('state', body)}"
        return LoginState(issuer_id, next_path, browser, text), cookie

    def read(self, text: str) -> LoginState | None:
        """Return the state in `text`, None unless it was made here, lately."""
        body, _, mac = text.partition(".")
        if len(text) > _STATE_MAX or not text.isascii():
            return None
        if not hmac.compare_digest(mac, self._mac("state", body)):
            return None
        issuer_id, next_path, browser, until = orjson.loads(
            base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        )
        if self._clock.wall() >= until:
            return None
        return LoginState(issuer_id, next_path, browser, text)

    def is_of(self, state: LoginState, cookie: str) -> bool:
        """Tell whether `state` began in the browser that sent `cookie`."""
        return bool(cookie) and hmac.compare_digest(state.browser, digest_of(cookie))

    def secret(self, purpose: str, state: LoginState, cookie: str) -> str:
        """Return the nonce, verifier or the like of one login in one browser."""
        return self._mac(purpose, f"{state.text}.{cookie}")

    def _mac(self, purpose: str, text: str) -> str:
        message = f"{purpose}\0{text}".encode()
        return _b64(hmac.new(self._key, message, hashlib.sha256).digest())


def digest_of(cookie: str) -> str:
    """Return what a browser is known by while it logs in; the cookie itself stays with it."""
    return _b64(hashlib.sha256(cookie.encode("utf-8", "replace")).digest())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
