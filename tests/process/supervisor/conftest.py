"""Starts the stand-in gateway as a real program and watches its output."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


class GatewayUnderTest:
    """One supervisor process, its output, and what to ask of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.data_dir = tmp_path / "data"
        self.data_dir.mkdir(exist_ok=True)
        self._out = tmp_path / "out.txt"
        self.wanted: dict[str, Any] = {
            "data_dir": str(self.data_dir),
            "config": {
                "data_dir": str(self.data_dir),
                "listen.postgres": "127.0.0.1:0",
                "workers.count": "2",
            },
            "mains": {"worker": "worker", "analyzer": "idle", "writer": "idle", "control": "idle"},
            "timing": {"respawn_delay_s": 0.05, "drain_s": 2.0, "stop_s": 2.0},
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program without waiting for anything."""
        wanted = self.data_dir.parent / "wanted.json"
        wanted.write_text(json.dumps(self.wanted))
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.process.supervisor.standin", str(wanted)],
                cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        assert self.process is not None
        return self.process.pid

    def output(self) -> str:
        """Everything printed so far."""
        return self._out.read_text()

    def wait_for(self, pattern: str, *, count: int = 1, within_s: float = 15.0) -> list[str]:
        """Wait until `pattern` was printed `count` times; return the matches."""
        found: list[str] = []

        def seen() -> bool:
            ended = self.process is None or self.process.poll() is not None
            found[:] = re.findall(pattern, self.output())
            if ended and len(found) < count:
                pytest.fail(f"ended without {count} x {pattern!r}:\n{self.output()}")
            return len(found) >= count

        wait_until(seen, within_s, lambda: f"{count} x {pattern!r} in:\n{self.output()}")
        return found

    def pids(self, name: str) -> list[int]:
        """Process ids of all lives of `name`, in order."""
        found = re.findall(rf"^{name} started, process (\d+)$", self.output(), re.MULTILINE)
        return [int(pid) for pid in found]

    def port(self) -> int:
        """Port clients connect to."""
        return int(self.wait_for(r"listening on 127\.0\.0\.1:(\d+)")[0])

    def connect(self) -> tuple[socket.socket, str]:
        """Connect; return the socket and which worker, which life, answered."""
        sock = socket.create_connection(("127.0.0.1", self.port()), timeout=10)
        return sock, sock.makefile().readline().strip()

    def exit_code(self, within_s: float = 15.0) -> int:
        """Wait for the end and return the exit code."""
        assert self.process is not None
        return self.process.wait(within_s)

    def records(self) -> list[dict[str, Any]]:
        """Audit records of the supervisor."""
        lines = (self.data_dir / "records.ndjson").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def stop(self) -> None:
        """End the program however it stands."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def wait_until(condition: Callable[[], bool], within_s: float, explain: Callable[[], str]) -> None:
    """Poll until `condition` holds; fail with `explain()` at the deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(explain())
        select.select([], [], [], 0.02)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayUnderTest]:
    """A gateway that is not yet started; ended after the test."""
    under_test = GatewayUnderTest(tmp_path)
    yield under_test
    under_test.stop()


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to one process."""
    os.kill(pid, number)
