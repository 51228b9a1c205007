"""`postern audit export`: the trail for other systems."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from gateway.audit.export import formatter, read_events
from gateway.audit.words import parse_words
from gateway.cli.audit_follow import follow, follow_options, open_sink
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
@follow_options
@data_dir_option
def export_command(
    config_path: Path | None,
    data_dir: Path | None,
    words: tuple[str, ...],
    form: str,
    output: Path | None,
    *,
    is_follow: bool,
    to: str,
    secret_file: Path | None,
    ca: Path | None,
    cursor: Path | None,
) -> None:
    """Write events, oldest first, one per line; WORDS narrow them as in `search`.

    With -f go on with what is recorded, at least once each: to standard output, a file (appended),
    a syslog server (RFC 5424 over TLS) or a webhook (signed, retried). Else status 1 for none.
    """
    directory = find_data_dir(config_path, data_dir)
    try:
        query = parse_words(words)
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    line_of, count = formatter(form), 0
    if is_follow:
        with ExitStack() as stack:
            try:
                sink = open_sink(to, output, ca, secret_file, stack)
            except (OSError, ValueError) as error:
                fail(str(error), EXIT_USAGE)
            follow(directory, query, line_of, sink, cursor)
        return
    if to or cursor:
        fail("--to and --cursor go with --follow", EXIT_USAGE)
    try:
        with click.open_file(str(output) if output else "-", "w", encoding="utf-8") as file:
            for event in read_events(directory, query):
                if line := line_of(event):
                    file.write(line + "\n")
                    count += 1
    except OSError as error:
        fail(f"cannot write: {error}")
    raise SystemExit(0 if count else EXIT_NEGATIVE)
