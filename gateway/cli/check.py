"""`postern check`: look at everything a start needs, without starting anything."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.cli.output import cell_text, config_option, find_config, json_option, print_json

_MARKS = {True: "ok     ", False: "problem"}
_WARNING = "warning"


@click.command()
@config_option
@json_option
def command(config_path: Path | None, as_json: bool) -> None:
    """Check configuration, policies, targets and roles, issuers, disk, and the machine.

    Exit status 0 when there is nothing worse than a warning, 1 on any problem, 78 for an
    unusable configuration.
    """
    from gateway.process.activation import ConfigSource
    from gateway.process.checks import run_checks

    source = ConfigSource(find_config(config_path), os.environ)
    findings = run_checks(source)
    if as_json:
        print_json(
            [
                {"what": f.what, "ok": f.is_good, "warning": f.is_warning, "text": f.text}
                for f in findings
            ]
        )
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            text = cell_text(finding.text).plain
            mark = _WARNING if finding.is_warning else _MARKS[finding.is_good]
            click.echo(f"{finding.what:<{width}}  {mark}  {text}")
    raise SystemExit(0 if all(finding.is_good for finding in findings) else 1)
