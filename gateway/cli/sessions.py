"""`postern sessions`: who is connected."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click

from gateway.cli.control_client import api_options, connect
from gateway.cli.output import json_option, print_json, print_table
from gateway.control.visible import visible_text


@click.group()
def command() -> None:
    """List and end client sessions."""


@command.command("list")
@click.option("--target", default="", help="Only this target.")
@click.option("--limit", type=click.IntRange(1, 500), default=100, help="At most so many.")
@api_options
@json_option
def list_command(
    target: str, limit: int, url: str | None, token: str | None, token_file: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """List sessions that are open now, newest first."""
    params: dict[str, str | int] = {"limit": limit, **({"target": target} if target else {})}
    answer = connect(url, token, token_file).get("/v1/sessions", params)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            item["id"],
            visible_text(item["principal"]["subject"], one_line=True),
            item["target"],
            item["level"],
            item["client"],
            item["worker"],
            item["opened"][:19].replace("T", " "),
        )
        for item in answer["items"]
    ]
    columns = ("session", "who", "target", "level", "from", "worker", "since (UTC)")
    print_table(columns, rows, empty="no open sessions")


@command.command()
@click.argument("session_id", metavar="SESSION")
@click.option("--reason", default="", help="For the audit trail.")
@api_options
def kill(
    session_id: str, reason: str, url: str | None, token: str | None, token_file: Path | None
) -> None:
    """End SESSION, whatever it runs. Its token stays good: see `postern token revoke`."""
    path = f"/v1/sessions/{quote(session_id, safe='')}/kill"
    connect(url, token, token_file).post(path, {"reason": reason})
    click.echo(f"session {visible_text(session_id, one_line=True)} is ended")
