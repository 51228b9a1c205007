"""A real gateway: its own supervisor and all its processes, on a data directory of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import orjson
import psycopg

from gateway.config import load_config
from gateway.demo.postgres import Cluster
from gateway.identity.local import LocalIssuer
from tests.support.sample import LOGIN_PASSWORD, POLICY

T = TypeVar("T")
Environ = dict[str, str]
_READY_TIMEOUT_S = 30.0


def wait_until(check: Callable[[], T], timeout_s: float = 10.0, what: str = "") -> T:
    """Return the first true result of `check`; AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what or check}")
        signal.sigtimedwait([], 0.02)


@dataclass
class GatewayProcess:
    """One gateway in front of `cluster`. Use as a context manager."""

    cluster: Cluster
    directory: Path
    workers: int = 2
    analyzers: int = 1
    policy: str = POLICY
    extra: str = ""  # more lines of [listen]
    sections: str = ""  # more sections, before the targets
    target: str = ""  # what replaces host, port and tls of the target
    credential: str = 'credential = {env = "PN_TEST_PASSWORD"}'
    ready_login: bool = True  # False: a target that cannot be used yet
    issuers: str = ""  # further issuers, before the local one
    control: str = ""  # more lines of [control]
    listen: str = ""  # instead of a port of 127.0.0.1
    also_listen: str = ""  # a second address
    port: int = 0
    control_port: int = 0
    process: subprocess.Popen[bytes] | None = None
    environ: dict[str, str] = field(default_factory=dict)
    ready_options: dict[str, Any] = field(default_factory=dict)
    _tokens: dict[tuple[object, ...], str] = field(default_factory=dict, repr=False)

    @property
    def config(self) -> Path:
        return self.directory / "postern.toml"

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> str:
        path = self.directory / "gateway.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        self.write_config()
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()
        if failure[0] is not None:
            sys.stderr.write(f"--- gateway ---\n{self.log[-8000:]}\n")

    def write_config(self) -> None:
        self.port = self.port or free_port()
        self.control_port = self.control_port or free_port()
        policies = self.directory / "policies"
        policies.mkdir(parents=True, exist_ok=True)
        (policies / "policy.yaml").write_text(self.policy)
        addresses = [self.listen or f"127.0.0.1:{self.port}", self.also_listen]
        listen = orjson.dumps([address for address in addresses if address]).decode()
        target = self.target or (f'host = "127.0.0.1"\nport = {self.cluster.port}\ntls = "disable"')
        self.config.write_text(
            f"""
data_dir = "{self.data_dir}"
policies = "{policies}"
[listen]
postgres = {listen}
{self.extra}
[workers]
count = {self.workers}
analyzers = {self.analyzers}
{self.sections}
[control]
listen = "127.0.0.1:{self.control_port}"
reviewers = ["dba"]
admins = ["dba"]
auditors = ["dba"]
{self.control}
[targets.orders]
{target}
database = "orders"
user = "pn_login"
{self.credential}
roles = {{read = "pn_read", write = "pn_write", admin = "pn_admin"}}
{self.issuers}
[[issuers]]
id = "test"
kind = "local"
issuer = "https://issuer.test"
audiences = ["postern"]
algorithms = ["EdDSA"]
groups = {{claim = "groups"}}
"""
        )

    def start(self) -> None:
        environ = {**os.environ, "PN_TEST_PASSWORD": LOGIN_PASSWORD, **self.environ}
        with (self.directory / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli.main", "serve", "-c", str(self.config)],
                stdout=log,
                stderr=log,
                env=environ,
            )
        wait_until(self._is_ready, _READY_TIMEOUT_S, "the gateway is ready")

    def stop(self) -> int:
        """SIGTERM and wait; the exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def _is_ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"the gateway ended at its start:\n{self.log[-4000:]}")
        if self.listen:
            return (self.data_dir / "run" / "control.sock").exists()
        try:
            if self.ready_login:
                given = {"connect_timeout": 5} | self.ready_options
                with self.connect(subject="readiness", groups=["trusted"], **given):
                    pass
            # Control binds its port at its own pace.
            with socket.create_connection(("127.0.0.1", self.control_port), 5):
                return True
        except (psycopg.OperationalError, OSError):
            return False

    def cli(self, *arguments: str, check: bool = True, **environ: str) -> str:
        """Run `postern` and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PN_TEST_PASSWORD": LOGIN_PASSWORD, **environ},
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"postern {arguments}: {done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def mint(self, subject: str, groups: Sequence[str], ttl_s: float = 3600) -> str:
        """A token of the local issuer. Equal requests get one token, as agents keep theirs."""
        asked = (subject, tuple(groups), ttl_s)
        if asked not in self._tokens:
            self._tokens[asked] = self.issuer().mint(subject, groups, ttl_s)
        return self._tokens[asked]

    def issuer(self) -> LocalIssuer:
        """The issuer whose tokens this gateway takes."""
        config = load_config(self.config, {"PN_TEST_PASSWORD": LOGIN_PASSWORD})
        return LocalIssuer(config.data_dir, config.issuers[-1])

    def dsn(self, *, user: str = "agent", **options: Any) -> str:
        """Connection string without the password."""
        given = {"host": "127.0.0.1", "port": self.port, "dbname": "orders", "user": user}
        return " ".join(f"{name}={value}" for name, value in (given | options).items())

    def connect(
        self, groups: Sequence[str] = ("agents",), *, subject: str = "agent-1", **options: Any
    ) -> psycopg.Connection[Any]:
        """A psycopg connection, autocommit unless told otherwise."""
        password = options.pop("password", None) or self.mint(subject, groups)
        given: dict[str, Any] = {"autocommit": True, "sslmode": "prefer", "connect_timeout": 10}
        given |= options
        return psycopg.connect(self.dsn(), password=password, **given)

    def environment(self, groups: Sequence[str] = ("agents",), subject: str = "agent-1") -> Environ:
        """Environment variables of libpq for programs."""
        return {
            **os.environ,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGDATABASE": "orders",
            "PGUSER": "agent",
            "PGPASSWORD": self.mint(subject, groups),
            "PGCONNECT_TIMEOUT": "10",
        }

    def run(
        self,
        *command: str,
        groups: Sequence[str] = ("agents",),
        check: bool = True,
        text: str | None = None,
        **environ: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a PostgreSQL program, of the server's version, against this gateway."""
        own = self.cluster.bin_dir / command[0]
        done = subprocess.run(
            [str(own) if own.exists() else command[0], *command[1:]],
            capture_output=True,
            text=True,
            input=text,
            timeout=50,
            env=self.environment(groups) | environ,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stderr}")
        return done

    def audit(self, *arguments: str) -> list[dict[str, Any]]:
        """Records of `postern audit search --json`."""
        out = self.cli("audit", "search", "-c", str(self.config), "--json", *arguments)
        return [orjson.loads(line) for line in out.splitlines() if line.strip()]

    def pids(self, kind: str) -> list[int]:
        """Process ids of the children whose title or record says `kind`."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = []
        for pid in children.read_text().split():
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:  # it ended between the two looks
                continue
            if kind in name:
                found.append(int(pid))
        return found


def free_port() -> int:
    """A TCP port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
