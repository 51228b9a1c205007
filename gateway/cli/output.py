"""How every command talks: tables for people, JSON for programs, one line for an error.

Exit status: 0 done, 1 a negative answer, 2 usage, 78 configuration.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.config import Config, load_config

EXIT_OK: Final = 0
EXIT_NEGATIVE: Final = 1
EXIT_USAGE: Final = 2
EXIT_CONFIG: Final = 78  # EX_CONFIG of sysexits.h
DEFAULT_CONFIG: Final = Path("postern.toml")
_PIPE_WIDTH: Final = 200  # without a terminal nothing may be cut to 80 columns

_Command = TypeVar("_Command", bound=Callable[..., Any])


def json_option(command: _Command) -> _Command:
    """Add `--json` as the parameter `as_json`."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
    return option(command)


def config_option(command: _Command) -> _Command:
    """Add `-c/--config` as the parameter `config_path`; see `read_config`."""
    option = click.option(
        "-c",
        "--config",
        "config_path",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="POSTERN_CONFIG",
        help=f"Configuration file; default {DEFAULT_CONFIG} where there is one.",
    )
    return option(command)


def find_config(config_path: Path | None) -> Path | None:
    """Return the file to read: the one named, else the default where it exists."""
    if config_path is not None:
        return config_path
    return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None


def read_config(config_path: Path | None, overrides: Mapping[str, str] | None = None) -> Config:
    """Return the configuration; raises ConfigError, which `main` turns into status 78."""
    return load_config(find_config(config_path), os.environ, overrides)


def console(*, stderr: bool = False) -> Console:
    """Return a console that colours on a terminal and never wraps into a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=not stream.isatty())


def print_json(value: object) -> None:
    """Print `value` as indented JSON."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "nothing to show"
) -> None:
    """Print `rows` under `columns`. Cells are shown as they are: markup in data stays text."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(cell_text(cell) for cell in row))
    if table.row_count:
        console().print(table)
    else:
        click.echo(empty)


def cell_text(cell: object) -> Text:
    """Return a cell as plain text; data must not move the cursor of whoever reads it."""
    if cell is None:
        return Text("")
    text = ", ".join(map(str, cell)) if isinstance(cell, list | tuple) else str(cell)
    return Text("".join(char if char.isprintable() else " " for char in text))


def print_result(
    value: object,
    *,
    as_json: bool,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    empty: str = "nothing to show",
) -> None:
    """Print one result in the form asked for: `value` as JSON, or `rows` as a table."""
    if as_json:
        print_json(value)
    else:
        print_table(columns, rows, empty=empty)


def fail(message: str, status: int = EXIT_NEGATIVE) -> NoReturn:
    """Print one line to standard error and exit with `status`."""
    click.echo(f"postern: {message}", err=True)
    raise SystemExit(status)
