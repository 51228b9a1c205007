"""`postern login`: a person's short token, by the identity provider's own page."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from gateway.cli.control_client import anonymous, login_file
from gateway.cli.output import EXIT_USAGE, fail
from gateway.identity.files import write_atomically
from gateway.identity.oauth_client import LoginFailed, discover, log_in_at_gateway

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"


@click.command("login")
@click.option("--issuer", envvar="POSTERN_ISSUER", help="URL of the provider.")
@click.option("--client-id", envvar="POSTERN_CLIENT_ID", help="Our id there.")
@click.option(
    "--web", metavar="ID", help="Log in at the gateway's pages by this issuer (SAML too)."
)
@click.option("--scope", default="openid", show_default=True, help="What to ask the provider for.")
@click.option("--device", is_flag=True, help="No browser here: enter a code on another device.")
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening it.")
@click.option("--url", envvar="POSTERN_URL", help="Control plane, as for all its commands.")
@click.option("--print", "as_text", is_flag=True, help="Print the token; keep none.")
def command(
    issuer: str | None, client_id: str | None, web: str | None, scope: str, device: bool,
    no_browser: bool, url: str | None, as_text: bool,
) -> None:  # fmt: skip
    """Log in at the identity provider and keep a short gateway token for the other commands.

    The token lies in the user's runtime directory, which the system empties, and is good for 15
    minutes; `postern token exchange` renews it until the provider's token ends.
    """
    open_url = _print if no_browser else _open
    control = anonymous(url)
    try:
        if web:
            code, verifier = log_in_at_gateway(control.url, web, open_url)
            fields = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        elif issuer and client_id and "openid" in scope.split():
            client = discover(issuer, client_id, scope)
            token = client.log_in_by_device(_tell) if device else client.log_in_by_browser(open_url)
            fields = {
                "grant_type": GRANT,
                "subject_token": token,
                "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            }
        else:
            fail("give --web, or --issuer and --client-id with openid in the scope", EXIT_USAGE)
    except LoginFailed as error:
        fail(str(error))
    answer = control.form("/v1/tokens/exchange", fields)
    if as_text:
        click.echo(answer["access_token"])
        return
    path = keep(str(answer["access_token"]))
    click.echo(f"logged in; the token is in {path}", err=True)


def keep(token: str) -> Path:
    """Write the token of a login where the other commands find it."""
    path = login_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, token.encode() + b"\n", mode=0o600)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    return path


def _tell(address: str, code: str) -> None:
    click.echo(f"open {address} and enter {code}", err=True)


def _print(url: str) -> None:
    click.echo(f"open {url}", err=True)


def _open(url: str) -> None:
    if not webbrowser.open(url):
        _print(url)
