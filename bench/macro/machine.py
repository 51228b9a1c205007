"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench.macro.parties import ROOT, pgbouncer_version


def commit() -> str:
    """The commit's short name, `-dirty` when the tree differs from it."""
    name = _git("rev-parse", "--short", "HEAD") or "unknown"
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "gateway", "_fastpath")
    return f"{name}-dirty" if changed else name


def describe(server_version: str) -> str:
    """Lines of `name: value`."""
    cpus = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = Path("/proc/meminfo").read_text().splitlines()[0].split()[1]
    facts = {
        "commit": commit(),
        "cpu": f"{len(cpus)} x {cpus[0] if cpus else platform.machine()}",
        "usable cpus": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory) // 1024} MiB",
        "kernel": platform.release(),
        "load before": " ".join(f"{value:.2f}" for value in os.getloadavg()),
        "python": platform.python_version(),
        "uvloop": version("uvloop"),
        "cython": version("Cython"),
        "postgresql": server_version,
        "pgbouncer": pgbouncer_version() or "not there",
    }
    return "".join(f"{name}: {value}\n" for name, value in facts.items())


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""
