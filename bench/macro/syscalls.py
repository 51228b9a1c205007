"""System calls per query, counted by strace in a round of its own: tracing costs time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from bench.macro.load import Programs, run_pgbench
from bench.macro.parties import Party
from tests.support.gateway import wait_until

READS = frozenset({"read", "readv", "recvfrom", "recvmsg", "recv"})
WRITES = frozenset({"write", "writev", "sendto", "sendmsg", "send"})
WAITS = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "select", "pselect6"})

KINDS = ("read", "write", "wait", "other")


def available() -> bool:
    """Whether strace is there and may look at other processes of ours."""
    if shutil.which("strace") is None:
        return False
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.geteuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"


def count_calls(programs: Programs, party: Party, mode: str, queries: int) -> dict[str, float]:
    """Reads, writes, waits and other calls per query, connections' own cost included."""
    pids = party.pids(mode)
    with tempfile.TemporaryDirectory(prefix="pn-strace-") as directory:
        summary, said = Path(directory) / "summary", Path(directory) / "said"
        command = ["strace", "-c", "-f", "-o", str(summary)]
        for pid in pids:
            command += ["-p", str(pid)]
        with said.open("wb") as err:
            tracer = subprocess.Popen(command, stderr=err)
        wait_until(lambda: said.read_text().count("attached") >= len(pids), 10, "strace attaches")
        try:
            count, _ = run_pgbench(programs, party, mode, queries)
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
        return _per_query(summary.read_text(), count)


def _per_query(summary: str, queries: int) -> dict[str, float]:
    calls: Counter[str] = Counter()
    for line in summary.splitlines():
        words = line.split()
        if len(words) < 5 or not words[0][0].isdigit() or words[-1] == "total":
            continue
        name, number = words[-1], int(words[3])
        for kind, names in (("read", READS), ("write", WRITES), ("wait", WAITS)):
            if name in names:
                calls[kind] += number
                break
        else:
            calls["other"] += number
    return {kind: round(calls[kind] / queries, 2) for kind in KINDS}
