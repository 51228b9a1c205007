"""`postern demo`: a scripted agent session on an embedded PostgreSQL."""

from __future__ import annotations

import importlib.util

import click

from gateway.cli.output import fail


@click.command()
@click.option("--once", is_flag=True, help="End after the scripted session.")
def command(once: bool) -> None:
    """Show an agent session on a real PostgreSQL; then stay up to be tried.

    Needs no server, account or network. Everything lives in a temporary directory and is gone
    at the end. Exit status 0 only if every step did what it should.
    """
    if importlib.util.find_spec("psycopg") is None:
        fail("psycopg is missing: pip install 'pgpostern[demo]'")
    from gateway.demo.show import run_demo

    raise SystemExit(run_demo(once=once))
