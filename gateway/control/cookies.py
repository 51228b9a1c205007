"""The cookies of the pages: one names a browser session, one a login under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.control.auth import COOKIE
from gateway.control.login_state import LOGIN_COOKIE, LOGIN_S

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.config import Config


def set_session_cookie(response: Response, name: str, config: Config, request: Request) -> None:
    """Name the browser's session; sent to us alone and with nothing that another site began."""
    response.set_cookie(
        COOKIE, name, path="/", httponly=True, samesite="strict", secure=is_tls(config, request)
    )


def drop_session_cookie(response: Response, config: Config, request: Request) -> None:
    """Take the session's name from the browser."""
    response.delete_cookie(
        COOKIE, path="/", httponly=True, samesite="strict", secure=is_tls(config, request)
    )


def set_login_cookie(response: Response, value: str, config: Config, request: Request) -> None:
    """Mark the browser in which a login began.

    Lax: the provider's site sends the browser back, by a plain navigation.
    """
    response.set_cookie(
        LOGIN_COOKIE, value, max_age=LOGIN_S, path="/login", httponly=True, samesite="lax",
        secure=is_tls(config, request),
    )  # fmt: skip


def drop_login_cookie(response: Response, config: Config, request: Request) -> None:
    """Forget the login that came to its end."""
    response.delete_cookie(
        LOGIN_COOKIE, path="/login", httponly=True, samesite="lax", secure=is_tls(config, request)
    )


def is_tls(config: Config, request: Request) -> bool:
    """Tell whether browsers reach us by TLS, ours or a proxy's: cookies are for TLS only then."""
    return config.control.public_url.startswith("https://") or request.url.scheme == "https"
