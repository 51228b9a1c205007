"""Logins per second of one worker, and how long its event loop stalls while many arrive at once.

Each login is a whole connection: TCP, TLS where it is on, startup, the token as the password, until
ReadyForQuery. `seen` is one token for all, `RS256` and `ES256` are tokens that no worker has seen,
signed before the clock starts. The clients are separate processes, so the worker is what is full
where there is a core for it; the worker's own CPU time is in the last column but one.

A worker takes 512 clients at once that have not proven themselves and turns others away; of a
crowd beyond that, `refused` says how many.

The stall is measured from outside: a session that was there before asks once every 5 ms, and a
question counts from the moment it was due.

    python -m bench.logins [--logins 2000] [--crowd 1000] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import ssl
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import psycopg
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.certs import make_certificates
from tests.support.gateway import GatewayProcess
from tests.support.postgres import sample_cluster
from tests.support.sample import POLICY

_ISSUER = "https://bench.test"
_PERIOD_S = 0.005
_AT_ONCE = 32
_CLIENTS = 2
_TIMEOUT_S = 120.0
KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
}


def write_keys(path: Path) -> None:
    """Write the key set of the issuer of this measurement."""
    members = []
    for name, key in KEYS.items():
        kind: Any = jwt.algorithms.RSAAlgorithm if name == "RS256" else jwt.algorithms.ECAlgorithm
        members.append(kind.to_jwk(key.public_key(), as_dict=True) | {"kid": name, "use": "sig"})
    for member in members:
        member.pop("key_ops", None)
    path.write_text(json.dumps({"keys": members}))


def mint(algorithm: str, count: int, run: str) -> list[str]:
    """Return `count` different tokens."""
    now = int(time.time())
    base = {"iss": _ISSUER, "aud": "postern", "iat": now, "exp": now + 3600, "groups": ["agents"]}
    return [
        jwt.encode(
            base | {"sub": f"a{n % 50}", "jti": f"{run}-{n}"},
            KEYS[algorithm],
            algorithm=algorithm,
            headers={"kid": algorithm},
        )
        for n in range(count)
    ]


async def log_in(port: int, token: str, context: ssl.SSLContext | None) -> None:
    """Connect, log in, leave; raises ConnectionError when refused."""
    # From many addresses: one has a bound of its own.
    source = (f"127.0.0.{random.randint(2, 250)}", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
    try:
        if context is not None:
            writer.write(struct.pack("!II", 8, 80877103))
            if await reader.readexactly(1) != b"S":
                raise ConnectionError("no TLS")
            await writer.start_tls(context)
        options = b"user\0agent\0database\0orders\0\0"
        writer.write(struct.pack("!II", 8 + len(options), 196608) + options)
        while True:
            kind, size = struct.unpack("!cI", await reader.readexactly(5))
            payload = await reader.readexactly(size - 4)
            if kind == b"R" and payload == b"\0\0\0\3":
                password = token.encode() + b"\0"
                writer.write(struct.pack("!cI", b"p", 4 + len(password)) + password)
            elif kind == b"E":
                raise ConnectionError(payload.decode(errors="replace"))
            elif kind == b"Z":
                writer.write(struct.pack("!cI", b"X", 4))
                return
    finally:
        writer.close()


async def crowd(port: int, tokens: Sequence[str], at_once: int, *, has_tls: bool) -> int:
    """Log in with every token, `at_once` of them at a time; returns how many were refused."""
    context = None
    if has_tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    slots, refused = asyncio.Semaphore(at_once), 0

    async def one(token: str) -> None:
        nonlocal refused
        async with slots:
            try:
                await asyncio.wait_for(log_in(port, token, context), _TIMEOUT_S)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                refused += 1

    async with asyncio.TaskGroup() as tasks:
        for token in tokens:
            tasks.create_task(one(token))
    return refused


def _client(port: int, tokens: Sequence[str], at_once: int, has_tls: bool, begin: Any) -> None:
    begin.wait()
    raise SystemExit(min(255, asyncio.run(crowd(port, tokens, at_once, has_tls=has_tls))))


@contextmanager
def clients(
    port: int, tokens: Sequence[str], at_once: int, *, has_tls: bool
) -> Iterator[list[int]]:
    """Start the client processes at once; after the block, the list holds those refused."""
    spawn = multiprocessing.get_context("spawn")
    begin, refused = spawn.Barrier(_CLIENTS + 1), list[int]()
    share = max(1, at_once // _CLIENTS)
    processes = [
        spawn.Process(target=_client, args=(port, tokens[n::_CLIENTS], share, has_tls, begin))
        for n in range(_CLIENTS)
    ]
    for process in processes:
        process.start()
    begin.wait()
    yield refused
    for process in processes:
        process.join()
        refused.append(process.exitcode or 0)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_rate(gateway: GatewayProcess, name: str, tokens: list[str], *, has_tls: bool) -> str:
    """Return one line: logins per second, and of the worker's CPU alone."""
    (worker,) = gateway.pids("worker")
    before = cpu_s(worker)
    with clients(gateway.port, tokens, _AT_ONCE, has_tls=has_tls) as refused:
        started = time.perf_counter()
    spent, used = time.perf_counter() - started, cpu_s(worker) - before
    return (
        f"{name:6} {'TLS' if has_tls else 'no TLS':7} {len(tokens) / spent:7.0f}/s   "
        f"{used / len(tokens) * 1e3:6.2f} ms CPU each ({len(tokens) / used:5.0f}/s per core)   "
        f"refused {sum(refused)}"
    )


def measure_stall(gateway: GatewayProcess, tokens: list[str], *, has_tls: bool) -> str:
    """Return one line: latency of a session while all `tokens` log in at once."""
    lines = []
    with gateway.connect() as connection:
        for what, given in (("alone", []), ("crowd", tokens)):
            late: list[float] = []
            if given:
                with clients(gateway.port, given, len(given), has_tls=has_tls) as refused:
                    late = probe(connection, 3.0)
                lines.append(f"refused {sum(refused)}")
            else:
                late = probe(connection, 3.0)
            cuts = statistics.quantiles(late, n=1000)
            lines.insert(
                0 if not given else 1,
                f"{what}: p50 {cuts[499] * 1e3:.1f} p99 {cuts[989] * 1e3:.1f} "
                f"max {max(late) * 1e3:.1f} ms",
            )
    return f"{len(tokens)} at once, {'TLS' if has_tls else 'no TLS'}: " + "; ".join(lines)


def probe(connection: psycopg.Connection[Any], for_s: float) -> list[float]:
    """Ask every 5 ms; returns how late each answer was, from when its question was due."""
    late, due = [], time.perf_counter()
    end = due + for_s
    while due < end:
        if (wait := due - time.perf_counter()) > 0:
            time.sleep(wait)
        connection.execute("select 1")
        late.append(time.perf_counter() - due)
        due += _PERIOD_S
    return late


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logins", type=int, default=2_000)
    parser.add_argument("--crowd", type=int, default=1_000)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    logins = 200 if given.quick else given.logins
    with sample_cluster() as cluster, tempfile.TemporaryDirectory(prefix="pn-b-") as directory:
        place = Path(directory)
        certificates = make_certificates(place / "tls")
        write_keys(place / "keys.json")
        issuer = (
            f'[[issuers]]\nid = "bench"\nissuer = "{_ISSUER}"\n'
            f'jwks_file = "{place / "keys.json"}"\n'
        )
        tls = f'tls_cert = "{certificates.certificate}"\ntls_key = "{certificates.key}"'
        gateway = GatewayProcess(
            cluster, place, workers=1, issuers=issuer, extra=tls,
            policy=POLICY.replace('"test:agents"', '"test:agents", "bench:agents"'),
        )  # fmt: skip
        with gateway:
            for has_tls in (False, True):
                for name in ("seen", "RS256", "ES256"):
                    count = 1 if name == "seen" else logins
                    tokens = mint("RS256" if name == "seen" else name, count, f"{name}{has_tls}")
                    tokens = tokens * logins if name == "seen" else tokens
                    line = measure_rate(gateway, name, tokens, has_tls=has_tls)
                    sys.stdout.write(line + "\n")
                    sys.stdout.flush()
            for has_tls in (False, True):
                tokens = mint("RS256", given.crowd, f"crowd{has_tls}")
                sys.stdout.write(measure_stall(gateway, tokens, has_tls=has_tls) + "\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
