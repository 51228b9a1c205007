"""Time from a revocation to the last refusal: 500 sessions over 4 workers, half of them idle.

Every round blocks one subject of ten with 25 busy and 25 idle sessions. The clock starts when the
call is sent, so the call's own time is inside. A busy session sends a statement every 50 ms and is
done when one is refused; an idle one when its connection ends.

    python -m bench.revocation [--sessions 500] [--subjects 10]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psycopg

from tests.support.gateway import GatewayProcess
from tests.support.postgres import sample_cluster

_PAUSE_S = 0.05
_WORKERS = 4


class Client:
    """One session; `ended` is when it learnt that it is out."""

    def __init__(self, connection: psycopg.AsyncConnection[object], *, is_busy: bool) -> None:
        self.connection = connection
        self.is_busy = is_busy
        self.ended = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Live until the gateway ends it."""
        try:
            if self.is_busy:
                while True:
                    await self.connection.execute("select 1")
                    await asyncio.sleep(_PAUSE_S)
            await self._closed()
        except psycopg.OperationalError:
            self.ended.set_result(time.perf_counter())

    async def _closed(self) -> None:
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        descriptor = self.connection.pgconn.socket
        loop.add_reader(descriptor, readable.set)
        await readable.wait()
        loop.remove_reader(descriptor)
        raise psycopg.OperationalError("ended")


async def measure(gateway: GatewayProcess, sessions: int, subjects: int) -> dict[bool, list[float]]:
    """Return the seconds from each call to each refusal, by whether the session was busy."""
    clients: dict[str, list[Client]] = {}
    for index in range(sessions):
        subject = f"agent-{index % subjects}"
        connection = await psycopg.AsyncConnection.connect(
            gateway.dsn(), password=gateway.mint(subject, ["agents"]), autocommit=True
        )
        await connection.execute("select 1")
        clients.setdefault(subject, []).append(
            Client(connection, is_busy=index // subjects % 2 == 0)
        )
    spent: dict[bool, list[float]] = {True: [], False: []}
    headers = {"authorization": f"Bearer {gateway.mint('admin', ['dba'])}"}
    base = f"http://127.0.0.1:{gateway.control_port}/v1/identities/test"
    async with asyncio.TaskGroup() as tasks, httpx.AsyncClient(headers=headers) as http:
        for group in clients.values():
            for client in group:
                tasks.create_task(client.run())
        for subject, group in clients.items():
            await asyncio.sleep(0.5)
            started = time.perf_counter()
            (await http.post(f"{base}/{subject}/block")).raise_for_status()
            for client in group:
                spent[client.is_busy].append(await client.ended - started)
    for client in (client for group in clients.values() for client in group):
        await client.connection.close()
    return spent


def main() -> int:
    """Print the distribution; status 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--subjects", type=int, default=10)
    given = parser.parse_args()
    with sample_cluster() as cluster, tempfile.TemporaryDirectory(prefix="pn-b-") as directory:
        gateway = GatewayProcess(cluster, Path(directory), workers=_WORKERS)
        with gateway:
            spent = asyncio.run(measure(gateway, given.sessions, given.subjects))
    is_good = True
    for is_busy, bound_s in ((True, 1.0), (False, 2.0)):
        times = sorted(spent[is_busy])
        p99 = statistics.quantiles(times, n=100)[98]
        is_good &= p99 <= bound_s
        sys.stdout.write(
            f"{'busy' if is_busy else 'idle'}: {len(times)} sessions, "
            f"p50 {statistics.median(times) * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, "
            f"max {times[-1] * 1e3:.0f} ms (bound {bound_s:g} s)\n"
        )
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
