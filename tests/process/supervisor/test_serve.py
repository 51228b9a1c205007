"""`postern serve` and `postern check` as an operator meets them: one line per mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.postgres import Cluster, find_postgres
from gateway.ipc import paths
from gateway.policy.bundle import Bundle
from tests.process.supervisor.conftest import ROOT, GatewayUnderTest, is_alive, send, wait_until

BINARIES = find_postgres()
pytestmark = pytest.mark.skipif(not BINARIES, reason="needs a PostgreSQL server")

POLICY = """
version: 1
mode: enforce
groups:
  agents: {from: ["dev:agents"], kind: agent}
grants:
  - {id: read-sales, to: [agents], target: orders, level: read, schema: sales, tables: ["*"]}
masks:
  - {id: email, columns: [sales.customers.email], with: {kind: email}}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One private cluster for this module."""
    cluster = Cluster(BINARIES[-1], tmp_path_factory.mktemp("pg"))
    cluster.launch()
    cluster.run_sql(
        "create role gw login password 'pw'; create role boss login superuser password 'pw';"
        "create schema sales; create table sales.customers (id int primary key, email text);"
    )
    yield cluster
    cluster.stop()


class Serve(GatewayUnderTest):
    """`postern serve` on a directory of its own."""

    def __init__(self, root: Path, port: int) -> None:
        super().__init__(root)
        self.file = root / "postern.toml"
        self.policy = root / "policies" / "main.yaml"
        self.policy.parent.mkdir()
        self.policy.write_text(POLICY)
        self.file.write_text(
            f"""data_dir = "data"
policies = "policies"
[listen]
postgres = "127.0.0.1:0"
[control]
listen = "127.0.0.1:{free_port()}"
[workers]
count = 2
[targets.orders]
host = "127.0.0.1"
port = {port}
database = "postgres"
tls = "disable"
user = "gw"
credential = {{env = "PW"}}
[[issuers]]
id = "dev"
kind = "local"
issuer = "https://dev.example"
"""
        )

    def edit(self, old: str, new: str) -> None:
        """Change the configuration file."""
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def start(self) -> None:
        """Start `postern serve`."""
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli.main", "serve", "-c", str(self.file)],
                cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=os.environ | {"PW": "pw"},
            )  # fmt: skip

    def check(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run `postern check` to its end."""
        command = [sys.executable, "-m", "gateway.cli.main", "check", "-c", str(self.file)]
        return subprocess.run(
            [*command, *options], cwd=ROOT, env=os.environ | {"PW": "pw"}, timeout=40,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def active(self) -> str:
        """Digest of the bundle in force."""
        return Bundle.from_json(paths.active_policy(self.data_dir).read_bytes()).digest


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def serve(tmp_path: Path, cluster: Cluster) -> Iterator[Serve]:
    serve = Serve(tmp_path, cluster.port)
    yield serve
    serve.stop()


def test_whole_life(serve: Serve) -> None:
    """Goal: start, reload good and bad, drain. Method: the real processes throughout."""
    serve.start()
    serve.wait_for(r"(?m)^ready$")
    first = serve.active()
    pids = [int(pid) for pid in re.findall(r"started, process (\d+)", serve.output())]
    assert len(pids) == 5

    serve.policy.write_text(POLICY.replace("level: read", "level: write"))
    send(serve.pid, signal.SIGHUP)
    serve.wait_for(r"reload: policies \w{12} active")
    second = serve.active()
    assert second != first

    serve.policy.write_text(POLICY.replace("grants:", "grant:"))
    send(serve.pid, signal.SIGHUP)
    serve.wait_for(r"reload refused: .*main\.yaml:\d+")
    serve.policy.write_text(POLICY.replace("customers.email", "customers.phone"))
    send(serve.pid, signal.SIGHUP)
    serve.wait_for(r"reload refused: .*phone")
    assert serve.active() == second
    assert all(map(is_alive, pids))

    send(serve.pid, signal.SIGTERM)
    assert serve.exit_code(30) == 0
    assert serve.output().endswith("stopped\n")
    assert not any(map(is_alive, pids))


@pytest.mark.parametrize("kind", ["worker-0", "analyzer-0", "writer", "control"])
def test_real_process_is_back_after_kill(serve: Serve, kind: str) -> None:
    """Goal: each real main starts anew over what the dead one left. Method: kill -9, serve on."""
    serve.start()
    serve.wait_for(r"(?m)^ready$")
    send(serve.pids(kind)[0], signal.SIGKILL)
    serve.wait_for(rf"{kind} started", count=2, within_s=2.5)
    wait_until(lambda: is_alive(serve.pids(kind)[-1]), 2, serve.output)
    send(serve.pid, signal.SIGTERM)
    assert serve.exit_code(30) == 0
    assert len(serve.pids(kind)) == 2


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("[workers]", "[wrokers]", 78, r"wrokers.*workers"),
        ("count = 2", "count = -1", 78, r"count"),
        ('"policies"', '"nowhere"', 78, r"nowhere"),
        ('user = "gw"', 'user = "boss"', 1, r"superuser"),
        ('user = "gw"', 'user = "ghost"', 1, r"target 'orders'.*"),
        ('host = "127.0.0.1"', 'host = "127.0.0.2"', 1, r"target 'orders'.*refused"),
        ('credential = {env = "PW"}', 'credential = {env = "NOPE"}', 1, r"NOPE is not set"),
    ],
    ids=["key", "value", "policies", "superuser", "role", "unreachable", "secret"],
)
def test_mistake_is_one_line(serve: Serve, old: str, new: str, code: int, line: str) -> None:
    """Goal: a newcomer sees what to correct. Method: one mistake at a time."""
    serve.edit(old, new)
    serve.start()
    assert serve.exit_code(30) == code
    assert re.search(line, serve.output())
    assert serve.output().count("\n") == 1, serve.output()
    assert "pw" not in serve.output().split()


def test_port_in_use(serve: Serve) -> None:
    """Goal: exit 1 and the address. Method: a port taken by this test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        serve.edit("127.0.0.1:0", address)
        serve.start()
        assert serve.exit_code(30) == 1
        assert f"postern: listen.postgres: {address}: port already in use" in serve.output()


def test_new_policy_must_fit_the_database(serve: Serve) -> None:
    """Goal: a mask that binds nothing stops the start. Method: a column that is not there."""
    serve.policy.write_text(POLICY.replace("customers.email", "customers.phone"))
    serve.start()
    assert serve.exit_code(30) == 1
    assert "the policies do not fit the databases" in serve.output()


FAILING_TEST = """
tests:
  - {as: {groups: [agents]}, target: orders, sql: "delete from sales.customers",
     expect: {decision: allow}}
"""


def test_failing_policy_test_blocks_activation(serve: Serve) -> None:
    """Goal: a policy that fails its own tests never comes into force, at the start or on reload."""
    serve.policy.write_text(POLICY + FAILING_TEST)
    serve.start()
    assert serve.exit_code(30) == 1
    assert re.search(r"main\.yaml:\d+:\d+: test fails: decision deny", serve.output())

    serve.policy.write_text(POLICY)
    serve.start()
    serve.wait_for(r"(?m)^ready$")
    before = serve.active()
    serve.policy.write_text(POLICY + FAILING_TEST)
    send(serve.pid, signal.SIGHUP)
    serve.wait_for(r"reload refused: .*test fails")
    assert serve.active() == before
    serve.policy.write_text(POLICY + FAILING_TEST.replace("allow", "deny"))
    send(serve.pid, signal.SIGHUP)
    serve.wait_for(r"reload: policies \w{12} active")


def test_one_target_down_is_a_warning(serve: Serve) -> None:
    """Goal: one database's outage is not the gateway's. Method: a second target that is down."""
    text = serve.file.read_text()
    start, end = text.index("[targets.orders]"), text.index("[[issuers]]")
    twin = re.sub(r"port = \d+", "port = 1", text[start:end]).replace("orders", "archive")
    serve.file.write_text(text[:end] + twin + text[end:])
    serve.start()
    serve.wait_for(r"(?m)^ready$")
    assert re.search(r"warning: target 'archive'.*its clients get PN107", serve.output())
    send(serve.pid, signal.SIGTERM)
    assert serve.exit_code(30) == 0


def test_check_names_each_part(serve: Serve) -> None:
    """Goal: one line each, exit by the worst. Method: all good, then two mistakes."""
    good = serve.check()
    assert good.returncode == 0, good.stdout + good.stderr
    words = [line.split()[0] for line in good.stdout.splitlines()]
    assert words == ["config", "listen", "policies", "target", "issuer", "disk"]
    serve.edit('user = "gw"', 'user = "boss"')
    serve.policy.write_text(POLICY.replace("level: read", "level: root"))
    bad = serve.check()
    assert bad.returncode == 1
    assert re.search(r"policies +problem .*main\.yaml:\d+", bad.stdout)
    assert re.search(r"target orders +problem .*superuser", bad.stdout)
    found = json.loads(serve.check("--json").stdout)
    assert {item["what"] for item in found if not item["ok"]} == {"policies", "target orders"}
    serve.edit("[workers]", "[wrokers]")
    assert serve.check().returncode == 78
