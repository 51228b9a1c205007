"""The command `postern`.

Subcommands are imported when they are called: the help of one command must not pay for the
imports of all the others.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

from gateway.errors import ConfigError, GatewayError, PolicyError

# name -> (module with an attribute `command`, help line of the overview)
COMMANDS: Final = {
    "demo": ("gateway.cli.demo", "Run a scripted agent session on an embedded PostgreSQL."),
    "serve": ("gateway.cli.serve", "Run the gateway."),
    "check": ("gateway.cli.check", "Check configuration, policies, targets and issuers."),
    "policy": ("gateway.cli.policy", "Check, test and explain policies."),
    "scan": ("gateway.cli.scan", "Look for columns that need a mask."),
    "mask": ("gateway.cli.mask", "Show and rotate the keys of mask domains."),
    "approvals": ("gateway.cli.approvals", "List and decide statements that wait for a person."),
    "sessions": ("gateway.cli.sessions", "List and end client sessions."),
    "audit": ("gateway.cli.audit", "Follow, search and verify the audit trail."),
    "login": ("gateway.cli.login", "Log in at the identity provider."),
    "token": ("gateway.cli.token", "Mint, exchange and revoke tokens."),
    "connector": ("gateway.cli.connector", "Run a connector, let connectors in and put them out."),
    "config": ("gateway.cli.config", "Show settings, their values and sources."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table above."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None if there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview from the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pgpostern", prog_name="postern")
def cli() -> None:
    """Postern decides, masks, holds and records what agents do in PostgreSQL."""


def main() -> None:
    """Run `postern`; what a command does not handle is one line, and 78 if it is a setting's."""
    try:
        cli(prog_name="postern")
    except GatewayError as error:
        # Imported late: output pulls in rich, which --help does not need.
        from gateway.cli.output import EXIT_CONFIG, EXIT_NEGATIVE, fail

        configured = isinstance(error, ConfigError | PolicyError)
        fail(str(error), EXIT_CONFIG if configured else EXIT_NEGATIVE)


if __name__ == "__main__":
    main()
