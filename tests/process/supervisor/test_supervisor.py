"""The supervisor as a real program over stand-in processes: death, storm, stall, drain."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.process.supervisor.conftest import ROOT, GatewayUnderTest, is_alive, send, wait_until

NAMES = ("writer", "control", "analyzer-0", "worker-0", "worker-1")


def test_starts_everything_and_drains_on_sigterm(gateway: GatewayUnderTest) -> None:
    """Goal: an orderly life. Method: start, one client, SIGTERM, client leaves, exit 0."""
    gateway.start()
    gateway.wait_for("^ready|\nready")
    client, answer = gateway.connect()
    assert answer in {"0 1", "1 1"}
    pids = [gateway.pids(name)[0] for name in NAMES]
    send(gateway.pid, signal.SIGTERM)
    gateway.wait_for("draining")
    # New clients are refused at once, the old one is waited for.
    wait_until(lambda: refuses(gateway.port()), 5, gateway.output)
    assert gateway.process is not None
    assert gateway.process.poll() is None
    client.close()
    assert gateway.exit_code() == 0
    assert gateway.wait_for(r"(worker-\d) drained with 0 clients", count=2)
    output = gateway.output()
    assert output.index("drained") < output.index("control stopped")
    assert output.index("analyzer-0 stopped") < output.index("writer stopped")
    assert not any(is_alive(pid) for pid in pids)
    kinds = [record["kind"] for record in gateway.records()]
    assert kinds.count("process.started") == 5
    assert "process.ready" in kinds
    assert kinds[-1] == "process.stopping"


def test_drain_has_a_deadline(gateway: GatewayUnderTest) -> None:
    """Goal: a client that never leaves does not hold the end up. Method: a drain of 0.5 s."""
    gateway.wanted["timing"]["drain_s"] = 0.5
    gateway.start()
    gateway.wait_for("ready")
    client, _ = gateway.connect()
    begun = time.monotonic()
    send(gateway.pid, signal.SIGTERM)
    assert gateway.exit_code() == 0
    assert time.monotonic() - begun < 6
    gateway.wait_for("drained with 1 clients")
    client.close()


def test_stubborn_worker_is_killed_and_second_sigterm_hurries(gateway: GatewayUnderTest) -> None:
    """Goal: nobody outlives the end. Method: workers that ignore SIGTERM, asked twice."""
    gateway.wanted["mains"]["worker"] = "stubborn"
    gateway.wanted["timing"]["drain_s"] = 60.0
    gateway.start()
    gateway.wait_for("ready")
    pids = [gateway.pids(name)[0] for name in NAMES]
    send(gateway.pid, signal.SIGTERM)
    gateway.wait_for("draining")
    send(gateway.pid, signal.SIGTERM)
    assert gateway.exit_code(10) == 0
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("name", NAMES)
def test_killed_process_is_back_within_two_seconds(gateway: GatewayUnderTest, name: str) -> None:
    """Goal: a death costs two seconds at most, and no other process. Method: kill -9 of one."""
    gateway.start()
    gateway.wait_for("ready")
    before = {other: gateway.pids(other)[0] for other in NAMES}
    begun = time.monotonic()
    send(before[name], signal.SIGKILL)
    gateway.wait_for(rf"{name} started", count=2)
    assert time.monotonic() - begun < 2
    assert gateway.wait_for(rf"{name} died \(killed by SIGKILL\)")
    assert all(is_alive(pid) for other, pid in before.items() if other != name)
    died = [record for record in gateway.records() if record["kind"] == "process.died"]
    assert [(record["process"], record["life"]) for record in died] == [(name, 1)]


def test_the_other_worker_goes_on(gateway: GatewayUnderTest) -> None:
    """Goal: a worker's death harms its own clients only. Method: kill one of two."""
    gateway.start()
    gateway.wait_for("ready")
    client, answer = gateway.connect()
    serving = int(answer.split()[0])
    send(gateway.pids(f"worker-{1 - serving}")[0], signal.SIGKILL)
    gateway.wait_for(rf"worker-{1 - serving} started", count=2)
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)  # neither closed nor reset
    client.close()


def test_respawn_storm_ends_the_gateway(gateway: GatewayUnderTest) -> None:
    """Goal: a process that always dies is not started for ever. Method: a control that dies."""
    gateway.wanted["mains"]["control"] = "dying"
    gateway.wanted["timing"]["respawn_burst_max"] = 3
    gateway.start()
    assert gateway.exit_code() == 1
    assert "giving up: control died 4 times within 30 s, last: exit status 9" in gateway.output()
    assert len(gateway.pids("control")) == 4


def test_deadly_statements_cause_no_storm(gateway: GatewayUnderTest) -> None:
    """Goal: hostile texts cannot end the gateway. Method: an analyzer dying on marked texts."""
    gateway.wanted["mains"]["analyzer"] = "deadly"
    gateway.wanted["timing"]["respawn_burst_max"] = 3
    gateway.start()
    gateway.wait_for(r"analyzer-0 died \(killed by SIGSEGV on a client's statement\)", count=8)
    assert gateway.process is not None
    assert gateway.process.poll() is None


def test_process_that_cannot_start_ends_the_start(gateway: GatewayUnderTest) -> None:
    """Goal: no retries of the hopeless. Method: a writer that reports it cannot start."""
    gateway.wanted["mains"]["writer"] = "unbootable"
    gateway.start()
    assert gateway.exit_code() == 1
    assert "writer: no certificate" in gateway.output()
    assert "giving up: writer cannot start" in gateway.output()
    assert len(gateway.pids("writer")) == 1


def test_stalled_process_is_replaced(gateway: GatewayUnderTest) -> None:
    """Goal: a loop that stands still is noticed. Method: SIGSTOP of one worker."""
    gateway.wanted["timing"]["heartbeat_lost_s"] = 2.0
    gateway.start()
    gateway.wait_for("ready")
    send(gateway.pids("worker-1")[0], signal.SIGSTOP)
    gateway.wait_for("worker-1 stalls, killed")
    gateway.wait_for("worker-1 started", count=2)
    assert len(gateway.pids("worker-0")) == 1


def test_stopped_supervisor_does_not_kill_the_healthy(gateway: GatewayUnderTest) -> None:
    """Goal: a frozen container thaws without losses. Method: stop all for twice the limit."""
    gateway.wanted["timing"]["heartbeat_lost_s"] = 1.0
    gateway.start()
    gateway.wait_for("ready")
    pids = [gateway.pids(name)[0] for name in NAMES]
    for pid in (gateway.pid, *pids):
        send(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 2
    wait_until(lambda: time.monotonic() > deadline, 5, gateway.output)
    for pid in (gateway.pid, *reversed(pids)):
        send(pid, signal.SIGCONT)
    deadline = time.monotonic() + 2
    wait_until(lambda: time.monotonic() > deadline, 5, gateway.output)
    assert "stalls" not in gateway.output()
    assert all(is_alive(pid) for pid in pids)


def test_no_orphan_survives_the_supervisor(gateway: GatewayUnderTest) -> None:
    """Goal: kill -9 of the supervisor ends all. Method: kill it, look for its children."""
    gateway.wanted["mains"]["worker"] = "stubborn"
    gateway.start()
    gateway.wait_for("ready")
    pids = [gateway.pids(name)[0] for name in NAMES]
    send(gateway.pid, signal.SIGKILL)
    gateway.exit_code()
    wait_until(lambda: not any(map(is_alive, pids)), 5, lambda: f"alive: {pids}")
    # And the next life takes over the directory.
    gateway.start()
    gateway.wait_for("ready")


def test_two_supervisors_never_share_a_directory(gateway: GatewayUnderTest, tmp_path: Path) -> None:
    """Goal: one journal, one owner. Method: a second start on the same data directory."""
    gateway.start()
    gateway.wait_for("ready")
    second = subprocess.run(
        [sys.executable, "-m", "tests.process.supervisor.standin", str(tmp_path / "wanted.json")],
        cwd=ROOT, capture_output=True, timeout=20, check=False, text=True,
    )  # fmt: skip
    assert second.returncode == 1
    assert f"is in use by process {gateway.pid}" in second.stdout
    assert second.stdout.count("\n") == 1


def test_port_in_use_is_one_line(gateway: GatewayUnderTest, tmp_path: Path) -> None:
    """Goal: the commonest mistake reads well. Method: a second gateway on the same port."""
    gateway.start()
    port = gateway.port()
    (tmp_path / "other").mkdir()
    other = GatewayUnderTest(tmp_path / "other")
    other.wanted["config"]["listen.postgres"] = f"127.0.0.1:{port}"
    other.start()
    assert other.exit_code() == 1
    assert other.output() == f"error: listen.postgres: 127.0.0.1:{port}: port already in use\n"


def test_unix_socket_and_stale_file(gateway: GatewayUnderTest, tmp_path: Path) -> None:
    """Goal: a socket left by a killed gateway is replaced, a live one is not. Method: both."""
    path = tmp_path / ".s.PGSQL.6433"
    gateway.wanted["config"]["listen.postgres"] = str(path)
    gateway.start()
    gateway.wait_for("ready")
    send(gateway.pid, signal.SIGKILL)
    gateway.exit_code()
    assert path.exists()
    gateway.start()
    gateway.wait_for("ready")
    (tmp_path / "other").mkdir()
    other = GatewayUnderTest(tmp_path / "other")
    other.wanted["config"]["listen.postgres"] = str(path)
    other.start()
    assert other.exit_code() == 1
    assert "another process listens on this socket" in other.output()
    send(gateway.pid, signal.SIGTERM)
    assert gateway.exit_code() == 0
    assert not path.exists()


def test_sighup_reloads_and_sigint_is_the_supervisors(gateway: GatewayUnderTest) -> None:
    """Goal: children ignore what a terminal sends to the group. Method: SIGHUP, SIGINT to them."""
    gateway.start()
    gateway.wait_for("ready")
    pids = [gateway.pids(name)[0] for name in NAMES]
    for pid in pids:
        send(pid, signal.SIGINT)
        send(pid, signal.SIGHUP)
    send(gateway.pid, signal.SIGHUP)
    gateway.wait_for("reloaded")
    assert all(is_alive(pid) for pid in pids)
    send(gateway.pid, signal.SIGINT)
    assert gateway.exit_code() == 0


def refuses(port: int) -> bool:
    """Whether nobody listens on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_no_descriptor_leaks_over_restarts(gateway: GatewayUnderTest) -> None:
    """Goal: restarts cost no descriptor. Method: count them around three deaths."""
    gateway.wanted["timing"]["respawn_delay_s"] = 0.01
    gateway.start()
    gateway.wait_for("ready")
    before = len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))
    for life in range(1, 4):
        send(gateway.pids("control")[-1], signal.SIGKILL)
        gateway.wait_for("control started", count=life + 1)
    assert len(list(Path(f"/proc/{gateway.pid}/fd").iterdir())) == before
