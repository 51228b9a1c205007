"""Print an explanation for people."""

from __future__ import annotations

import click

from gateway.cli.output import console, print_table
from gateway.errors import clean_text
from gateway.policy.explain import Explanation

_COLOURS = {"allow": "green", "local": "green", "approve": "yellow", "deny": "red"}


def print_explanation(found: Explanation) -> None:
    """Print the verdict first, then why, then each statement."""
    decision = found.decision
    console().print(f"[bold {_COLOURS[decision.action]}]{decision.action}[/]")
    error = decision.client_error()
    if error is not None:
        click.echo(f"  {error.text()}")
        if error.hint:
            click.echo(f"  hint: {error.hint}")
        if error.reason:
            click.echo(f"  reason (audit only): {clean_text(error.reason)}")
    if decision.approval is not None:
        approval = decision.approval
        click.echo(
            f"  needs {approval['quorum']} of {', '.join(approval['from'])}"
            f" ({approval['rule']}{''.join(f'; {b}' for b in approval['because'])})"
        )
    if decision.shadow is not None:
        shadow = decision.shadow
        refusal = f" {shadow['error']['id']}" if shadow["error"] else ""
        click.echo(f"  shadow mode: enforce would {shadow['action']}{refusal}")
    if decision.local is not None:
        click.echo(f"  answered by the gateway: {decision.local.get('value', '')}")
    click.echo(f"  groups: {', '.join(found.groups) or 'none'}; level: {found.level or 'none'}")
    click.echo(f"  rules: {', '.join(decision.rules) or 'none'}")
    click.echo(f"  cached: {decision.cache}")
    for number, statement in enumerate(found.statements, 1):
        click.echo(f"\nstatement {number}: {statement.kind}")
        print_table(
            ("EFFECT", "OBJECT", "COLUMNS", "GRANTED BY", "DENIED BY"),
            [(e.effect, e.object, e.columns, e.granted_by, e.denied_by) for e in statement.effects],
            empty="no effects",
        )
        if statement.outputs:
            click.echo("")
            print_table(
                ("OUTPUT", "VERDICT", "FROM", "MASK", "EXAMPLE"),
                [
                    (o.name, o.verdict, o.sources, o.mask or "", " -> ".join(o.example or ()))
                    for o in statement.outputs
                ],
            )
        for use in statement.uses:
            click.echo(f"masked column used: {use}")
