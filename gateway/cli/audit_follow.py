"""`postern audit export --follow`: the trail as it grows, to where it is wanted."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from gateway.audit.search import AuditFollower, Event, Query
from gateway.audit.signing import write_file
from gateway.audit.sinks import (
    FileSink,
    Sink,
    SinkRefused,
    SyslogSink,
    WebhookSink,
    send_until_taken,
    tls_context,
)
from gateway.cli.output import EXIT_USAGE, fail

_POLL_S: Final = 0.2
_BATCH: Final = 500
_SYSLOG_PORT: Final = 6514


def open_sink(
    to: str, output: Path | None, ca: Path | None, secret_file: Path | None, stack: ExitStack
) -> Sink:
    """The sink that the options name. Raises OSError, ValueError."""
    parts = urlsplit(to)
    if parts.scheme == "syslog+tls" and parts.hostname:
        return SyslogSink(parts.hostname, parts.port or _SYSLOG_PORT, tls_context(ca))
    if parts.scheme in ("https", "http"):
        if secret_file is None:
            raise ValueError("a webhook needs --secret-file, whose content signs every request")
        secret = secret_file.read_bytes().strip()
        if len(secret) < 16:
            raise ValueError("the webhook's secret has less than 16 bytes")
        return WebhookSink(to, secret, time.time)
    if to:
        raise ValueError(f"{to!r} is neither syslog+tls://host:port nor a URL of https")
    if output is None:
        return FileSink(sys.stdout)
    return FileSink(stack.enter_context(output.open("a", encoding="utf-8")))


def read_cursor(path: Path | None) -> int | None:
    """Behind which sequence to begin; None for the end. Raises OSError, ValueError."""
    if path is None:
        return None
    return int(path.read_text()) if path.exists() else 0


def follow(
    directory: Path, query: Query, line_of: Callable[[Event], str], sink: Sink, cursor: Path | None
) -> None:
    """Send what is recorded from now on, or from the cursor on, until SIGINT or SIGTERM."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        follower = AuditFollower(directory, read_cursor(cursor))
        while not stopping.is_set():
            events = follower.poll(time.monotonic())
            lines = [(e, line) for e in events if e.matches(query) and (line := line_of(e))]
            for at in range(0, len(lines), _BATCH):
                if not send_until_taken(sink, lines[at : at + _BATCH], stopping.wait):
                    return
            if cursor is not None and events:
                write_file(cursor, str(follower.cursor).encode(), mode=0o600)
            if not events:
                stopping.wait(_POLL_S)
    except SinkRefused as error:
        fail(str(error))
    except (OSError, ValueError) as error:
        fail(f"cannot follow: {error}", EXIT_USAGE if isinstance(error, ValueError) else 1)
    finally:
        sink.close()


def follow_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `--follow` to the export command."""
    for option in (
        click.option("--follow", "-f", "is_follow", is_flag=True, help="Go on with what comes."),
        click.option(
            "--to", default="", help="With -f: syslog+tls://host:port or https://... to send to."
        ),
        click.option(
            "--secret-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Key that signs what a webhook gets.",
        ),
        click.option(
            "--ca",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Authorities (PEM) of the syslog server instead of the system's.",
        ),
        click.option(
            "--cursor",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File that keeps how far it came; without one it begins at the end.",
        ),
    ):
        function = option(function)
    return function
