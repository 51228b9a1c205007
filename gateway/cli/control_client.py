"""The HTTP API as commands use it: where it is, who asks, and errors in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx

from gateway.cli.output import EXIT_USAGE, fail, find_config, read_config
from gateway.errors import ConfigError

TIMEOUT_S = 15.0
DEFAULT_LISTEN = "127.0.0.1:8433"
TOKEN_FILE_BYTES_MAX = 20_000

_Command = TypeVar("_Command", bound=Callable[..., Any])


def api_options(command: _Command) -> _Command:
    """Add `--url`, `--token` and `--token-file` as `url`, `token` and `token_file`."""
    options = [
        click.option(
            "--url",
            envvar="POSTERN_URL",
            help="Control plane; default is control.listen of postern.toml, else "
            f"http://{DEFAULT_LISTEN}.",
        ),
        click.option(
            "--token",
            envvar="POSTERN_TOKEN",
            help="Token to call with. Other users of this host can read a command line: better "
            "POSTERN_TOKEN or --token-file.",
        ),
        click.option(
            "--token-file",
            envvar="POSTERN_TOKEN_FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File that holds the token.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


class ControlClient:
    """Calls the HTTP API; every failure ends the command with one line."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        self._client = httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=TIMEOUT_S,
            follow_redirects=False,  # a token is sent where it was meant to go and nowhere else
            trust_env=False,
        )

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        """Return the answer of a GET."""
        return self._call("GET", path, params=dict(params or {}))

    def post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the answer of a POST."""
        return self._call("POST", path, json=dict(body), headers=dict(headers or {}))

    def form(self, path: str, fields: Mapping[str, str]) -> dict[str, Any]:
        """Return the answer to a form; a refusal in the words of RFC 6749."""
        return self._call("POST", path, data=dict(fields))

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, **options)
            value = response.json()
        except httpx.TransportError as exc:
            fail(f"the control plane at {self.url} cannot be reached ({exc}); is it running?")
        except (httpx.InvalidURL, ValueError):
            fail(f"{self.url} does not answer like a control plane")
        if not isinstance(value, dict):
            fail(f"{self.url} does not answer like a control plane")
        if response.status_code == httpx.codes.UNAUTHORIZED:
            fail("the token was not accepted; mint or fetch a fresh one")
        if response.is_error:
            told = value.get("detail") or value.get("error_description")
            fail(str(told or response.status_code))
        return value


def connect(url: str | None, token: str | None, token_file: Path | None) -> ControlClient:
    """Return a client; ends the command when there is no token or no usable address."""
    return _client(url, read_token(token, token_file))


def anonymous(url: str | None) -> ControlClient:
    """Return a client for calls that carry their proof in the body."""
    return _client(url, "")


def login_file() -> Path:
    """Return where `postern login` keeps its token: where only this user and this boot can read."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) if runtime else Path.home() / ".cache"
    return base / "postern" / "token"


def read_token(token: str | None, token_file: Path | None) -> str:
    """Return the token that was given, or that of a login; ends the command without one."""
    if not token and token_file is None and (kept := login_file()).exists():
        token_file = kept
    if not token and token_file is not None:
        try:
            token = token_file.read_bytes()[:TOKEN_FILE_BYTES_MAX].decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            fail(f"{token_file}: {exc}", EXIT_USAGE)
    if not token:
        fail(
            "no token: `postern login`, or set POSTERN_TOKEN, POSTERN_TOKEN_FILE or --token",
            EXIT_USAGE,
        )
    if not token.isascii() or any(char.isspace() for char in token):
        fail("what was given as the token is none", EXIT_USAGE)
    return token


def _client(url: str | None, token: str) -> ControlClient:
    try:
        return ControlClient((url or _configured_url()).rstrip("/"), token)
    except httpx.InvalidURL as exc:
        fail(f"{url}: {exc}", EXIT_USAGE)


def _configured_url() -> str:
    path = find_config(Path(env) if (env := os.environ.get("POSTERN_CONFIG")) else None)
    if path is None:
        return f"http://{DEFAULT_LISTEN}"
    try:
        listen = read_config(path).control.listen
    except ConfigError:
        # The reviewer's machine may hold a configuration that is none of its business.
        return f"http://{DEFAULT_LISTEN}"
    return f"http://{listen}"
