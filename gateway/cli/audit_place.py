"""Where the trail is that an `audit` command works on: `-c` or `--data-dir`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.cli.output import EXIT_USAGE, config_option, fail, read_config

_Command = TypeVar("_Command", bound=Callable[..., Any])


def data_dir_option(function: _Command) -> _Command:
    """Add `-c` and `--data-dir` as the parameters `config_path` and `data_dir`."""
    option = click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Data directory, or a copy of one; default from the configuration.",
    )
    return option(config_option(function))


def find_data_dir(config_path: Path | None, data_dir: Path | None) -> Path:
    """The data directory that is meant; ends the command when it has no trail."""
    found = data_dir if data_dir is not None else read_config(config_path).data_dir
    if not (found / "audit").is_dir():
        fail(f"{found} has no audit trail", EXIT_USAGE)
    return found
