"""`postern audit export`: the trail for other systems."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.audit.export import formatter, read_events
from gateway.audit.words import parse_words
from gateway.cli.audit_place import data_dir_option, find_data_dir
from gateway.cli.output import EXIT_NEGATIVE, EXIT_USAGE, fail


@click.command("export")
@click.argument("words", nargs=-1)
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "cef", "ocsf"]),
    default="ndjson",
    show_default=True,
    help="ocsf is class 6005, Datastore Activity: statements and logins only.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; default standard output.",
)
@data_dir_option
def export_command(
    config_path: Path | None,
    data_dir: Path | None,
    words: tuple[str, ...],
    form: str,
    output: Path | None,
) -> None:
    """Write events, oldest first, one per line; WORDS narrow them as in `search`.

    Status 1 when there is none.
    """
    directory = find_data_dir(config_path, data_dir)
    try:
        query = parse_words(words)
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    line_of, count = formatter(form), 0
    try:
        with click.open_file(str(output) if output else "-", "w", encoding="utf-8") as file:
            for event in read_events(directory, query):
                if line := line_of(event):
                    file.write(line + "\n")
                    count += 1
    except OSError as error:
        fail(f"cannot write: {error}")
    raise SystemExit(0 if count else EXIT_NEGATIVE)
