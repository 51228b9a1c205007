"""Following the trail to a file, syslog over TLS and a signed webhook: at least once, in order."""

from __future__ import annotations

import http.server
import io
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.audit.search import AuditFollower, Event
from gateway.audit.sinks import (
    FileSink,
    SinkRefused,
    SyslogSink,
    WebhookSink,
    send_until_taken,
    sign_body,
    tls_context,
)
from gateway.audit.writer import AuditWriter
from tests.support.certs import make_certificates
from tests.support.trail import drain, intent, make_trail, open_ring, result

SECRET = b"a secret of some length"


def events(count: int) -> list[tuple[Event, str]]:
    made = [Event(n, {"kind": "statement.intent", "time": n * 10**6}) for n in range(1, count + 1)]
    return [(event, f"line {event.sequence} é\nx".replace("\n", " ")) for event in made]


class Hook(http.server.BaseHTTPRequestHandler):
    """Answers with the statuses it is given, then 200; keeps what it took."""

    statuses: list[int]
    taken: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.taken.append((dict(self.headers), body))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def hook() -> Iterator[tuple[str, type[Hook]]]:
    handler = type("OwnHook", (Hook,), {"statuses": [], "taken": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/in", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_is_signed_and_tried_again(hook: tuple[str, type[Hook]]) -> None:
    url, handler = hook
    handler.statuses = [503, 429, 200]
    sink = WebhookSink(url, SECRET, lambda: 1_764_000_000.9)
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    assert send_until_taken(sink, events(2), wait)
    sink.close()
    assert waits == [0.5, 1.0]
    ((headers, body),) = handler.taken
    assert body == "line 1 é x\nline 2 é x\n".encode()
    assert headers["Postern-Sequences"] == "1,2"
    assert headers["Postern-Timestamp"] == "1764000000"
    assert headers["Postern-Signature"] == "v1=" + sign_body(SECRET, "1764000000", body)
    assert sign_body(SECRET, "1764000001", body) not in headers["Postern-Signature"]


@pytest.mark.parametrize("status", [302, 400, 401, 404])
def test_a_final_no_is_no_loop_and_no_redirect(hook: tuple[str, type[Hook]], status: int) -> None:
    """Goal: the trail goes where it was told to and nowhere else."""
    url, handler = hook
    handler.statuses = [status]
    sink = WebhookSink(url, SECRET, lambda: 0.0)
    with pytest.raises(SinkRefused):
        send_until_taken(sink, events(1), lambda _: True)
    sink.close()
    assert handler.taken == []


@pytest.mark.parametrize("url", ["http://siem.example/in", "ftp://x/y", "siem.example"])
def test_a_webhook_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        WebhookSink(url, SECRET, lambda: 0.0)


def serve_syslog(
    certificate: tuple[Path, Path], taken: list[bytes]
) -> tuple[int, threading.Thread]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(10)

    def run() -> None:
        with listening:
            plain, _ = listening.accept()
            try:
                with context.wrap_socket(plain, server_side=True) as stream:
                    while data := stream.recv(65536):
                        taken.append(data)
            except ssl.SSLError:
                plain.close()

    thread = threading.Thread(target=run)
    thread.start()
    return int(listening.getsockname()[1]), thread


def test_syslog_is_framed_verified_and_readable(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    taken: list[bytes] = []
    port, thread = serve_syslog((made.certificate, made.key), taken)
    sink = SyslogSink("localhost", port, tls_context(made.authority), name="gw 1")
    sink.send(events(2))
    sink.close()
    thread.join()
    data, messages = b"".join(taken), []
    while data:
        size, _, rest = data.partition(b" ")
        messages.append(rest[: int(size)].decode())
        data = rest[int(size) :]
    assert messages[0] == (
        "<110>1 1970-01-01T00:00:01.000000Z gw1 postern - statement.intent"
        ' [postern@0 sequence="1"] \ufeffline 1 é x'
    )
    assert len(messages) == 2


def test_a_syslog_server_of_another_authority_gets_nothing(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    taken: list[bytes] = []
    port, thread = serve_syslog((made.certificate, made.key), taken)
    sink = SyslogSink("localhost", port, tls_context(None))
    assert not send_until_taken(sink, events(1), lambda _: True)
    thread.join()
    assert taken == []


def test_following_again_from_the_cursor_misses_nothing(tmp_path: Path) -> None:
    """Goal: at least once over stops. Method: stop with a statement that still runs."""
    make_trail(tmp_path, records=0)
    ring, writer = open_ring(tmp_path), AuditWriter(tmp_path)
    writer.open()
    first = AuditFollower(tmp_path, 0)
    for payload in (intent(1), intent(2), result(2)):
        assert ring.append(payload)
    drain(writer)
    seen = [e.record["stmt"] for e in first.poll(0.0) if "stmt" in e.record]
    assert seen == [2]
    assert ring.append(result(1))
    drain(writer)
    again = AuditFollower(tmp_path, first.cursor)
    found = [(e.record["stmt"], e.result is not None) for e in again.poll(0.0)]
    assert found == [(2, True), (1, True)]  # 2 comes twice, 1 is whole
    writer.close()


def test_a_file_sink_appends() -> None:
    out = io.StringIO()
    FileSink(out).send(events(2))
    assert out.getvalue() == "line 1 é x\nline 2 é x\n"


def test_the_command_follows_into_a_file_and_goes_on_where_it_was(tmp_path: Path) -> None:
    make_trail(tmp_path)
    out, cursor = tmp_path / "out.ndjson", tmp_path / "cursor"
    command = [
        sys.executable, "-m", "gateway.cli.main", "audit", "export", "-f", "--data-dir",
        str(tmp_path), "-o", str(out), "--cursor", str(cursor), "kind:statement.intent",
    ]  # fmt: skip
    ring = open_ring(tmp_path)
    for wanted in (20, 25):
        child = subprocess.Popen(command)
        for _ in range(600):
            if cursor.exists() and out.exists() and out.read_bytes().count(b"\n") >= wanted:
                break
            threading.Event().wait(0.05)
        child.terminate()
        assert child.wait(20) == 0
        for number in range(101, 106):
            assert ring.append(intent(number))
            assert ring.append(result(number))
        writer = AuditWriter(tmp_path)
        writer.open()
        drain(writer)
        writer.close()
    numbers = [json.loads(line)["stmt"] for line in out.read_text().splitlines()]
    assert sorted(set(numbers)) == [*range(1, 40, 2), *range(101, 106)]
