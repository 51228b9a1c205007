"""The loads: pgbench in its three modes, new connections, a stream of rows."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.macro.account import Usage, spent, usage
from bench.macro.parties import STREAM_ROW_BYTES, STREAM_ROWS, Party

CLIENTS = 16
STREAM_QUERIES = {
    "clear": "select id, body from public.stream",
    "masked": "select id, email, body from public.stream",
}


@dataclass(frozen=True)
class Sample:
    """One run of one load against one party."""

    party: str
    load: str
    round: int
    count: int  # queries, connections or bytes
    seconds: float
    rate: float
    user_s: float
    system_s: float
    switches: int

    def per_unit_us(self) -> float:
        """CPU microseconds of the proxy per query or connection."""
        return (self.user_s + self.system_s) * 1e6 / self.count

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Programs:
    """pgbench and psql: the system's, or those of the server that is used."""

    def __init__(self, bin_dir: Path) -> None:
        self.pgbench = shutil.which("pgbench") or str(bin_dir / "pgbench")
        self.psql = shutil.which("psql") or str(bin_dir / "psql")


def run_pgbench(
    programs: Programs, party: Party, mode: str, queries: int, *, connect_each: bool = False
) -> tuple[int, float]:
    """Run `pgbench -S`; return how many queries were made and the rate it reports."""
    clients = 4 if connect_each else CLIENTS
    each = max(queries // clients, 1)
    command = [programs.pgbench, "-n", "-S", "-M", mode, "-c", str(clients), "-j", "2"]
    command += ["-t", str(each), "-h", "127.0.0.1", "-p", str(party.ports[mode])]
    command += ["-U", party.user, *(["-C"] if connect_each else []), "orders"]
    done = subprocess.run(
        command, env=party.environment(), capture_output=True, text=True, check=False
    )
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode != 0 or rate is None:
        raise RuntimeError(f"pgbench {mode} on {party.name}: {done.stdout}{done.stderr}")
    return each * clients, float(rate[1])


def measure_queries(
    programs: Programs, party: Party, mode: str, queries: int, number: int
) -> Sample:
    before, started = usage(party.pids(mode)), time.monotonic()
    count, rate = run_pgbench(programs, party, mode, queries)
    return _sample(party, mode, number, count, started, rate, _spent(party, before, mode))


def measure_connections(programs: Programs, party: Party, count: int, number: int) -> Sample:
    """New connections with a password that was seen before, one query in each."""
    before, started = usage(party.pids()), time.monotonic()
    made, rate = run_pgbench(programs, party, "simple", count, connect_each=True)
    return _sample(party, "connect", number, made, started, rate, _spent(party, before))


def measure_stream(programs: Programs, party: Party, kind: str, number: int) -> Sample:
    size = STREAM_ROWS * STREAM_ROW_BYTES
    return measure_rows(programs, party, f"stream {kind}", STREAM_QUERIES[kind], size, number)


def measure_rows(
    programs: Programs, party: Party, load: str, sql: str, size: int, number: int
) -> Sample:
    """Let psql read the rows of `sql`, `size` bytes of them, and throw them away."""
    before, started = usage(party.pids()), time.monotonic()
    command = [programs.psql, "-X", "-q", "-A", "-t", "-o", "/dev/null"]
    command += ["-h", "127.0.0.1", "-p", str(party.ports["simple"]), "-U", party.user]
    command += ["-c", sql, "orders"]
    subprocess.run(command, env=party.environment(), check=True, capture_output=True)
    rate = size / (time.monotonic() - started)
    return _sample(party, load, number, size, started, rate, _spent(party, before))


def _spent(party: Party, before: dict[int, Usage], mode: str = "simple") -> Usage:
    # The server's own children come and go with its clients; only proxies are accounted.
    return spent(before, usage(party.pids(mode))) if party.is_proxy else Usage()


def _sample(
    party: Party, load: str, number: int, count: int, started: float, rate: float, used: Usage
) -> Sample:
    return Sample(
        party.name, load, number, count, time.monotonic() - started, rate,
        used.user_s, used.system_s, used.switches,
    )  # fmt: skip
