"""Who is measured: the server itself, PgBouncer, a bare relay, Postern with everything on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.macro.account import family
from gateway.demo.postgres import Cluster
from tests.support.gateway import GatewayProcess, free_port, wait_until
from tests.support.postgres import sample_cluster
from tests.support.sample import LOGIN_PASSWORD

ROOT = Path(__file__).parents[2]
MODES = ("simple", "extended", "prepared")
STREAM_ROWS = 100_000
# Debian keeps PgBouncer where only root's PATH looks.
_PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
STREAM_ROW_BYTES = 1_000

# 100 MB of rows, one column of which is masked.
STREAM_TABLE = f"""
create table public.stream (id int primary key, email text, body text);
insert into public.stream
select i, 'person' || i || '@mail.example', repeat('x', {STREAM_ROW_BYTES - 40})
from generate_series(1, {STREAM_ROWS}) i;
grant select on public.stream to pn_read, pn_write;
grant select on all tables in schema public to pn_login;
grant usage on schema public to pn_login;
vacuum analyze public.stream; vacuum analyze public.pgbench_accounts;
"""

POLICY = """\
version: 1
mode: enforce
groups:
  bench: {from: ["test:bench"], kind: agent}
  trusted: {from: ["test:trusted"], kind: agent}
  dba: {from: ["test:dba"], kind: human}
grants:
  - {id: bench, to: [bench, trusted], target: orders, level: write, schema: public, tables: ["*"]}
denies:
  - {id: no-egress, to: ["*"], effects: ["egress.*", "server.*", "role.*", "extension.*"]}
guards:
  - id: bulk-change
    to: [bench]
    effects: [rows.update, rows.delete]
    when: {any: [{no_where: true}]}
    then: approve
    approval: {from: [dba]}
masks:
  - {id: filler, columns: [public.pgbench_accounts.filler], with: {kind: redact}}
  - {id: email, columns: [public.stream.email], with: {kind: email}}
"""


@dataclass(frozen=True)
class Party:
    """Something that speaks PostgreSQL, and whose processes are counted."""

    name: str
    ports: dict[str, int]  # by pgbench mode
    user: str
    password: str
    roots: dict[str, int]  # the process that started all others, by pgbench mode
    note: str = ""

    @property
    def is_proxy(self) -> bool:
        return self.name != "direct"

    def pids(self, mode: str = "simple") -> list[int]:
        return family(self.roots[mode])

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PGPASSWORD": self.password, "PGSSLMODE": "disable"}


@contextmanager
def parties(bin_dir: Path | None, workers: int) -> Iterator[tuple[Cluster, list[Party]]]:
    """Start all of them on one server with the sample data."""
    with ExitStack() as stack:
        cluster = stack.enter_context(sample_cluster(bin_dir, shared_buffers="256MB"))
        cluster.run_sql(STREAM_TABLE, database="orders")
        found = [_direct(cluster)]
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pn-bench-")))
        directory.chmod(0o755)
        if pgbouncer_version():
            found.append(stack.enter_context(run_pgbouncer(cluster, directory)))
        found.append(stack.enter_context(_relay(cluster)))
        found.append(stack.enter_context(run_postern(cluster, directory / "postern", workers)))
        yield cluster, found


def _direct(cluster: Cluster) -> Party:
    pid = int((cluster.data / "postmaster.pid").read_text().split()[0])
    ports, roots = dict.fromkeys(MODES, cluster.port), dict.fromkeys(MODES, pid)
    return Party("direct", ports, "pn_login", LOGIN_PASSWORD, roots)


def pgbouncer_version() -> str:
    """Its first line of `--version`; empty when it is not there."""
    program = shutil.which("pgbouncer", path=_PATH)
    if program is None:
        return ""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0] if done.stdout else ""


@contextmanager
def run_pgbouncer(cluster: Cluster, directory: Path) -> Iterator[Party]:
    """Transaction pooling; before 1.21 a second instance with session pooling for prepared."""
    note = f"{pgbouncer_version()}, transaction pooling"
    with ExitStack() as stack:
        port, pid = stack.enter_context(_pgbouncer_instance(cluster, directory, "transaction"))
        ports, roots = dict.fromkeys(MODES, port), dict.fromkeys(MODES, pid)
        if not _pgbouncer_keeps_prepared():
            other = stack.enter_context(_pgbouncer_instance(cluster, directory, "session"))
            ports["prepared"], roots["prepared"] = other
            note += "; session pooling for prepared, which it cannot do otherwise"
        yield Party("pgbouncer", ports, "pn_login", LOGIN_PASSWORD, roots, note)


def _pgbouncer_keeps_prepared() -> bool:
    numbers = pgbouncer_version().split()[-1].split(".")
    return tuple(int(part) for part in numbers[:2]) >= (1, 21)


@contextmanager
def _pgbouncer_instance(cluster: Cluster, directory: Path, mode: str) -> Iterator[tuple[int, int]]:
    port = free_port()
    place = directory / f"pgbouncer-{mode}"
    place.mkdir()
    (place / "users.txt").write_text(f'"pn_login" "{LOGIN_PASSWORD}"\n')
    keeps = _pgbouncer_keeps_prepared() and mode == "transaction"
    (place / "pgbouncer.ini").write_text(f"""\
[databases]
orders = host=127.0.0.1 port={cluster.port} dbname=orders user=pn_login password='{LOGIN_PASSWORD}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = plain
auth_file = {place}/users.txt
pool_mode = {mode}
default_pool_size = 20
unix_socket_dir =
ignore_startup_parameters = extra_float_digits
logfile = {place}/log
{"max_prepared_statements = 100" if keeps else ""}
""")
    command = [shutil.which("pgbouncer", path=_PATH) or "pgbouncer", str(place / "pgbouncer.ini")]
    if os.geteuid() == 0:
        # It refuses to be root.
        user = "postgres" if _exists("postgres") else "nobody"
        for path in (place, *place.iterdir()):
            shutil.chown(path, user)
        command = ["setpriv", f"--reuid={user}", "--clear-groups", *command]
    with _running(command, port) as pid:
        yield port, pid


def _exists(user: str) -> bool:
    return subprocess.run(["id", user], capture_output=True, check=False).returncode == 0


@contextmanager
def _relay(cluster: Cluster) -> Iterator[Party]:
    port = free_port()
    command = [sys.executable, "-m", "bench.macro.relay", str(port), str(cluster.port)]
    with _running(command, port) as pid:
        ports, roots = dict.fromkeys(MODES, port), dict.fromkeys(MODES, pid)
        yield Party(
            "relay", ports, "pn_login", LOGIN_PASSWORD, roots, "uvloop, understands nothing"
        )


@contextmanager
def _running(command: list[str], port: int) -> Iterator[int]:
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _listens(port), 10, command[-1])
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def run_postern(
    cluster: Cluster, directory: Path, workers: int, policy: str = POLICY
) -> Iterator[Party]:
    """Postern on a data directory of its own."""
    gateway = GatewayProcess(cluster, directory, workers=workers, policy=policy)
    with gateway:
        assert gateway.process is not None
        token = gateway.mint("bench-agent", ["bench"])
        ports = dict.fromkeys(MODES, gateway.port)
        roots = dict.fromkeys(MODES, gateway.process.pid)
        note = f"{workers} worker(s), transaction pooling; policy, masks and audit on"
        yield Party("postern", ports, "bench-agent", token, roots, note)
