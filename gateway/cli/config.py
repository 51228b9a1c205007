"""`postern config`: what is set, to what, and by whom."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.cli.output import config_option, find_config, json_option, print_result
from gateway.cli.reference import PAGES, render
from gateway.config import load_settings


@click.group()
def command() -> None:
    """Show settings, their values and sources."""


@command.command()
@config_option
@json_option
def show(config_path: Path | None, as_json: bool) -> None:
    """Print every setting, its value and where it came from. Secrets are never shown."""
    _, resolved = load_settings(find_config(config_path), os.environ)
    print_result(
        [item._asdict() for item in resolved],
        as_json=as_json,
        columns=("SETTING", "VALUE", "SOURCE"),
        rows=resolved,
    )


@command.command()
@click.argument("page", type=click.Choice(list(PAGES)), default="config")
def reference(page: str) -> None:
    """Print one generated page of the documentation as Markdown."""
    click.echo(render(page), nl=False)
