"""`postern audit purge`, `hold` and `release`: what may go, what must stay."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from gateway.audit.retention import (
    Hold,
    OldSegment,
    change_holds,
    plan_purge,
    purge,
    read_holds,
    who_runs,
)
from gateway.audit.view import parse_time, show_time
from gateway.cli.audit_place import data_dir_option, find_data_dir
from gateway.cli.output import (
    EXIT_NEGATIVE,
    EXIT_USAGE,
    fail,
    json_option,
    print_json,
    print_table,
)

_AGE: Final = re.compile(r"(\d+)([hdw])")
_UNIT_S: Final = {"h": 3_600, "d": 86_400, "w": 604_800}
_FOREVER: Final = (1 << 63) - 1


def _age_s(text: str) -> int:
    match = _AGE.fullmatch(text.strip())
    if match is None:
        fail(f"{text!r} is not an age: use 400d, 52w or 12h", EXIT_USAGE)
    return int(match[1]) * _UNIT_S[match[2]]


@click.command("purge")
@click.option("--older-than", required=True, metavar="AGE", help="400d, 52w: since its end.")
@click.option("--dry-run", is_flag=True, help="Only say what would go and what a hold keeps.")
@json_option
@data_dir_option
def purge_command(
    config_path: Path | None,
    data_dir: Path | None,
    older_than: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete whole segments past their age; the rest still verifies. Status 1: nothing to do.

    Each is recorded in the trail and leaves a signed line in purged.log with its Merkle root.
    """
    directory = find_data_dir(config_path, data_dir)
    now_us = int(time.time() * 1e6)
    try:
        plan = plan_purge(directory, before_us=now_us - _age_s(older_than) * 1_000_000)
        if plan.delete and not dry_run:
            purge(directory, plan, rule=f"older than {older_than}", by=who_runs(), now_us=now_us)
    except BlockingIOError:
        fail("another purge or hold is at work")
    except (OSError, ValueError) as error:
        fail(str(error))
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "deleted": [_as_json(segment) for segment in plan.delete],
                "held": [_as_json(segment) | {"hold": name} for segment, name in plan.held],
            }
        )
    else:
        rows = [(*_row(segment), "-") for segment in plan.delete]
        rows += [(*_row(segment), name) for segment, name in plan.held]
        if rows:
            print_table(("segment", "sequences", "from", "to", "bytes", "kept by hold"), rows)
        verb = "would be deleted" if dry_run else "deleted"
        click.echo(f"{len(plan.delete)} segments {verb}, {len(plan.held)} kept by holds")
    raise SystemExit(0 if plan.delete else EXIT_NEGATIVE)


def _row(segment: OldSegment) -> tuple[str, str, str, str, int]:
    return (
        segment.file,
        f"{segment.first_sequence} to {segment.last_sequence}",
        show_time(segment.since_us, is_local=False),
        show_time(segment.until_us, is_local=False),
        segment.bytes,
    )


def _as_json(segment: OldSegment) -> dict[str, Any]:
    names = ("file", "first_sequence", "last_sequence", "root", "since_us", "until_us", "bytes")
    return {name: getattr(segment, name) for name in names}


@click.command("hold")
@click.argument("name", required=False)
@click.option("--since", default="", help="From when on; default from the beginning.")
@click.option("--until", default="", help="Until when; default for ever, new records included.")
@click.option("--reason", default="", help="Why, for the record; required to set one.")
@json_option
@data_dir_option
def hold_command(
    config_path: Path | None,
    data_dir: Path | None,
    name: str | None,
    since: str,
    until: str,
    reason: str,
    *,
    as_json: bool,
) -> None:
    """Keep what was recorded in a stretch of time from being purged; without NAME list holds."""
    directory = find_data_dir(config_path, data_dir)
    now = datetime.now(UTC)
    try:
        if name is None:
            _list_holds(directory, as_json=as_json)
            return
        if not reason:
            fail("a hold needs --reason", EXIT_USAGE)
        hold = Hold(
            name=name,
            since_us=parse_time(since, now) if since else 0,
            until_us=parse_time(until, now) if until else _FOREVER,
            reason=reason,
            by=who_runs(),
        )
        change_holds(directory, add=hold, by=hold.by)
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    click.echo(f"hold {name} is set")


def _list_holds(directory: Path, *, as_json: bool) -> None:
    holds = read_holds(directory / "audit")
    if as_json:
        print_json([{"name": h.name, "reason": h.reason, "by": h.by} for h in holds])
        return
    rows = [
        (
            hold.name,
            show_time(hold.since_us, is_local=False),
            "for ever" if hold.until_us == _FOREVER else show_time(hold.until_us, is_local=False),
            hold.by,
            hold.reason,
        )
        for hold in holds
    ]
    print_table(("hold", "from", "to", "by", "reason"), rows)


@click.command("release")
@click.argument("name")
@data_dir_option
def release_command(config_path: Path | None, data_dir: Path | None, name: str) -> None:
    """Lift the hold NAME; what it kept may be purged again."""
    directory = find_data_dir(config_path, data_dir)
    try:
        change_holds(directory, remove=name, by=who_runs())
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    click.echo(f"hold {name} is lifted")
