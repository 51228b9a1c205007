"""What a party's processes have used, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """CPU seconds in user and kernel space, and context switches."""

    user_s: float = 0.0
    system_s: float = 0.0
    switches: int = 0

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.user_s - other.user_s,
            self.system_s - other.system_s,
            self.switches - other.switches,
        )

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.user_s + other.user_s,
            self.system_s + other.system_s,
            self.switches + other.switches,
        )

    @property
    def total_s(self) -> float:
        return self.user_s + self.system_s


def family(pid: int) -> list[int]:
    """`pid` and all its descendants."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += family(int(child))
    return found


def usage(pids: Iterable[int]) -> dict[int, Usage]:
    """What each process has used since it began."""
    return {pid: _of(pid) for pid in pids}


def spent(before: dict[int, Usage], after: dict[int, Usage]) -> Usage:
    """What all of them used in between; raises RuntimeError when one came or went."""
    if before.keys() != after.keys():
        raise RuntimeError("a process came or went during the measurement")
    total = Usage()
    for pid, late in after.items():
        total += late - before[pid]
    return total


def name_of(pid: int) -> str:
    """The process's own name."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def running_s(pid: int) -> float:
    """Seconds on a CPU, to the nanosecond, of a process with one thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _of(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    switches = sum(
        int(line.split()[1])
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if "ctxt_switches" in line
    )
    return Usage(int(fields[11]) * _TICK_S, int(fields[12]) * _TICK_S, switches)
