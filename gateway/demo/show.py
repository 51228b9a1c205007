"""Run the demo from its first line to the last process gone."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

import psycopg

from gateway.demo.screen import Screen
from gateway.demo.stand import AGENT, REVIEWER, TARGET, DemoError, Stand
from gateway.demo.story import Story
from gateway.errors import GatewayError

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCH_S: Final = 0.5
_TRY_READ: Final = '-c "SELECT * FROM sales.people LIMIT 5"'
_TRY_DELETE: Final = '-c "DELETE FROM sales.refunds"   # waits two minutes for a yes'
_TRY_PYTHON: Final = (
    "-c 'import psycopg; print(psycopg.connect()"
    '.execute("SELECT name, email FROM sales.people").fetchone())\''
)


class Interrupted(BaseException):
    """Somebody wants the demo to end. Not an Exception: nothing on the way may keep it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def run_demo(*, once: bool, screen: Screen | None = None) -> int:
    """Show the session; unless `once`, stay up until interrupted. Return the exit status."""
    screen = screen or Screen()
    stand = Stand()
    try:
        try:
            _hear_signals()
            return _show(stand, screen, once=once)
        finally:
            _ignore_signals()
    except Interrupted as interrupted:
        screen.say("interrupted; cleaning up")
        return interrupted.status
    except (GatewayError, psycopg.Error, OSError) as error:
        screen.failed(str(error), stand.log_tail())
        return EXIT_FAILED
    finally:
        stand.close()


def _show(stand: Stand, screen: Screen, *, once: bool) -> int:
    screen.opening()
    with screen.preparing() as preparation:
        stand.open(preparation.tell)
    screen.picture(
        "psycopg, token", f"127.0.0.1:{stand.port}", f"{stand.server_version.split()[0]}, real rows"
    )
    story = Story(stand, screen)
    try:
        for step in story.steps:
            step()
    finally:
        story.close()
    screen.closing("Done")
    screen.passed(len(story.steps))
    if once:
        return EXIT_OK
    return _stay(stand, screen)


def _stay(stand: Stand, screen: Screen) -> int:
    try:
        # From its first line on, an interrupt is the wish to end and no failure.
        _invite(stand, screen)
        while stand.is_alive():
            time.sleep(_WATCH_S)
    except Interrupted:
        screen.say("stopping, removing everything")
        return EXIT_OK
    raise DemoError("the gateway ended by itself")


def _invite(stand: Stand, screen: Screen) -> None:
    """Print the lines to paste."""
    agent_file, psql = stand.token_file(AGENT[0]), _psql(stand)
    postern = _postern()
    screen.closing("Your turn")
    screen.say("Everything stays up until Ctrl-C, then it is gone without a trace.")
    screen.say("Paste these lines in another terminal.")
    screen.say("")
    screen.paste(
        f"As the agent {AGENT[0]}: psql, Python",
        f"export PGHOST=127.0.0.1 PGPORT={stand.port} PGDATABASE={TARGET} PGUSER=agent",
        f"export PGPASSWORD=$(cat {agent_file})",
        f"{psql} {_TRY_READ}",
        f"{psql} {_TRY_DELETE}",
        f"{_short(sys.executable)} {_TRY_PYTHON}",
    )
    screen.paste(
        f"As the reviewer {REVIEWER[0]}: web page, sign in with the token",
        f"{stand.url}/",
        stand.reviewer_token,
    )
    screen.paste(
        f"As the reviewer {REVIEWER[0]}: terminal",
        f"export POSTERN_CONFIG={stand.config}",
        f"export POSTERN_TOKEN_FILE={stand.token_file(REVIEWER[0])}",
        f"{postern} approvals list",
        f"{postern} approvals approve ID --comment 'fine with me'",
        f"{postern} audit tail",
        f"{postern} audit verify",
    )
    screen.paste(
        "Other rules: edit the file, then reload it",
        f"${{EDITOR:-vi}} {stand.policies / 'demo.yaml'} && kill -HUP {stand.gateway_pid}",
    )


def _psql(stand: Stand) -> str:
    """The command psql, or where the embedded server brought its own."""
    own = stand.cluster.bin_dir / "psql" if stand.cluster is not None else Path("psql")
    return "psql" if shutil.which("psql") or not own.exists() else _short(str(own))


def _postern() -> str:
    script = Path(sys.executable).with_name("postern")
    if shutil.which("postern"):
        return "postern"
    if script.exists():
        return _short(str(script))
    return f"{_short(sys.executable)} -m gateway.cli.main"


def _short(path: str) -> str:
    """`path` from where the user stands, when it lies below."""
    here = f"{Path.cwd()}{os.sep}"
    return path.removeprefix(here) if path.startswith(here) else path


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _ignore_signals()  # one is enough; a second must not tear the cleaning up apart
    raise Interrupted(number)


def _hear_signals() -> None:
    for number in _ENDING:
        signal.signal(number, _interrupt)


def _ignore_signals() -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
