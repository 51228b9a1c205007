"""`postern audit report`: the evidence pack of a stretch of time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.audit.evidence import collect
from gateway.audit.evidence_pages import write_pack
from gateway.audit.verify import verify
from gateway.audit.view import parse_time
from gateway.cli.audit_place import data_dir_option, find_data_dir
from gateway.cli.output import EXIT_NEGATIVE, EXIT_USAGE, fail

_FOREVER = (1 << 63) - 1


@click.command("report")
@click.option("--from", "since", default="", help="30d, 2026-01-01; default from the beginning.")
@click.option("--to", "until", default="", help="Likewise; default until now.")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory to make; it must not exist.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Trusted public key; default the one beside the trail.",
)
@data_dir_option
def report_command(
    config_path: Path | None,
    data_dir: Path | None,
    since: str,
    until: str,
    output: Path,
    keys: tuple[Path, ...],
) -> None:
    """Write an evidence pack: index.html and the records of each number as CSV.

    Access by group, refusals, approvals, policy changes, revocations, retention, verification.
    Status 1 when the trail does not verify; the pack is written all the same and says so.
    """
    directory = find_data_dir(config_path, data_dir)
    now = datetime.now(UTC)
    try:
        since_us = parse_time(since, now) if since else 0
        until_us = parse_time(until, now) if until else _FOREVER
        output.mkdir(mode=0o700, parents=True)
        found = collect(directory, output, since_us, until_us)
        verified = verify(directory, keys=keys)
        write_pack(output, found, verified, since_us, until_us)
    except FileExistsError:
        fail(f"{output} exists already", EXIT_USAGE)
    except ValueError as error:
        fail(str(error), EXIT_USAGE)
    except OSError as error:
        fail(f"cannot write the report: {error}")
    click.echo(f"{output / 'index.html'}: {sum(found.access.values())} statements counted")
    raise SystemExit(0 if verified.is_clean else EXIT_NEGATIVE)
