"""What recording costs: into the ring, through the writer, on the disk, per query, in a search.

    python -m bench.audit store [--records 1000000]     ring, writer, verify, bytes, search
    python -m bench.audit modes [--clients 64] [--seconds 10] [--rounds 3]

`store` counts wall-clock time of one process on its own files. `modes` runs `pgbench -S` against
one gateway per durability mode in turn and counts the CPU of all its processes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from _fastpath.journal import Journal, JournalReader
from bench.macro.account import family, name_of, spent, usage
from bench.macro.parties import POLICY, STREAM_TABLE
from bench.micro.test_journal import INTENT, RESULT
from gateway.audit.search import AuditSearch, Query
from gateway.audit.segments import list_segments
from gateway.audit.verify import verify
from gateway.audit.writer import AuditWriter
from tests.support.gateway import GatewayProcess
from tests.support.postgres import sample_cluster

_RING_BYTES = 64 << 20
_SUBJECTS = 1_000
_PAGE = 50


def say(text: str) -> None:
    """One line of the result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def timed(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ring_rate(directory: Path) -> float:
    """Records per second into a ring that is emptied in between."""
    path = str(directory / "ring")
    ring, took, done = Journal(path, _RING_BYTES), 0.0, 0
    reader = JournalReader(path)
    for _ in range(20):
        began = time.perf_counter()
        done += ring.append_many(INTENT, 50_000)
        took += time.perf_counter() - began
        while reader.scan(1 << 20):
            pass
        reader.release()
    return done / took


def fill(data_dir: Path, count: int) -> float:
    """Put `count` records into a trail; seconds that the writer took for them."""
    (data_dir / "journal").mkdir(parents=True)
    ring = Journal(str(data_dir / "journal" / "worker-0.ring"), _RING_BYTES)
    writer = AuditWriter(data_dir)
    writer.open()
    took, done, now = 0.0, 0, 1_764_000_000_000_000
    while done < count:
        for _ in range(min(20_000, (count - done + 1) // 2)):
            # An intent and its result, by one of many subjects, on one of many tables.
            place = done // 2
            fields = orjson.loads(INTENT) | {
                "stmt": place, "time": now + place * 100, "session": f"w0-{place // 100}",
                "subject": f"agent-{place // 100 % _SUBJECTS}",
                "objects": [f"sales.t{place // 1000 % 200}"],
                "params": [str(place)],
            }  # fmt: skip
            ring.append(orjson.dumps(fields))
            fields = orjson.loads(RESULT) | {
                "stmt": place, "time": now + place * 100, "session": f"w0-{place // 100}",
            }  # fmt: skip
            ring.append(orjson.dumps(fields))
            done += 2
        began = time.perf_counter()
        while writer.run_once():
            pass
        took += time.perf_counter() - began
    took += timed(writer.close)
    return took


def store(records: int) -> None:
    """Everything that needs no gateway."""
    with tempfile.TemporaryDirectory(prefix="pn-bench-") as directory:
        place = Path(directory)
        say(f"ring: {ring_rate(place):,.0f} records/s")
        data_dir = place / "data"
        took = fill(data_dir, records)
        say(f"writer, chained, indexed and flushed: {records / took:,.0f} records/s")
        began = time.perf_counter()
        result = verify(data_dir)
        took = time.perf_counter() - began
        say(f"verify: {'clean' if result.is_clean else 'NOT CLEAN'}, {records / took:,.0f}/s")
        paths = list_segments(data_dir / "audit" / "segments")
        size = sum(path.stat().st_size for path in paths)
        index = (data_dir / "audit" / "index.db").stat().st_size
        packed = sum(path.suffix == ".zst" for path in paths)
        say(
            f"disk: {size / records:.0f} bytes per record in segments ({packed} of {len(paths)}"
            f" packed), {index / records:.1f} in the index"
        )
        queries: dict[str, Query] = {
            "newest of all": Query(limit=_PAGE),
            "subject": Query(filters={"subject": "agent-7"}, limit=_PAGE),
            "object": Query(filters={"object": "sales.t17"}, limit=_PAGE),
            "object pattern": Query(filters={"object": "sales.t1*"}, limit=_PAGE),
            "decision and subject": Query(
                filters={"decision": "allow", "subject": "agent-999"}, limit=_PAGE
            ),
            "nothing": Query(filters={"subject": "nobody"}, limit=_PAGE),
        }
        for name, query in queries.items():
            times, found = [], 0
            for _ in range(3):
                began = time.perf_counter()
                found = len(list(AuditSearch(data_dir).find(query)))
                times.append(time.perf_counter() - began)
            say(f"search, {name}: {statistics.median(times) * 1e3:.0f} ms for {found}")


def modes(clients: int, seconds: int, rounds: int) -> None:
    """CPU per query and latency in both durability modes, in turn."""
    found: dict[str, list[dict[str, float]]] = {"journal": [], "group": []}
    with (
        tempfile.TemporaryDirectory(prefix="pn-bench-") as directory,
        sample_cluster(None, shared_buffers="256MB") as cluster,
    ):
        cluster.run_sql(STREAM_TABLE, database="orders")
        for round_number in range(rounds):
            for mode, rows in found.items():
                place = Path(directory) / f"{mode}-{round_number}"
                gateway = GatewayProcess(
                    cluster, place, workers=1, policy=POLICY,
                    environ={"POSTERN_AUDIT_DURABILITY": mode},
                )  # fmt: skip
                with gateway:
                    rows.append(_load(gateway, clients, seconds))
    for mode, rows in found.items():
        say(
            f"{mode}: "
            + ", ".join(f"{key} {statistics.median(r[key] for r in rows):.1f}" for key in rows[0])
        )


def _load(gateway: GatewayProcess, clients: int, seconds: int) -> dict[str, float]:
    assert gateway.process is not None
    log = gateway.directory / "latency"
    command = [
        "pgbench", "-n", "-S", "-M", "prepared", "-c", str(clients), "-j", "1", "--log",
        "--sampling-rate=0.2", f"--log-prefix={log}",
    ]  # fmt: skip
    environ = gateway.environment(("bench",)) | {"PGSSLMODE": "disable"}
    subprocess.run([*command, "-T", "2"], env=environ, check=True, capture_output=True)
    for path in gateway.directory.glob("latency*"):
        path.unlink()
    pids = family(gateway.process.pid)
    before = usage(pids)
    out = subprocess.run(
        [*command, "-T", str(seconds)], env=environ, check=True, capture_output=True, text=True
    ).stdout
    after = usage(pids)
    done = int(out.partition("transactions actually processed: ")[2].split()[0].split("/")[0])
    times = sorted(
        int(line.split()[2])
        for path in gateway.directory.glob("latency*")
        for line in path.read_text().splitlines()
    )
    writers = [pid for pid in pids if "writer" in name_of(pid)]
    writer = spent({p: before[p] for p in writers}, {p: after[p] for p in writers})
    return {
        "CPU us/query": spent(before, after).total_s / done * 1e6,
        "of it writer": writer.total_s / done * 1e6,
        "queries/s": done / seconds,
        "p50 ms": times[len(times) // 2] / 1e3,
        "p99 ms": times[len(times) * 99 // 100] / 1e3,
    }


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("store").add_argument("--records", type=int, default=1_000_000)
    load = parts.add_parser("modes")
    load.add_argument("--clients", type=int, default=64)
    load.add_argument("--seconds", type=int, default=10)
    load.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.part == "store":
        store(given.records)
    else:
        modes(given.clients, given.seconds, given.rounds)


if __name__ == "__main__":
    main()
