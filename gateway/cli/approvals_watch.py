"""`postern approvals watch`: what waits, as it comes, with a key for each answer."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from gateway.cli.control_client import ControlClient, api_options, connect
from gateway.cli.output import console, json_option, print_json
from gateway.control.visible import visible_text

LOOK_S: Final = 1.0
HELP: Final = "a approve   d deny   v details   n next   q quit"


@click.command("watch")
@api_options
@json_option
def watch_command(
    url: str | None, token: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Follow what waits for you. Keys: a approve, d deny, v details, n next, q quit.

    Without a terminal, or with --json, new requests are printed as they come.
    """
    client = connect(url, token, token_file)
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        _print_new(client, as_json=as_json)
        return
    with _keys() as read_key:
        _Watch(client, read_key).run()


class _Watch:
    """One request at a time, the oldest first: it has waited longest."""

    def __init__(self, client: ControlClient, read_key: Callable[[float], str]) -> None:
        self._client = client
        self._read_key = read_key
        self._passed: set[str] = set()
        self._shown = ""

    def run(self) -> None:
        """Show and answer until told to stop."""
        click.echo(HELP)
        while True:
            item = self._next()
            if item is None and self._shown:
                click.echo("nothing waits for you")
                self._shown = ""
            elif item is not None and item["id"] != self._shown:
                self._shown = item["id"]
                click.echo(f"\n{_line(item)}")
            key = self._read_key(LOOK_S)
            if key == "q":
                return
            if item is not None and key:
                self._answer(item["id"], key)

    def _next(self) -> dict[str, Any] | None:
        waiting = _pending(self._client)
        self._passed &= {item["id"] for item in waiting}
        return next((item for item in waiting if item["id"] not in self._passed), None)

    def _answer(self, approval_id: str, key: str) -> None:
        path = f"/v1/approvals/{quote(approval_id, safe='')}"
        if key == "n":
            self._passed.add(approval_id)
        elif key == "v":
            shown = self._client.get(path)
            output = console()
            output.print(visible_text(shown["sql"]), markup=False, highlight=False)
            facts = {"why": shown["reason"], "objects": ", ".join(shown["objects"])}
            facts |= {f"${i}": _value(p) for i, p in enumerate(shown["params"], 1)}
            if (preview := shown["preview"]) is not None:
                facts["rows"] = f"{preview['rows']} {'counted' if preview['counted'] else 'about'}"
                facts["besides"] = "; ".join(preview["cascades"] + preview["triggers"])
            for name, text in facts.items():
                output.print(f"{name}: {visible_text(text, one_line=True)}", markup=False)
        elif key in {"a", "d"}:
            verb = "approve" if key == "a" else "deny"
            try:
                # The version that was shown is not asked for: the API checks the state itself.
                answer = self._client.post(f"{path}/{verb}", {"comment": ""})
            except SystemExit:
                self._passed.add(approval_id)  # said why already; go on with the next
                return
            click.echo(f"{approval_id} is {answer['state'].lower()}")
            self._passed.add(approval_id)


def _pending(client: ControlClient) -> list[dict[str, Any]]:
    answer = client.get("/v1/approvals", {"state": "PENDING", "limit": 500})
    return sorted(answer["items"], key=lambda item: str(item["created"]))


def _line(item: dict[str, Any]) -> str:
    who = item["principal"]["subject"]
    text = f"{item['id']}  {who} on {item['target']}, {item['rule']}: {item['excerpt']}"
    return visible_text(text, one_line=True)


def _value(param: dict[str, Any]) -> str:
    if "base64" in param:
        return f"{param['base64']} (base64)"
    return "NULL" if param["value"] is None else str(param["value"])


def _print_new(client: ControlClient, *, as_json: bool) -> None:
    seen: set[str] = set()
    while True:
        for item in _pending(client):
            if item["id"] not in seen:
                seen.add(item["id"])
                print_json(item) if as_json else click.echo(_line(item))
        sys.stdout.flush()
        # A look each second, until whoever reads us has gone.
        select.select([], [], [sys.stdout], LOOK_S)


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A terminal that gives single keys, put back as it was afterwards."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def read_key(timeout_s: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], timeout_s)
        # Not sys.stdin: it would keep a second key to itself, where select does not see it.
        return os.read(descriptor, 1).decode("ascii", "replace").lower() if ready else ""

    try:
        tty.setcbreak(descriptor)
        yield read_key
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
