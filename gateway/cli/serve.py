"""`postern serve`: run the gateway."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.cli.output import EXIT_CONFIG, config_option, fail, find_config


@click.command()
@config_option
@click.option("--workers", metavar="N", help="Data-plane processes; `auto` is the usable CPUs.")
def command(config_path: Path | None, workers: str | None) -> None:
    """Run the gateway. SIGHUP reloads policies, SIGTERM drains.

    Exit status 0 after a drain, 1 when it cannot start or go on, 78 for a configuration or
    policy that cannot be used.
    """
    from gateway.errors import PolicyError
    from gateway.logs import configure
    from gateway.process.activation import ConfigSource, explain
    from gateway.process.exits import StartError
    from gateway.process.start import run_gateway

    configure("supervisor")
    overrides = {} if workers is None else {"workers.count": workers}
    source = ConfigSource(find_config(config_path), os.environ, overrides)
    try:
        code = run_gateway(source, click.echo)
    except PolicyError as error:
        for line in explain(error):
            click.echo(f"postern: {line}", err=True)
        raise SystemExit(EXIT_CONFIG) from None
    except StartError as error:
        fail(str(error))
    raise SystemExit(code)
