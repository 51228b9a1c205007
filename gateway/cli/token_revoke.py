"""`postern token revoke` and `revocations`: who is out, through the HTTP API."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.control_client import api_options, connect
from gateway.cli.output import EXIT_USAGE, fail, json_option, print_json, print_table
from gateway.clock import format_time
from gateway.control.visible import visible_text
from gateway.units import parse_duration

_CHOICES = {
    "subject": "Everything of this subject.",
    "group": "Everybody in this group of the issuer.",
    "token_id": "The token with this id (`jti`; sha256:... of a token without one).",
    "run": "Everything of this agent run.",
    "key": "Every token signed with this key id.",
}
_KINDS = {"token_id": "token"}


def _choices(command: click.Command) -> click.Command:
    for name, text in reversed(_CHOICES.items()):
        option = "--" + name.replace("_", "-")
        command.params.insert(0, click.Option([option, name], help=text))
    return command


@click.command()
@click.option("--all", "everything", is_flag=True, help="Every token of the issuer.")
@click.option("--issuer", required=True, help="Id of the issuer, as in the configuration.")
@click.option("--keep-new", is_flag=True, help="Only tokens issued until now; new ones are good.")
@click.option("--for", "for_", help="For this long, such as 8h; otherwise until it is lifted.")
@click.option("--reason", default="", help="For the audit trail.")
@click.option("--lift", is_flag=True, help="Take the revocation back.")
@api_options
def revoke(
    everything: bool, issuer: str, keep_new: bool, for_: str | None, reason: str, lift: bool,
    url: str | None, token: str | None, token_file: Path | None, **chosen: str | None,
) -> None:  # fmt: skip
    """Put a subject, group, token, run or key out, within a second and everywhere.

    Sessions are ended, running statements cancelled, and new logins refused.
    """
    named = [(_KINDS.get(name, name), value) for name, value in chosen.items() if value]
    named += [("issuer", "*")] * everything
    if len(named) != 1:
        fail("name one of --subject, --group, --token-id, --run, --key or --all", EXIT_USAGE)
    ((kind, value),) = named
    body: dict[str, object] = {"kind": kind, "issuer": issuer, "value": value}
    client = connect(url, token, token_file)
    if lift:
        client.post("/v1/revocations/lift", body)
        click.echo(f"{kind} {visible_text(value, one_line=True)} of {issuer} is let in again")
        return
    body |= {"reason": reason, "keep_new": keep_new}
    if for_ is not None:
        try:
            body["for_s"] = parse_duration(for_)
        except ValueError as error:
            fail(f"--for: {error}", EXIT_USAGE)
    client.post("/v1/revocations", body)
    click.echo(f"{kind} {visible_text(value, one_line=True)} of {issuer} is out")


revoke = _choices(revoke)


@click.command()
@api_options
@json_option
def revocations(url: str | None, token: str | None, token_file: Path | None, as_json: bool) -> None:
    """List what is revoked, newest first."""
    answer = connect(url, token, token_file).get("/v1/revocations")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            item["kind"],
            item["issuer"],
            visible_text(item["value"], one_line=True),
            visible_text(item["by"], one_line=True),
            _time(item["at"]),
            "" if item["until"] is None else _time(item["until"]),
            visible_text(item["reason"], one_line=True),
        )
        for item in answer["items"]
    ]
    columns = ("kind", "issuer", "what", "by", "since (UTC)", "until (UTC)", "reason")
    print_table(columns, rows, empty="nothing is revoked")


def _time(epoch_s: float) -> str:
    return format_time(int(epoch_s * 1e6))[:19].replace("T", " ")
