"""`postern connector`: run one beside a database; let them in, list and put them out."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click

from gateway.cli.control_client import api_options, connect
from gateway.cli.output import EXIT_USAGE, fail, json_option, print_json, print_table
from gateway.control.visible import visible_text
from gateway.units import parse_duration


@click.group()
def command() -> None:
    """Run a connector beside a database; let connectors in and put them out."""


@command.command()
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default="connector.toml",
    show_default=True,
    help="The connector's configuration.",
)
def run(config_path: Path) -> None:
    """Dial the gateways, log in at the database, hand over what is asked and allowed.

    Listens on nothing. The first time it needs the token that `postern connector join` prints,
    in POSTERN_JOIN_TOKEN or the file named by `join_token_file`.
    """
    from gateway.connector.run import run_connector
    from gateway.connector.settings import load_connector
    from gateway.logs import configure

    configure("connector")
    run_connector(load_connector(config_path))


@command.command()
@click.argument("name")
@click.option("--for", "for_", default="1h", show_default=True, help="How long it can be used.")
@api_options
@json_option
def join(
    name: str, for_: str, url: str | None, token: str | None, token_file: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Print a token with which one process may join as connector NAME, once."""
    try:
        for_s = parse_duration(for_)
    except ValueError as error:
        fail(f"--for: {error}", EXIT_USAGE)
    path = f"/v1/connectors/{quote(name, safe='')}/join"
    answer = connect(url, token, token_file).post(path, {"for_s": for_s})
    if as_json:
        print_json(answer)
    else:
        click.echo(answer["token"])


@command.command("list")
@api_options
@json_option
def list_command(
    url: str | None, token: str | None, token_file: Path | None, as_json: bool
) -> None:
    """List connectors: who joined, who is there, version, load and health."""
    answer = connect(url, token, token_file).get("/v1/connectors")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            item["id"],
            item["state"],
            item.get("version", ""),
            item.get("client", item["joined_from"]),
            " ".join(item.get("targets", [])),
            item.get("streams", ""),
            visible_text("; ".join(item.get("problems", {}).values()), one_line=True),
        )
        for item in answer["items"]
    ]
    columns = ("connector", "state", "version", "from", "targets", "streams", "problems")
    print_table(columns, rows, empty="no connector has joined")


@command.command()
@click.argument("name")
@api_options
def revoke(name: str, url: str | None, token: str | None, token_file: Path | None) -> None:
    """Put out the connector process NAME, or all of the connector NAME; its streams end."""
    path = f"/v1/connectors/{quote(name, safe='')}/revoke"
    for member in connect(url, token, token_file).post(path, {})["revoked"]:
        click.echo(f"{member} is out")
