"""`postern sessions`: who is connected."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.control_client import api_options, connect
from gateway.cli.output import json_option, print_json, print_table
from gateway.control.visible import visible_text


@click.group()
def command() -> None:
    """List client sessions."""


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
