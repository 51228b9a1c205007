"""Measure all parties in one run and write the page.

`python -m bench.macro.run [--rounds 5] [--quick]`. Parties take turns within each round, in
another order each time, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.macro import stall, syscalls
from bench.macro.load import (
    Programs,
    Sample,
    measure_connections,
    measure_queries,
    measure_stream,
    run_pgbench,
)
from bench.macro.machine import commit, describe
from bench.macro.parties import MODES, ROOT, Party, parties
from bench.macro.report import build_report
from gateway.demo.postgres import find_postgres

RUNS = ROOT / "bench" / "runs"


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    rounds: int = 5
    queries: int = 40_000
    traced_queries: int = 4_000
    connections: int = 2_000
    stall_s: float = 10.0

    @classmethod
    def quick(cls) -> Plan:
        """Enough to see that it works, not to quote."""
        return cls(1, 4_000, 1_600, 200, 2.0)


@dataclass
class Results:
    """What was measured."""

    samples: list[Sample] = field(default_factory=list)
    calls: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    stalls: dict[str, list[stall.Stall]] = field(default_factory=dict)


def main() -> None:
    options = _options()
    plan = Plan.quick() if options.quick else Plan()
    if options.rounds:
        plan = Plan(**{**vars(plan), "rounds": options.rounds})
    bin_dir = options.bin or find_postgres()[0]
    programs = Programs(bin_dir)
    results = Results()
    with parties(bin_dir, options.workers) as (cluster, found):
        machine = describe(cluster.run_sql("show server_version").strip())
        wanted = [party for party in found if not options.only or party.name in options.only]
        for name, measure in _PARTS.items():
            if not options.part or name in options.part:
                measure(programs, wanted, plan, results)
    report = build_report(found, results.samples, results.calls, results.stalls, machine)
    directory = _write(report, machine, results, options.out)
    print(report)
    print(f"written to {directory}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.macro.run", description=__doc__)
    parser.add_argument("--rounds", type=int, help="rounds of each load; default 5")
    parser.add_argument("--quick", action="store_true", help="small numbers: does it work?")
    parser.add_argument("--workers", type=int, default=1, help="Postern's workers; default 1")
    parser.add_argument("--bin", type=Path, help="directory of the PostgreSQL server to use")
    parser.add_argument("--only", action="append", help="only this party; repeatable")
    parser.add_argument("--part", action="append", choices=list(_PARTS), help="only this part")
    parser.add_argument("--out", type=Path, help="directory to write to")
    return parser.parse_args()


def _queries(programs: Programs, found: Sequence[Party], plan: Plan, results: Results) -> None:
    for mode in MODES:
        for party in found:
            run_pgbench(programs, party, mode, min(plan.queries, 2_000))
        for number in range(plan.rounds):
            for party in _turns(found, number):
                _tell(f"{mode}, round {number + 1}: {party.name}")
                sample = measure_queries(programs, party, mode, plan.queries, number)
                results.samples.append(sample)


def _connections(programs: Programs, found: Sequence[Party], plan: Plan, results: Results) -> None:
    for number in range(plan.rounds):
        for party in _turns(found, number):
            _tell(f"connections, round {number + 1}: {party.name}")
            sample = measure_connections(programs, party, plan.connections, number)
            results.samples.append(sample)


def _streams(programs: Programs, found: Sequence[Party], plan: Plan, results: Results) -> None:
    for kind in ("clear", "masked"):
        for number in range(plan.rounds):
            for party in _turns(found, number):
                _tell(f"stream {kind}, round {number + 1}: {party.name}")
                results.samples.append(measure_stream(programs, party, kind, number))


def _calls(programs: Programs, found: Sequence[Party], plan: Plan, results: Results) -> None:
    if not syscalls.available():
        _tell("system calls: strace cannot be used here, left out")
        return
    for mode in MODES:
        for party in found:
            if party.is_proxy:
                _tell(f"system calls, {mode}: {party.name}")
                counted = syscalls.count_calls(programs, party, mode, plan.traced_queries)
                results.calls.setdefault(mode, {})[party.name] = counted


def _stalls(programs: Programs, found: Sequence[Party], plan: Plan, results: Results) -> None:
    for party in found:
        if party.name in ("direct", "postern"):
            for attack in stall.ATTACKS:
                _tell(f"stall, {attack}: {party.name}")
                measured = stall.measure(party, attack, plan.stall_s)
                results.stalls.setdefault(party.name, []).append(measured)


_PARTS = {
    "queries": _queries,
    "connections": _connections,
    "streams": _streams,
    "calls": _calls,
    "stalls": _stalls,
}


def _turns(found: Sequence[Party], number: int) -> list[Party]:
    at = number % len(found)
    return [*found[at:], *found[:at]]


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write(report: str, machine: str, results: Results, out: Path | None) -> Path:
    today = datetime.datetime.now(datetime.UTC).date()
    directory = out or RUNS / f"{today}-{commit()}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.md").write_text(report)
    (directory / "machine.txt").write_text(machine)
    raw = {
        "samples": [sample.to_json() for sample in results.samples],
        "calls": results.calls,
        "stalls": {name: [s.to_json() for s in items] for name, items in results.stalls.items()},
    }
    (directory / "raw.json").write_text(json.dumps(raw, indent=1))
    return directory


if __name__ == "__main__":
    main()
