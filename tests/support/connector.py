"""A real connector process, and a gateway whose only target is reached through it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import orjson

from gateway.demo.postgres import Cluster
from tests.support.gateway import GatewayProcess, free_port, wait_until
from tests.support.sample import LOGIN_PASSWORD

ROLES = '["pn_read", "pn_write", "pn_admin"]'


@dataclass
class ConnectorProcess:
    """`postern connector run` with a state directory of its own. Use as a context manager."""

    cluster: Cluster
    gate: str
    directory: Path
    token: str = ""
    roles: str = ROLES
    target: str = "orders"
    user: str = "pn_login"
    server: str = ""  # what replaces host, port and tls of the target
    top: str = ""  # more settings
    more: str = ""  # more settings of the target
    environ: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.directory / "connector.toml"

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def log(self) -> str:
        path = self.directory / "connector.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def trail(self) -> list[dict[str, Any]]:
        path = self.state_dir / "audit.log"
        if not path.exists():
            return []
        return [orjson.loads(line) for line in path.read_text().splitlines()]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()
        if failure[0] is not None:
            sys.stderr.write(f"--- connector ---\n{self.log[-6000:]}\n")

    def write_config(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        server = self.server or f'host = "127.0.0.1"\nport = {self.cluster.port}\ntls = "disable"'
        self.config.write_text(
            f"""
state_dir = "{self.state_dir}"
gateways = ["{self.gate}"]
{self.top}
[targets.{self.target}]
{server}
database = "orders"
user = "{self.user}"
credential = {{env = "PN_TEST_PASSWORD"}}
roles = {self.roles}
{self.more}
"""
        )

    def start(self) -> None:
        self.write_config()
        environ = {**os.environ, "PN_TEST_PASSWORD": LOGIN_PASSWORD, **self.environ}
        if self.token:
            environ["POSTERN_JOIN_TOKEN"] = self.token
        with (self.directory / "connector.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli.main", "connector", "run", "-c",
                 str(self.config)],
                stdout=log, stderr=log, env=environ,
            )  # fmt: skip

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class ConnectorStand:
    """A gateway that waits for connectors named `eu`, and the connectors started for it."""

    def __init__(self, cluster: Cluster, directory: Path, **options: Any) -> None:
        self.cluster = cluster
        self.directory = directory
        self.gate = options.pop("gate", "") or f"127.0.0.1:{free_port()}"
        sections = f'[connectors]\nlisten = "{self.gate}"\n' + options.pop("sections", "")
        self.gateway = GatewayProcess(
            cluster, directory / "gw", target='connector = "eu"', sections=sections,
            credential="", ready_login=False, environ={"PN_TEST_PASSWORD": ""}, **options,
        )  # fmt: skip

    def api(self, *words: str, check: bool = True) -> str:
        """Run `postern connector ...` as an admin."""
        return self.gateway.cli(
            "connector", *words, check=check,
            POSTERN_URL=f"http://127.0.0.1:{self.gateway.control_port}",
            POSTERN_TOKEN=self.gateway.mint("boss", ["dba"]),
        )  # fmt: skip

    def call(self, method: str, path: str) -> dict[str, Any]:
        """Call the HTTP API as an admin."""
        url = f"http://127.0.0.1:{self.gateway.control_port}/v1/connectors{path}"
        token = self.gateway.mint("boss", ["dba"])
        answer = httpx.request(
            method, url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=15
        )
        found: dict[str, Any] = answer.json()
        return found

    def join_token(self) -> str:
        return str(self.call("POST", "/eu/join")["token"])

    def revoke_all(self) -> None:
        """Put out whoever joined, if anybody is left."""
        self.call("POST", "/eu/revoke")

    def connector(self, name: str = "one", **options: Any) -> ConnectorProcess:
        """A connector that joins with a token of its own."""
        token = options.pop("token", None)
        return ConnectorProcess(
            self.cluster, self.gate, self.directory / name,
            token=self.join_token() if token is None else token, **options,
        )  # fmt: skip

    def members(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", "")["items"]
        return found

    def wait_ready(self, count: int = 1, timeout_s: float = 20.0) -> None:
        """Wait until `count` connectors serve."""
        wait_until(
            lambda: sum(one["state"] == "ready" for one in self.members()) == count,
            timeout_s,
            f"{count} connectors are ready",
        )

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Records of the gateway's trail; a search that finds none is no failure here."""
        config = str(self.gateway.config)
        found = self.gateway.cli(
            "audit", "search", "-c", config, "--json", f"kind:{kind}", check=False
        )
        return [orjson.loads(line) for line in found.splitlines() if line.startswith("{")]

    def refusals(self) -> list[str]:
        """Why the gate refused, from the trail."""
        return [one["reason"] for one in self.records("security.connector")]


@contextmanager
def connector_stand(cluster: Cluster, directory: Path, **options: Any) -> Iterator[ConnectorStand]:
    """Yield a running gateway without any connector."""
    stand = ConnectorStand(cluster, directory, **options)
    with stand.gateway:
        yield stand
