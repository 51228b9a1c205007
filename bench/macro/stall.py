"""How long one client's hostile statements keep another client waiting.

The prober asks on a schedule, one query every 5 ms. A query that could not be sent because the one
before was not answered counts from the moment it was due, so a stall is not hidden by a client
that waits politely; a prober that the system woke late counts from its waking. The attacker is a
process of its own: paced, so that what is seen is a stall and not a busy machine, and once as fast
as it can. Both talk to the same worker where there is one.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import pq

from bench.macro.account import name_of, running_s
from bench.macro.parties import ROOT, Party

PERIOD_S = 0.005
PROBE = b"SELECT abalance FROM public.pgbench_accounts WHERE aid = 1"
PACE_S = 0.05
# `%d` makes each text a new one, so that no cache helps.
LITERAL = "SELECT '%d " + "x" * 1_000_000 + "'"
OPERATORS = "SELECT %d" + "+1" * 100_000
ATTACKS = {
    "none": ("", 0.0),
    "1 MB": (LITERAL, PACE_S),
    "100,000 operators": (OPERATORS, PACE_S),
    "100,000 parentheses": ("SELECT " + "(" * 100_000 + "%d" + ")" * 100_000, PACE_S),
    # Below every cap, so that it is parsed and decided.
    "9,000 constants": ("SELECT %d IN (1" + ", 1" * 9_000 + ")", PACE_S),
    "1 MB, unpaced": (LITERAL, 0.0),
    "100,000 operators, unpaced": (OPERATORS, 0.0),
}


@dataclass(frozen=True)
class Stall:
    """Latencies of the prober under one attack, and what the attack was answered."""

    attack: str
    probes: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    attacks: int
    answer: str
    worker_cpu_s: float  # of all workers together; 0 for a party without workers

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(party: Party, attack: str, seconds: float) -> Stall:
    """Probe for `seconds` while the attacker does its worst."""
    workers = [pid for pid in party.pids() if party.name == "postern" and "worker" in name_of(pid)]
    before = sum(map(running_s, workers))
    with _attacker(party, attack) as attacker:
        latencies = sorted(_probe(party, seconds))
    used_s = sum(map(running_s, workers)) - before
    told = attacker.stdout.read() if attacker is not None and attacker.stdout else ""
    count, _, answer = told.strip().partition(" ")

    def at(part: float) -> float:
        return round(latencies[min(int(len(latencies) * part), len(latencies) - 1)] * 1e3, 2)

    times = (at(0.5), at(0.99), at(1.0))
    return Stall(attack, len(latencies), *times, int(count or 0), answer, used_s)


def _probe(party: Party, seconds: float) -> Iterator[float]:
    with _connect(party) as connection:
        raw = connection.pgconn
        for _ in range(20):
            raw.exec_(PROBE)
        due = time.monotonic() + PERIOD_S
        end = due + seconds
        while due < end:
            began, left = due, due - time.monotonic()
            if left > 0:
                time.sleep(left)
                began = time.monotonic()
            result = raw.exec_(PROBE)
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise RuntimeError(result.error_message.decode())
            yield time.monotonic() - began
            due += PERIOD_S


@contextmanager
def _attacker(party: Party, attack: str) -> Iterator[subprocess.Popen[str] | None]:
    if not ATTACKS[attack][0]:
        yield None
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.macro.stall", str(party.ports["simple"]), party.user, attack],
        cwd=ROOT, env=party.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(30)


def _connect(party: Party) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host="127.0.0.1", port=party.ports["simple"], user=party.user, dbname="orders",
        password=party.password, sslmode="disable", autocommit=True,
    )  # fmt: skip


def attack_until_told(port: int, user: str, attack: str) -> None:
    """Send the statement until standard input ends; tell what came of it."""
    (text, pace_s), sent, answer = ATTACKS[attack], 0, ""
    while not _is_told(0):
        with psycopg.connect(
            host="127.0.0.1", port=port, user=user, dbname="orders", autocommit=True
        ) as connection:
            raw = connection.pgconn
            while raw.status == pq.ConnStatus.OK and not _is_told(pace_s):
                result = raw.exec_((text % sent).encode())
                sent += 1
                answer = result.error_message.decode().partition("\n")[0] or "allowed"
    print(sent, answer[:120])


def _is_told(wait_s: float) -> bool:
    """Whether standard input has ended within `wait_s`."""
    return bool(select.select([sys.stdin], [], [], wait_s)[0])


if __name__ == "__main__":
    attack_until_told(int(sys.argv[1]), sys.argv[2], sys.argv[3])
