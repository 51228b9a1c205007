"""What masks cost while rows stream: CPU per GB with 0, 1, 3 and 10 masked columns, and `scan`.

`python -m bench.macro.masks [--rounds 5] [--quick]`. PgBouncer relays the same rows, unmasked, in
the same rounds. Sizes are the server's DataRow messages, so masks that shorten rows gain nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.macro.load import Programs, Sample, measure_rows
from bench.macro.machine import describe
from bench.macro.parties import Party, pgbouncer_version, run_pgbouncer, run_postern
from gateway.demo.postgres import find_postgres
from tests.support.postgres import sample_cluster

COLUMNS = 10
# Odd columns hold a mail address, even ones a phone number: `email` replaces, `partial` keeps.
_CELLS = ["'person' || i || '@mail.example'" if n % 2 else "'+1 212 555 ' || 1000 + i % 9000"
          for n in range(1, COLUMNS + 1)]  # fmt: skip
_NOTE = (
    "'Customer called about order ' || i || ' and asked for a refund of 100.25 to the card on file,"
    " 2026-03-04 10:20; wrote to person' || i || '@mail.example, answered the same day. No further "
    "action was needed and the case was closed; see the hand-over of the shift for what was said.'"
)
TABLE = f"""
create table public.wide (id int primary key,
    {", ".join(f"c{n} text, m{n} text" for n in range(1, COLUMNS + 1))}, note text, scanned text);
insert into public.wide
select i, {", ".join(f"{cell}, {cell}" for cell in _CELLS)}, {_NOTE}, {_NOTE}
from generate_series(1, {{rows}}) i;
grant usage on schema public to pn_read, pn_write, pn_login;
grant select on public.wide to pn_read, pn_write, pn_login; vacuum analyze public.wide;
"""
POLICY = """\
version: 1
mode: enforce
groups:
  bench: {from: ["test:bench"], kind: agent}
  trusted: {from: ["test:trusted"], kind: agent}
grants:
  - {id: bench, to: [bench, trusted], target: orders, level: read, schema: public, tables: [wide]}
masks:
  - {id: scanned, columns: [public.wide.scanned], with: {kind: scan}}
""" + "\n".join(
    f"  - {{id: m{n}, columns: [public.wide.m{n}], with: "
    f"{{kind: {'email' if n % 2 else 'partial, keep_last: 4'}}}}}"
    for n in range(1, COLUMNS + 1)
)
# load -> (masked columns, is the text scanned, at most so many times PgBouncer)
LOADS = {
    "0 masked": (0, False, 0.7),
    "1 masked": (1, False, 0.8),
    "3 masked": (3, False, 1.0),
    "10 masked": (10, False, 1.4),
    "scan of one text": (0, True, 3.0),
}


def query(masked: int, *, scanned: bool) -> str:
    """Ten short columns, the first `masked` of them under a mask, and a text of 300 characters."""
    names = [f"{'m' if n <= masked else 'c'}{n}" for n in range(1, COLUMNS + 1)]
    return f"select id, {', '.join(names)}, {'scanned' if scanned else 'note'} from public.wide"


def main() -> None:
    """Measure, print a table, and say which bars are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.macro.masks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--quick", action="store_true", help="small numbers: does it work?")
    options = parser.parse_args()
    rounds, rows = (1, 20_000) if options.quick else (options.rounds, options.rows)
    bin_dir = find_postgres()[0]
    with ExitStack() as stack:
        cluster = stack.enter_context(sample_cluster(bin_dir, shared_buffers="256MB"))
        cluster.run_sql(TABLE.format(rows=rows), database="orders")
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pn-bench-")))
        directory.chmod(0o755)
        found = [stack.enter_context(run_postern(cluster, directory / "postern", 1, POLICY))]
        if pgbouncer_version():
            found.append(stack.enter_context(run_pgbouncer(cluster, directory)))
        size = int(cluster.run_sql(_size_sql(), database="orders").strip())
        machine = describe(cluster.run_sql("show server_version").strip())
        samples = measure(Programs(bin_dir), found, rounds, size)
    sys.stdout.write(f"{machine}\n{report(samples)}\n")


def _size_sql() -> str:
    cells = "".join(f" + octet_length(c{n})" for n in range(1, COLUMNS + 1))
    head = 7 + 4 * (COLUMNS + 2)
    return (
        f"select sum({head} + octet_length(id::text){cells} + octet_length(note)) from public.wide"
    )


def measure(programs: Programs, found: list[Party], rounds: int, size: int) -> list[Sample]:
    """Parties and loads take turns, so that what else the machine does meets all of them."""
    samples = []
    for number in range(rounds + 1):
        for load, (masked, scanned, _bar) in LOADS.items():
            sql = query(masked, scanned=scanned)
            for party in found if number % 2 else reversed(found):
                sample = measure_rows(programs, party, load, sql, size, number)
                # The first round fills caches.
                if number:
                    samples.append(sample)
    return samples


def report(samples: list[Sample]) -> str:
    """A table of CPU seconds per GB, medians with the smallest and the largest round."""
    lines = ["| rows with | Postern CPU-s/GB | PgBouncer CPU-s/GB | ratio | at most |",
             "|---|---|---|---|---|"]  # fmt: skip
    for load, (_masked, _scanned, bar) in LOADS.items():
        mine, other = (_values(samples, load, party) for party in ("postern", "pgbouncer"))
        ratio = f"{statistics.median(mine) / statistics.median(other):.2f}" if other else ""
        lines.append(f"| {load} | {_spread(mine)} | {_spread(other)} | {ratio} | {bar} |")
    return "\n".join(lines)


def _values(samples: list[Sample], load: str, party: str) -> list[float]:
    return [(s.user_s + s.system_s) * 1e9 / s.count for s in samples
            if s.load == load and s.party == party]  # fmt: skip


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    main()
