"""`postern approvals`: what waits for a person, and the person's answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.cli.approvals_watch import watch_command
from gateway.cli.control_client import ControlClient, api_options, connect
from gateway.cli.output import console, json_option, print_json, print_table
from gateway.control.visible import visible, visible_text

WIDTH = 60


@click.group()
def command() -> None:
    """List and decide statements that wait for a person."""


command.add_command(watch_command)


@command.command("list")
@click.option("--state", default="PENDING", help="States, comma-separated, or `all`.")
@click.option("--target", default="", help="Only this target.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, help="At most so many.")
@api_options
@json_option
def list_command(
    state: str, target: str, limit: int, url: str | None, token: str | None,
    token_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """List requests, newest first."""
    params: dict[str, str | int] = {"limit": limit}
    if state.lower() != "all":
        params["state"] = state
    if target:
        params["target"] = target
    answer = connect(url, token, token_file).get("/v1/approvals", params)
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            item["id"],
            item["state"].lower(),
            _who(item["principal"]),
            item["target"],
            item["rule"],
            _cut(visible_text(item["excerpt"], one_line=True)),
            f"{item['approvals']}/{item['quorum']}",
            item["expires"][11:19],
        )
        for item in answer["items"]
    ]
    columns = ("id", "state", "who", "target", "rule", "statement", "yes", "until (UTC)")
    print_table(columns, rows, empty="no approvals to show")


@command.command()
@click.argument("approval_id")
@api_options
@json_option
def show(
    approval_id: str, url: str | None, token: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Show one request with the whole statement."""
    answer = connect(url, token, token_file).get(_path(approval_id))
    _print(answer, as_json=as_json)


@command.command()
@click.argument("approval_id")
@click.option("-m", "--comment", default="", help="Why; kept in the audit trail.")
@api_options
@json_option
def approve(
    approval_id: str, comment: str, url: str | None, token: str | None,
    token_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Approve one request for one execution."""
    _decide(connect(url, token, token_file), approval_id, "approve", comment, as_json=as_json)


@command.command()
@click.argument("approval_id")
@click.option("-m", "--comment", default="", help="Why; the agent reads it.")
@api_options
@json_option
def deny(
    approval_id: str, comment: str, url: str | None, token: str | None,
    token_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Deny one request."""
    _decide(connect(url, token, token_file), approval_id, "deny", comment, as_json=as_json)


def _decide(
    client: ControlClient, approval_id: str, verb: str, comment: str, *, as_json: bool
) -> None:
    answer = client.post(f"{_path(approval_id)}/{verb}", {"comment": comment})
    if as_json:
        print_json(answer)
        return
    state, left = answer["state"].lower(), answer["quorum"] - answer["approvals"]
    more = f"; {left} more must approve" if answer["state"] == "PENDING" else ""
    click.echo(f"{answer['id']} is {state}{more}")


def _print(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    rows: list[tuple[str, str]] = [
        ("state", f"{answer['state'].lower()}, {answer['approvals']} of {answer['quorum']} yes"),
        ("who", _who(answer["principal"])),
        ("groups", ", ".join(answer["principal"]["groups"])),
        ("why", answer["reason"] or "no reason was given"),
        ("target", answer["target"] + (f" as {answer['role']}" if answer["role"] else "")),
        ("rule", answer["rule"]),
        ("effects", ", ".join(answer["effects"])),
        ("objects", ", ".join(answer["objects"])),
        ("approvers", ", ".join(answer["approvers"])),
        ("asked", answer["created"]),
        ("until", answer["expires"]),
    ]
    rows += _preview(answer)
    rows += [(f"${number}", _value(p)) for number, p in enumerate(answer["params"], 1)]
    rows += [
        (vote["verdict"], " ".join((vote["person"], vote["comment"]))) for vote in answer["votes"]
    ]
    for name, value in rows:
        table.add_row(name, visible_text(value, one_line=True))
    output = console()
    output.print(table)
    output.print(Panel(_statement(answer["sql"]), title=f"{answer['sql_bytes']} bytes"))
    if answer["why_not"]:
        click.echo(f"you cannot decide on this: {visible_text(answer['why_not'], one_line=True)}")


def _preview(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """What the database said of it, in a line each."""
    preview = answer.get("preview")
    if preview is None:
        return []
    rows = []
    if preview["rows"] is not None:
        how = "counted, rolled back" if preview["counted"] else "estimated"
        rows.append(("rows", f"{preview['rows']:,} {how}"))
    if preview["problem"]:
        rows.append(("preview", preview["problem"]))
    rows += [("besides", line) for line in preview["cascades"] + preview["triggers"]]
    if preview["masks"]:
        rows.append(("masked", ", ".join(preview["masks"])))
    return rows


def _statement(sql: str) -> Text:
    text = Text()
    for segment in visible(sql):
        text.append(segment.text, style="reverse red" if segment.is_marked else "")
    return text


def _value(param: dict[str, Any]) -> str:
    if "base64" in param:
        return f"{param['base64']} (base64)"
    return "NULL" if param["value"] is None else str(param["value"])


def _who(principal: dict[str, Any]) -> str:
    agent = f" through {principal['agent']}" if principal.get("agent") else ""
    return visible_text(f"{principal['subject']}{agent}", one_line=True)


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _path(approval_id: str) -> str:
    return f"/v1/approvals/{quote(approval_id, safe='')}"
