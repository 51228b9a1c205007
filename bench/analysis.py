"""Measure deciding: `python -m bench.analysis`.

Decisions on a miss over what applications send, in one process as an analyzer makes them; loading
a catalog of 10,000 tables; what 10,000 cached decisions take in a worker. Numbers are of one host
and one run; compare runs on the same host only.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from _fastpath.statements import Verdict
from gateway.demo.postgres import Cluster
from gateway.policy.decision import DecideRequest, Decision
from gateway.policy.engine import Engine
from gateway.policy.explain import principal_in
from gateway.policy.load import load_bundle
from gateway.session.verdicts import build_verdict
from gateway.sql.catalog import Catalog
from gateway.sql.catalog_load import load_catalog
from tests.adversarial.legitimate.schema import POLICY, SCHEMA
from tests.adversarial.legitimate.test_legitimate import CASES
from tests.support.postgres import sample_cluster

ROUNDS = 20
CACHED = 10_000
TABLES = 10_000


def main() -> None:
    """Measure and print, one line per number."""
    with sample_cluster(max_locks_per_transaction="4096") as cluster:
        cluster.run_sql(SCHEMA, database="orders")
        catalog, took_s = asyncio.run(_load(cluster))
        _say("catalog of the sample database", f"{took_s * 1e3:.0f} ms", "")
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "policy.yaml").write_text(POLICY)
            bundle = load_bundle(Path(directory), targets=["orders"], issuers=["test"])
        engine = Engine(bundle, {"orders": catalog})
        requests = [
            DecideRequest(
                principal=principal_in(bundle, ["apps"]),
                target="orders",
                requested="",
                sql=sql.encode(),
            )
            for sql, _ in CASES
        ]
        _decisions(engine, requests)
        _memory(engine, requests)
        _scale(cluster, engine)


def _decisions(engine: Engine, requests: Sequence[DecideRequest]) -> None:
    for request in requests:
        engine.decide(request)  # warm: caches of the interpreter, not of decisions
    spent: list[float] = []
    slowest: dict[bytes, float] = {}
    for _ in range(ROUNDS):
        for request in requests:
            # CPU time: a host that does other things as well must not show in these numbers.
            begun = time.process_time()
            engine.decide(request)
            took = time.process_time() - begun
            spent.append(took)
            slowest[request.sql] = min(took, slowest.get(request.sql, took))
    spent.sort()
    worst = max(slowest, key=lambda sql: slowest[sql])
    _say("slowest statement", _ms(slowest[worst]), "")
    _say(
        f"decision on a miss, {len(requests)} statements, CPU: p50",
        _ms(spent[len(spent) // 2]),
        "0.5",
    )
    _say("decision on a miss, CPU: p99", _ms(spent[len(spent) * 99 // 100]), "3")
    _say("decisions per second and core", f"{len(spent) / sum(spent):,.0f}", "")


def _memory(engine: Engine, requests: Sequence[DecideRequest]) -> None:
    wires = [engine.decide(request).to_wire() for request in requests]
    before = _resident_bytes()
    kept: list[Verdict] = []
    texts: list[bytes] = []
    for number in range(CACHED):
        kept.append(build_verdict(Decision.from_wire(wires[number % len(wires)])))
        texts.append(requests[number % len(requests)].sql + b" -- %d" % number)
    grown = _resident_bytes() - before
    _say(f"memory of {CACHED:,} cached decisions with their texts", f"{grown / 1e6:.1f} MB", "")
    assert len(kept) == len(texts)


def _scale(cluster: Cluster, engine: Engine) -> None:
    statements = (
        f"create table shop.t{n} (id int primary key, name text not null, amount numeric(10,2), "
        f"at timestamptz default now(), ref int, note varchar(40));"
        for n in range(TABLES)
    )
    cluster.run_sql("".join(statements), database="orders")
    catalog, took_s = asyncio.run(_load(cluster))
    _say(f"catalog of {TABLES:,} tables more", f"{took_s * 1e3:.0f} ms", "3000")
    begun = time.perf_counter()
    Engine(engine.bundle, {"orders": catalog})
    _say("binding a policy to it", _ms(time.perf_counter() - begun), "")


async def _load(cluster: Cluster) -> tuple[Catalog, float]:
    connection = await asyncpg.connect(
        host=str(cluster.sockets), port=cluster.port, user="postgres", database="orders"
    )
    try:
        begun = time.perf_counter()
        return await load_catalog(connection), time.perf_counter() - begun
    finally:
        await connection.close()


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"


def _say(what: str, value: str, bar: str) -> None:
    aim = f"  (aim: at most {bar} ms)" if bar else ""
    sys.stdout.write(f"{what}: {value}{aim}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
