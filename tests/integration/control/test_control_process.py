"""The control process on real sockets, with real tokens, driven by the real commands."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson
import pytest

from _fastpath.journal import JournalReader
from gateway.approvals.client import ApprovalClient
from gateway.approvals.model import ApprovalRequest
from gateway.approvals.states import ApprovalState
from gateway.approvals.terms import Terms
from gateway.audit.records import find_unknown
from gateway.config import load_config
from gateway.identity.keys import KeyStore
from gateway.identity.local import LocalIssuer
from gateway.identity.verify import Verifier
from gateway.ipc import paths
from gateway.ipc.channel import Channel
from gateway.ipc.crash_memory import CrashMemory
from gateway.ipc.epochs import Epochs
from gateway.policy.bundle import Bundle
from gateway.policy.model import Policy

T = TypeVar("T")

CONFIG = """
data_dir = "{data}"
policies = "{data}"
[control]
listen = "127.0.0.1:{port}"
reviewers = ["dba"]
auditors = ["sec"]
[[issuers]]
id = "test"
kind = "local"
issuer = "https://issuer.test"
algorithms = ["EdDSA"]
"""
POLICY = {
    "version": 1,
    "groups": {
        "agents": {"from": ["test:agents"], "kind": "agent"},
        "dba": {"from": ["test:dba"], "kind": "human"},
        "sec": {"from": ["test:sec"], "kind": "human"},
    },
}


class Control:
    """One control process that can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.data = directory / "data"
        for part in ("run", "journal", "policy"):
            (self.data / part).mkdir(parents=True)
        self.config_path = directory / "postern.toml"
        self.config_path.write_text(CONFIG.format(data=self.data, port=self.port))
        bundle = Bundle.build(Policy.model_validate(POLICY))
        paths.active_policy(self.data).write_bytes(bundle.to_json())
        self.policy_digest = bundle.digest
        Epochs.create(paths.epochs_file(self.data)).close()
        CrashMemory.create(paths.crash_file(self.data))
        self.config = load_config(self.config_path, {})
        self.issuer = LocalIssuer(self.data, self.config.issuers[0])
        self.process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "control.log"

    def start(self) -> None:
        script = Path(__file__).with_name("serve_control.py")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, script, self.config_path],
                stderr=log,
                env={**os.environ, "PYTHONPATH": "."},
            )
        deadline = time.monotonic() + 20
        while True:
            try:
                httpx.get(f"{self.url}/healthz", trust_env=False)
                return
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                signal.sigtimedwait([], 0.02)

    def end(self, with_signal: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(with_signal)
        return self.process.wait(10)

    def token(self, subject: str, *groups: str) -> str:
        return self.issuer.mint(subject, groups, 600)

    def asking(self, sql: str = "DELETE FROM sales.orders") -> ApprovalRequest:
        keys = KeyStore(self.config.issuers, self.data)
        return ApprovalRequest(
            principal=Verifier(self.config.issuers, keys).verify(self.token("bot", "agents")),
            target="orders",
            role="write",
            sql=sql.encode(),
            terms=Terms(
                rule="bulk",
                approvers=("dba",),
                quorum=1,
                hold_s=20,
                request_ttl_s=600,
                grant_ttl_s=60,
            ),
            policy_digest=self.policy_digest,
            reason="\x1b[31mclean\u202e up",
        )

    def work(self, body: Callable[[ApprovalClient], Awaitable[T]]) -> T:
        async def main() -> T:
            channel = await Channel.connect(paths.control_socket(self.data))
            try:
                return await body(ApprovalClient(channel, worker="0", generation=1))
            finally:
                channel.close()
                await asyncio.sleep(0)

        return asyncio.run(main())

    def postern(self, *arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "POSTERN_URL": self.url, "POSTERN_TOKEN": token}
        environ.pop("POSTERN_TOKEN_FILE", None)
        return subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", *arguments],
            capture_output=True, text=True, env=environ, check=False, timeout=30,
        )  # fmt: skip

    def records(self) -> list[dict[str, Any]]:
        reader = JournalReader(str(paths.journal_file(self.data, "control")))
        return [orjson.loads(payload) for _, payload in reader.read_batch(1 << 22)]


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    control = Control(tmp_path)
    control.start()
    yield control
    assert control.end(signal.SIGTERM) == 0, control.log.read_text()


def test_a_reviewer_at_a_terminal(control: Control) -> None:
    """Goal: hold to execution by the real commands. Method: list, show, approve, consume."""
    ticket = control.work(lambda worker: worker.request(control.asking()))
    ann, bot = control.token("ann", "dba"), control.token("bot", "agents")
    listed = control.postern("approvals", "list", token=ann)
    assert listed.returncode == 0, listed.stderr
    assert ticket.id in listed.stdout
    assert "\x1b" not in listed.stdout
    as_json = control.postern("approvals", "list", "--json", token=ann)
    assert [item["id"] for item in orjson.loads(as_json.stdout)["items"]] == [ticket.id]
    shown = control.postern("approvals", "show", ticket.id, token=ann)
    assert "DELETE FROM sales.orders" in shown.stdout
    assert "⟨ESC⟩[31mclean⟨U+202E⟩ up" in shown.stdout
    own = control.postern("approvals", "approve", ticket.id, token=bot)
    assert (own.returncode, own.stdout) == (1, "")
    assert "whoever asks" in own.stderr
    approved = control.postern("approvals", "approve", ticket.id, "-m", "fine", token=ann)
    assert (approved.returncode, approved.stdout) == (0, f"{ticket.id} is approved\n")
    again = control.postern("approvals", "deny", ticket.id, token=ann)
    assert (again.returncode, "already" in again.stderr) == (1, True)

    async def execute(worker: ApprovalClient) -> ApprovalState:
        assert (await worker.wait(ticket.id, 1)).comment == "fine"
        took = await asyncio.gather(*(worker.consume(ticket) for _ in range(50)))
        assert took.count(True) == 1
        await worker.finish(ticket.id, "executed")
        return (await worker.wait(ticket.id, 1)).state

    assert control.work(execute) is ApprovalState.EXECUTED
    records = control.records()
    assert [find_unknown(record) for record in records] == [[]] * len(records)
    kinds = [r["kind"] for r in records if r["kind"].startswith("approval.")]
    assert kinds == [
        "approval.requested", "approval.decided", "approval.consumed", "approval.finished",
    ]  # fmt: skip
    assert ann not in str(records)


def test_a_killed_control_process_keeps_what_was_decided(control: Control) -> None:
    """Goal: kill -9 loses no decision and repeats no execution."""

    async def prepare(worker: ApprovalClient) -> list[Any]:
        return [await worker.request(control.asking(sql)) for sql in ("a", "b", "c")]

    pending, approved, running = control.work(prepare)
    ann = control.token("ann", "dba")
    for ticket in (approved, running):
        assert control.postern("approvals", "approve", ticket.id, token=ann).returncode == 0
    assert control.work(lambda worker: worker.consume(running))
    control.end(signal.SIGKILL)
    control.start()

    async def look(worker: ApprovalClient) -> list[Any]:
        states = [(await worker.wait(t.id, 0)).state for t in (pending, approved, running)]
        taken = [await worker.consume(t) for t in (pending, approved, running)]
        return [*states, *taken]

    found = control.work(look)
    assert found == ["PENDING", "APPROVED", "UNKNOWN", False, True, False]


def test_a_wait_survives_a_restart_as_no_answer(control: Control) -> None:
    """Goal: an unreachable desk is never an allow, and no hang."""

    async def body(worker: ApprovalClient) -> str:
        ticket = await worker.request(control.asking())
        waiting = asyncio.ensure_future(worker.wait(ticket.id, 30))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(control.end, signal.SIGKILL)
        try:
            await asyncio.wait_for(waiting, 5)
        except Exception as exc:  # noqa: BLE001  its name is compared
            return type(exc).__name__
        return "answered"

    assert control.work(body) == "ApprovalPending"
    control.start()


@pytest.mark.parametrize("forged", ["", "x.y.z", "é", "a b"])
def test_a_token_that_is_none_is_told_so(control: Control, forged: str) -> None:
    answer = control.postern("approvals", "list", token=forged)
    assert answer.returncode in {1, 2}
    assert len(answer.stderr.splitlines()) == 1
    assert "token" in answer.stderr


def test_a_command_says_when_nobody_is_there(control: Control) -> None:
    answer = control.postern("approvals", "list", "--url", "http://127.0.0.1:1", token="x.y.z")
    assert answer.returncode == 1
    assert "cannot be reached" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_sessions_at_a_terminal(control: Control) -> None:
    async def tell(_: ApprovalClient) -> None:
        channel = await Channel.connect(paths.control_socket(control.data))
        message = {
            "op": "session.open", "session": "s-1", "worker": 0, "generation": 1,
            "principal": control.asking().principal.to_wire(), "target": "orders",
            "level": "read", "client": "10.1.2.3:5", "opened_us": 1,
        }  # fmt: skip
        assert (await channel.request(message, 5))["ok"]
        channel.close()

    control.work(tell)
    answer = control.postern("sessions", "list", token=control.token("ann", "dba"))
    assert "10.1.2.3:5" in answer.stdout
    none = control.postern("sessions", "list", token=control.token("x", "sales"))
    assert none.stdout == "no open sessions\n"


def test_a_taken_port_is_one_clear_line(control: Control, tmp_path: Path) -> None:
    script = Path(__file__).with_name("serve_control.py")
    answer = subprocess.run(
        [sys.executable, script, control.config_path],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."}, check=False, timeout=20,
    )  # fmt: skip
    assert answer.returncode != 0
    assert f"control.listen: cannot listen on 127.0.0.1:{control.port}" in answer.stderr


def test_malformed_http_hurts_nobody(control: Control) -> None:
    """Goal: a peer that speaks no HTTP costs its own connection only."""
    for junk in (
        b"\x00" * 4096,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000,
        b"POST /login HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", control.port), timeout=5) as peer:
            try:
                peer.sendall(junk)
                peer.recv(4096)
            except OSError:
                pass
    assert httpx.get(f"{control.url}/healthz", trust_env=False).status_code == 200


def test_watching_with_keys(control: Control) -> None:
    """Goal: a decision by one key. Method: the real command on a pseudo-terminal."""
    first = control.work(lambda worker: worker.request(control.asking("delete from a")))
    second = control.work(lambda worker: worker.request(control.asking("delete from b")))
    master, slave = pty.openpty()
    environ = {
        **os.environ, "POSTERN_URL": control.url, "POSTERN_TOKEN": control.token("ann", "dba"),
    }  # fmt: skip
    command = [sys.executable, "-m", "gateway.cli.main", "approvals", "watch"]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ) as watch:
        os.close(slave)
        said = ""

        def wait_for(text: str) -> None:
            nonlocal said
            deadline = time.monotonic() + 20
            while text not in said:
                assert time.monotonic() < deadline, said
                if select.select([master], [], [], 1)[0]:
                    said += os.read(master, 4096).decode(errors="replace")

        wait_for("delete from a")
        os.write(master, b"a")
        wait_for(f"{first.id} is approved")
        wait_for("delete from b")
        os.write(master, b"v")
        wait_for("why: ")
        os.write(master, b"d")
        wait_for(f"{second.id} is denied")
        wait_for("nothing waits for you")
        os.write(master, b"q")
        assert watch.wait(10) == 0
    os.close(master)
    assert "\u202e" not in said
