"""From samples to a page: medians and spread, and ratios within one run only."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from bench.macro.load import Sample
from bench.macro.parties import MODES, Party
from bench.macro.stall import Stall
from bench.macro.syscalls import KINDS

_BASES = ("pgbouncer", "relay")


def build_report(
    parties: Sequence[Party],
    samples: Sequence[Sample],
    calls: dict[str, dict[str, dict[str, float]]],
    stalls: dict[str, list[Stall]],
    machine: str,
) -> str:
    """The whole page, in Markdown."""
    names = [party.name for party in parties]
    loads = {sample.load for sample in samples}
    parts = ["# Macro benchmark", _notes(parties)]
    if loads & set(MODES):
        parts.append(_queries(names, samples))
    if "connect" in loads:
        parts.append(_connections(names, samples))
    if loads & {"stream clear", "stream masked"}:
        parts.append(_streams(names, samples))
    if calls:
        parts.append(_calls(names, calls))
    if stalls:
        parts.append(_stalls(stalls))
    parts += ["## Machine", f"```text\n{machine.rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _notes(parties: Sequence[Party]) -> str:
    return "\n".join(f"- {party.name}: {party.note}" for party in parties if party.note)


def _queries(names: Sequence[str], samples: Sequence[Sample]) -> str:
    rows = []
    for mode in MODES:
        found = _by_party(samples, mode)
        for name in names:
            if name not in found:
                continue
            mine = found[name]
            cpu = _spread(mine, Sample.per_unit_us, 1)
            rows.append(
                [
                    mode, name, f"{_median(mine, lambda s: s.rate):,.0f}",
                    cpu if name != "direct" else "",
                    *([""] * 4 if name == "direct" else [
                        f"{_median(mine, lambda s: s.user_s * 1e6 / s.count):.1f}",
                        f"{_median(mine, lambda s: s.system_s * 1e6 / s.count):.1f}",
                        f"{_median(mine, lambda s: s.switches / s.count):.2f}",
                        _ratios(found, name),
                    ]),
                ]
            )  # fmt: skip
    head = ["mode", "party", "queries/s", "CPU us/query (spread)", "user", "system", "switches",
            "CPU ratio"]  # fmt: skip
    return "## `pgbench -S`, 16 clients\n\n" + _table(head, rows)


def _connections(names: Sequence[str], samples: Sequence[Sample]) -> str:
    found = _by_party(samples, "connect")
    rows = [
        [name, f"{_median(found[name], lambda s: s.rate):,.0f}",
         _spread(found[name], Sample.per_unit_us, 0) if name != "direct" else ""]
        for name in names if name in found
    ]  # fmt: skip
    title = "## New connections, one query in each, token seen before\n\n"
    return title + _table(["party", "connections/s", "CPU us/connection (spread)"], rows)


def _streams(names: Sequence[str], samples: Sequence[Sample]) -> str:
    rows = []
    for kind in ("clear", "masked"):
        found = _by_party(samples, f"stream {kind}")
        for name in names:
            if name not in found:
                continue
            per_gb = _spread(found[name], lambda s: (s.user_s + s.system_s) * 1e9 / s.count, 2)
            rows.append(
                [kind, name, f"{_median(found[name], lambda s: s.rate) / 1e6:,.0f}",
                 per_gb if name != "direct" else ""]
            )  # fmt: skip
    note = "\n\nMasked: one column of three; only Postern masks, the others relay the same query."
    head = ["rows", "party", "MB/s", "CPU s/GB (spread)"]
    return "## Streaming 100 MB of rows\n\n" + _table(head, rows) + note


def _calls(names: Sequence[str], calls: dict[str, dict[str, dict[str, float]]]) -> str:
    rows = [
        [mode, name, *(f"{calls[mode][name][kind]:.2f}" for kind in KINDS)]
        for mode in MODES if mode in calls
        for name in names if name in calls[mode]
    ]  # fmt: skip
    head = ["mode", "party", *KINDS]
    return "## System calls per query (strace, a round of its own)\n\n" + _table(head, rows)


def _stalls(stalls: dict[str, list[Stall]]) -> str:
    rows = [
        [name, item.attack, item.probes, item.p50_ms, item.p99_ms, item.max_ms, item.attacks,
         _worker_ms(item, items[0]), item.answer.replace("|", "/")]
        for name, items in stalls.items() for item in items
    ]  # fmt: skip
    head = ["party", "another client sends", "probes", "p50 ms", "p99 ms", "max ms", "sent",
            "worker CPU ms each", "answer"]  # fmt: skip
    note = (
        "\n\nOne probe every 5 ms; the attacker sends one statement every 50 ms, unpaced as fast as"
        " it is answered. With few CPUs the attack's own work competes with the prober: compare"
        " with the rows of the server alone, which parses what Postern refuses. The worker's CPU"
        " per hostile statement bounds the stall that is the worker's fault, however busy the"
        " machine."
    )
    return "## What a hostile statement costs another client\n\n" + _table(head, rows) + note


def _worker_ms(item: Stall, quiet: Stall) -> str:
    """The workers' CPU per attack, less what the probes cost them."""
    if not item.attacks or not item.worker_cpu_s:
        return ""
    probing_s = item.probes * quiet.worker_cpu_s / quiet.probes
    return f"{max(item.worker_cpu_s - probing_s, 0) * 1e3 / item.attacks:.2f}"


def _by_party(samples: Sequence[Sample], load: str) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.load == load:
            found.setdefault(sample.party, []).append(sample)
    return found


def _ratios(found: dict[str, list[Sample]], name: str) -> str:
    mine = _median(found[name], Sample.per_unit_us)
    parts = [
        f"{mine / _median(found[base], Sample.per_unit_us):.2f} x {base}"
        for base in _BASES
        if base in found and base != name
    ]
    return ", ".join(parts)


def _median(samples: Sequence[Sample], value: Callable[[Sample], float]) -> float:
    return statistics.median(value(sample) for sample in samples)


def _spread(samples: Sequence[Sample], value: Callable[[Sample], float], digits: int) -> str:
    values = [value(sample) for sample in samples]
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, *rows)]
    lines.insert(1, "|" + "---|" * len(head))
    return "\n".join(lines)
