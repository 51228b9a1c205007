"""`postern token`: mint, exchange and revoke tokens."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.control_client import anonymous, api_options, read_token
from gateway.cli.login import keep
from gateway.cli.output import config_option, fail, read_config
from gateway.cli.token_revoke import revocations, revoke
from gateway.config import Config, Issuer
from gateway.errors import ConfigError
from gateway.identity.local import LocalIssuer
from gateway.units import parse_duration


@click.group()
def command() -> None:
    """Mint, exchange and revoke tokens."""


command.add_command(revoke)
command.add_command(revocations)


@command.command()
@config_option
@click.option("--subject", required=True, help="Who the token speaks for.")
@click.option("--group", "groups", multiple=True, help="A group of the subject; repeatable.")
@click.option("--ttl", default="1h", show_default=True, help="Life time, such as 15m or 8h.")
@click.option("--issuer", "issuer_id", help="Id of the issuer; needed when several are local.")
@click.option("--agent", help="Agent id to sign into the token.")
@click.option("--run-id", help="Run id to sign into the token.")
def mint(
    config_path: Path | None,
    subject: str,
    groups: tuple[str, ...],
    ttl: str,
    issuer_id: str | None,
    agent: str | None,
    run_id: str | None,
) -> None:
    """Print a token; nothing else goes to standard output."""
    config = read_config(config_path)
    signed = {"agent": agent, "run_id": run_id}
    extra = {name: value for name, value in signed.items() if value is not None}
    try:
        local = LocalIssuer(config.data_dir, _choose(config, issuer_id))
        token = local.mint(subject, groups, parse_duration(ttl), extra)
    except ValueError as error:
        fail(str(error))
    click.echo(token)


@command.command()
@click.option("--target", default="", help="Only for this target.")
@click.option("--level", type=click.Choice(["read", "write"]), help="At most this level.")
@click.option(
    "--actor-token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Token of the agent that acts for the subject; rights are what both hold.",
)
@api_options
def exchange(
    target: str, level: str | None, actor_token_file: Path | None,
    url: str | None, token: str | None, token_file: Path | None,
) -> None:  # fmt: skip
    """Print a gateway token for the token given; nothing else goes to standard output.

    For `PGPASSWORD=$(postern token exchange)` and credential helpers: under 200 bytes, good for
    15 minutes at most, and may itself be exchanged until the first token ends. --token-file takes
    what a platform mounts, such as a Kubernetes service account token.
    """
    given = read_token(token, token_file)
    fields = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": given,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        **({"audience": target} if target else {}),
        **({"scope": level} if level else {}),
    }
    if actor_token_file is not None:
        fields["actor_token"] = read_token(None, actor_token_file)
        fields["actor_token_type"] = fields["subject_token_type"]
    answer = anonymous(url).form("/v1/tokens/exchange", fields)
    if token is None and token_file is None and not {"audience", "scope"} & set(fields):
        # It came from `postern login`: renewed there too, or it would end within minutes.
        keep(str(answer["access_token"]))
    click.echo(answer["access_token"])


def _choose(config: Config, issuer_id: str | None) -> Issuer:
    local = [issuer for issuer in config.issuers if issuer.kind == "local"]
    if issuer_id is not None:
        local = [issuer for issuer in config.issuers if issuer.id == issuer_id]
    if len(local) == 1:
        return local[0]
    if issuer_id is not None:
        raise ConfigError("issuers", f"there is no issuer {issuer_id!r}")
    if local:
        ids = ", ".join(issuer.id for issuer in local)
        raise ConfigError("issuers", f"several local issuers, name one with --issuer: {ids}")
    raise ConfigError("issuers", 'no issuer with kind = "local"')
