"""`postern token`: mint, exchange and revoke tokens."""

from __future__ import annotations

from pathlib import Path

import click

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
