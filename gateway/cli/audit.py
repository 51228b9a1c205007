"""`postern audit`: follow, search and verify the trail. Reads files only; no gateway needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import orjson
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.audit.findings import Verification
from gateway.audit.search import FILTERS, TIME_MAX, AuditFollower, AuditSearch, Event, Query
from gateway.audit.verify import verify
from gateway.audit.view import COLUMNS, parse_time, row
from gateway.audit.words import parse_words
from gateway.cli.audit_export import export_command
from gateway.cli.audit_place import data_dir_option, find_data_dir
from gateway.cli.audit_report import report_command
from gateway.cli.audit_retention import hold_command, purge_command, release_command
from gateway.cli.output import (
    EXIT_NEGATIVE,
    EXIT_USAGE,
    console,
    fail,
    json_option,
    print_json,
    print_table,
)

_POLL_S: Final = 0.2
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _local_option(function: _Command) -> _Command:
    return click.option("--local", "is_local", is_flag=True, help="Local time instead of UTC.")(
        function
    )


@click.group()
def command() -> None:
    """Follow, search and verify the audit trail."""


command.add_command(export_command)
command.add_command(purge_command)
command.add_command(hold_command)
command.add_command(release_command)
command.add_command(report_command)


@command.command()
@click.option("-n", "count", default=20, show_default=True, help="Events to show first.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is appended; end with Ctrl-C.")
@_local_option
@json_option
@data_dir_option
def tail(
    config_path: Path | None,
    data_dir: Path | None,
    count: int,
    *,
    follow: bool,
    is_local: bool,
    as_json: bool,
) -> None:
    """Show the newest events, a statement's intent and result as one."""
    directory = find_data_dir(config_path, data_dir)
    follower = AuditFollower(directory) if follow else None
    events = list(AuditSearch(directory).find(Query(limit=count))) if count else []
    _print_events(events[::-1], as_json=as_json, is_local=is_local)
    if follower is None:
        return
    wait = threading.Event()
    try:
        while not wait.wait(_POLL_S):
            for event in follower.poll(time.monotonic()):
                _print_line(event, as_json=as_json, is_local=is_local)
    except KeyboardInterrupt:
        return


def _print_events(events: list[Event], *, as_json: bool, is_local: bool) -> None:
    if as_json:
        for event in events:
            _print_line(event, as_json=True, is_local=is_local)
    else:
        print_table(COLUMNS, (row(event, is_local=is_local) for event in events))


def _print_line(event: Event, *, as_json: bool, is_local: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(event.merged(), default=str).decode())
    else:
        cells = [cell for cell in row(event, is_local=is_local) if cell]
        click.echo("  ".join("".join(c if c.isprintable() else " " for c in x) for x in cells))


def _filter_options(function: _Command) -> _Command:
    for name in reversed(list(FILTERS)):
        text = f"Only this {name}; `*` and `?` stand for anything."
        function = click.option(f"--{name}", name, metavar="PATTERN", help=text)(function)
    return function


@command.command()
@click.argument("words", nargs=-1)
@_filter_options
@click.option("--text", default="", help="Words in the SQL text or message, in any case.")
@click.option("--since", default="", help="15m, 2h, 3d, today, yesterday, or an ISO 8601 time.")
@click.option("--until", default="", help="Likewise.")
@click.option("--before", default=TIME_MAX, help="Only below this sequence: the next page.")
@click.option("-n", "--limit", default=50, show_default=True, help="Most events to show.")
@_local_option
@json_option
@data_dir_option
def search(
    config_path: Path | None,
    data_dir: Path | None,
    words: tuple[str, ...],
    text: str,
    since: str,
    until: str,
    before: int,
    limit: int,
    *,
    is_local: bool,
    as_json: bool,
    **filters: str | None,
) -> None:
    """Find events, newest first; all conditions hold at once. Status 1 when there is none.

    WORDS say the same shorter: who:agent-7 when:yesterday object:'sales.*' decision:deny refund.
    when: takes 2h, today, yesterday, 'last week', 2026-01-31 or 2026-01-01..2026-02-01.
    """
    directory = find_data_dir(config_path, data_dir)
    now = datetime.now(UTC)
    try:
        said = parse_words(words, now)
        query = Query(
            filters={**said.filters, **{name: p for name, p in filters.items() if p}},
            text=text or said.text,
            since_us=parse_time(since, now) if since else said.since_us,
            until_us=parse_time(until, now) if until else said.until_us,
            before=before,
            limit=limit,
        )
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    events = list(AuditSearch(directory).find(query))
    _print_events(events, as_json=as_json, is_local=is_local)
    if len(events) == limit and not as_json:
        click.echo(f"more: --before {min(event.sequence for event in events)}", err=True)
    raise SystemExit(0 if events else EXIT_NEGATIVE)


@command.command("verify")
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Trusted public key (PEM), kept elsewhere; repeatable. Default: the exported one.",
)
@json_option
@data_dir_option
def verify_command(
    config_path: Path | None, data_dir: Path | None, keys: tuple[Path, ...], *, as_json: bool
) -> None:
    """Prove that nothing was changed, moved, removed or cut. Status 1 when something was."""
    directory = find_data_dir(config_path, data_dir)
    columns = (TextColumn("verifying"), BarColumn(), TimeRemainingColumn())
    screen = console(stderr=True)
    try:
        with Progress(*columns, console=screen, transient=True, disable=as_json) as bar:
            task = bar.add_task("verify", total=None)

            def progress(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            result = verify(directory, keys=keys, progress=progress)
    except (OSError, ValueError) as error:
        fail(f"cannot verify: {error}")
    if as_json:
        print_json(_as_json(result))
    else:
        _print_verification(result)
    raise SystemExit(0 if result.is_clean else EXIT_NEGATIVE)


def _as_json(result: Verification) -> dict[str, Any]:
    return {
        "clean": result.is_clean,
        "stream": result.stream,
        "segments": result.segments,
        "purged": result.purged,
        "entries": result.entries,
        "last_sequence": result.last_sequence,
        "checkpoints": result.checkpoints,
        "signed_to": result.signed_to,
        "problems": [
            {"what": p.what, "file": p.file, "sequence": p.sequence, "text": p.text}
            for p in result.problems
        ],
        "open": [{"session": session, "stmt": number} for session, number in result.open],
        "notes": result.notes,
    }


def _print_verification(result: Verification) -> None:
    if result.problems:
        rows = [(p.what, p.file, p.sequence, p.text) for p in result.problems]
        print_table(("problem", "file", "sequence", "what was found"), rows)
    for note in result.notes:
        click.echo(f"note: {note}")
    gone = f" ({result.purged} older ones purged)" if result.purged else ""
    click.echo(
        f"{'clean' if result.is_clean else 'NOT CLEAN'}: {result.entries} entries in"
        f" {result.segments} segments{gone} to sequence {result.last_sequence},"
        f" {result.checkpoints} checkpoints, signed to {result.signed_to}"
    )
    if result.open:
        shown = ", ".join(f"{session} #{number}" for session, number in result.open[:5])
        more = f" and {len(result.open) - 5} more" if len(result.open) > 5 else ""
        click.echo(f"note: {len(result.open)} statements without a result yet: {shown}{more}")
