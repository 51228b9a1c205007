"""Where a followed trail goes: a file, a syslog server over TLS, a webhook with a signature.

At least once: an event is done when the other side has taken it; what is sent again after a
failure has the same sequence. A receiver that refuses for good raises; one that is away is tried
again, with growing pauses, until it is back.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, Protocol
from urllib.parse import urlsplit

import httpx

from gateway.audit.search import Event
from gateway.logs import get_logger

_LOG = get_logger("audit")
_TIMEOUT_S: Final = 10.0
_PAUSE_S: Final = 0.5
_PAUSE_S_MAX: Final = 30.0
_FACILITY: Final = 13  # log audit
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_AGAIN: Final = (408, 425, 429)


class SinkRefused(Exception):
    """The receiver will not take this, however often it is sent."""


class Sink(Protocol):
    """What takes lines of a followed trail."""

    def send(self, lines: list[tuple[Event, str]]) -> None:
        """Return once all are taken. Raises OSError to be tried again, SinkRefused."""
        ...

    def close(self) -> None:
        """Let go of files and connections. Safe to call twice."""
        ...


@dataclass
class FileSink:
    """Appends lines to a file or standard output; flushed with every batch."""

    file: IO[str]

    def send(self, lines: list[tuple[Event, str]]) -> None:
        """Write all. Raises OSError."""
        self.file.write("".join(line + "\n" for _, line in lines))
        self.file.flush()

    def close(self) -> None:
        """The file belongs to whoever opened it."""


@dataclass
class SyslogSink:
    """RFC 5424 messages, counted by octets (RFC 5425), over TLS with a verified server."""

    host: str
    port: int
    context: ssl.SSLContext
    name: str = field(default_factory=socket.gethostname)
    _stream: ssl.SSLSocket | None = None

    def send(self, lines: list[tuple[Event, str]]) -> None:
        """Send all over one connection. Raises OSError: then none of them counts as taken."""
        if self._stream is None:
            plain = socket.create_connection((self.host, self.port), _TIMEOUT_S)
            try:
                self._stream = self.context.wrap_socket(plain, server_hostname=self.host)
            except BaseException:
                plain.close()
                raise
        try:
            self._stream.sendall(b"".join(self._frame(event, line) for event, line in lines))
        except OSError:
            self.close()
            raise

    def _frame(self, event: Event, line: str) -> bytes:
        message = build_syslog(event, line, self.name)
        return b"%d " % len(message) + message

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def build_syslog(event: Event, line: str, host: str) -> bytes:
    """One RFC 5424 message; the sequence and the kind are its structured data."""
    record = event.record
    kind = str(record.get("kind", "-"))
    severity = 4 if kind.startswith(("security.", "limit.")) else 5 if "refused" in kind else 6
    moment = datetime.fromtimestamp(int(record.get("time", 0)) / 1e6, UTC)
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    name = "".join(c for c in host if 33 <= ord(c) < 127)[:255] or "-"
    message_id = "".join(c for c in kind if 33 <= ord(c) < 127)[:32] or "-"
    head = f"<{_FACILITY * 8 + severity}>1 {stamp} {name} postern - {message_id} "
    return f'{head}[postern@0 sequence="{event.sequence}"] \ufeff{line}'.encode()


@dataclass
class WebhookSink:
    """POSTs batches of lines with an HMAC-SHA-256 over the moment and the body."""

    url: str
    secret: bytes
    clock: Callable[[], float]
    client: httpx.Client = field(
        default_factory=lambda: httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False)
    )

    def __post_init__(self) -> None:
        """Raises ValueError for a URL over which the trail would travel in the clear."""
        parts = urlsplit(self.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError("a webhook needs https; http is for this host only")

    def send(self, lines: list[tuple[Event, str]]) -> None:
        """POST all. Raises OSError to be tried again, SinkRefused for an answer that is final."""
        body = "".join(line + "\n" for _, line in lines).encode()
        moment = str(int(self.clock()))
        headers = {
            "Content-Type": "application/x-ndjson",
            "Postern-Timestamp": moment,
            "Postern-Signature": "v1=" + sign_body(self.secret, moment, body),
            "Postern-Sequences": ",".join(str(event.sequence) for event, _ in lines[:100]),
        }
        try:
            answer = self.client.post(self.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise OSError(f"webhook: {type(error).__name__}") from error
        if answer.status_code >= 500 or answer.status_code in _AGAIN:
            raise OSError(f"webhook answered {answer.status_code}")
        if not answer.is_success:
            raise SinkRefused(f"the webhook answered {answer.status_code}")

    def close(self) -> None:
        """Close connections. Safe to call twice."""
        self.client.close()


def sign_body(secret: bytes, moment: str, body: bytes) -> str:
    """What a receiver compares: HMAC-SHA-256 of the moment, a dot and the body, in hex."""
    return hmac.new(secret, moment.encode() + b"." + body, hashlib.sha256).hexdigest()


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """A verifying client context; `ca` replaces the system's authorities. Raises OSError."""
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def send_until_taken(
    sink: Sink, lines: list[tuple[Event, str]], wait: Callable[[float], bool]
) -> bool:
    """Send until taken; False when `wait(seconds)` said to stop. Raises SinkRefused."""
    pause = _PAUSE_S
    while True:
        try:
            sink.send(lines)
        except OSError as error:
            _LOG.warning("not sent, trying again in %g s: %s", pause, error)
            if wait(pause):
                return False
            pause = min(2 * pause, _PAUSE_S_MAX)
        else:
            return True
