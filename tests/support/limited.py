"""A gateway whose policy limits what statements return, change, cost and take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from gateway.demo.postgres import Cluster
from tests.support.gateway import GatewayProcess
from tests.support.sample import POLICY
from tests.support.stands import Stands, own_directory

# The rest of the sample policy stays; guards would hold what is to run into a limit.
_BASE = POLICY[: POLICY.index("guards:")] + POLICY[POLICY.index("masks:") :]
_GROUPS = "rows bytes affected time cost windows sessions mixed shadow".split()


def policy(limits: str, *, mode: str = "enforce") -> str:
    """The sample policy with a group `NAME` per kind of limit, all with write on sales."""
    groups = "".join(f'  {name}: {{from: ["test:{name}"], kind: agent}}\n' for name in _GROUPS)
    base = _BASE.replace("mode: enforce", f"mode: {mode}").replace(
        "groups:\n", f"groups:\n{groups}"
    )
    named = ", ".join(_GROUPS)
    grant = (
        f"grants:\n  - {{id: limited, to: [{named}], target: orders, level: write,\n"
        '     schema: sales, tables: ["*"]}\n'
    )
    return base.replace("grants:\n", grant) + "limits:\n" + limits


# A constraint that is checked at the commit.
LATE = """
create table if not exists sales.late (id int unique deferrable initially deferred);
grant all on sales.late to pn_read, pn_write;
"""
LIMITS = """\
  - {id: few-rows, to: [rows, mixed], per_statement: {rows: 100}}
  - {id: few-rows-too, to: [rows], per_statement: {rows: 5000}}
  - {id: few-bytes, to: [bytes], per_statement: {bytes: 4KiB}}
  - {id: few-changes, to: [affected, mixed], per_statement: {affected_rows: 5}}
  - {id: quick, to: [time], per_statement: {time: 300ms}}
  - {id: cheap, to: [cost], per_statement: {estimated_cost: 1000}}
  - {id: few-statements, to: [windows], per_principal: {statements: {count: 20, per: 1h}}}
  - {id: few-sessions, to: [sessions], per_principal: {sessions: 3}}
"""


def superuser(cluster: Cluster) -> psycopg.Connection[Any]:
    """A direct connection to the server."""
    return psycopg.connect(
        host=str(cluster.sockets), port=cluster.port, dbname="orders", user="postgres",
        autocommit=True,
    )  # fmt: skip


@contextmanager
def limited_gateway(
    stands: Stands, version: str, *, mode: str = "enforce", limits: str = LIMITS, workers: int = 2
) -> Iterator[GatewayProcess]:
    cluster = stands.cluster(version)
    with superuser(cluster) as server:
        server.execute(LATE.encode())
    with own_directory() as directory:
        gateway = GatewayProcess(
            cluster, Path(directory), policy=policy(limits, mode=mode),
            workers=workers,
        )  # fmt: skip
        with gateway:
            yield gateway
