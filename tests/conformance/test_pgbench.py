"""pgbench unchanged, in its three protocol modes, reading and writing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.sample import PGBENCH
from tests.support.stands import Stand

MODES = ["simple", "extended", "prepared"]


def _done(said: str) -> int:
    """How many transactions pgbench counted; none may have failed."""
    found = re.search(r"number of transactions actually processed: (\d+)", said)
    assert found is not None, said
    failed = re.search(r"number of failed transactions: (\d+)", said)
    assert failed is None or failed[1] == "0", said
    return int(found[1])


def _forget_balances(server: psycopg.Connection[Any]) -> None:
    for table, column in (
        ("branches", "bbalance"),
        ("tellers", "tbalance"),
        ("accounts", "abalance"),
    ):
        server.execute(f"update pgbench_{table} set {column} = 0 where {column} <> 0".encode())


@pytest.mark.parametrize("mode", MODES)
def test_select_only(each_gateway: GatewayProcess, mode: str) -> None:
    done = each_gateway.run("pgbench", "-n", "-S", "-M", mode, "-c", "8", "-j", "2", "-t", "250")
    assert _done(done.stdout) == 2000
    assert "aborted" not in done.stderr


@pytest.mark.parametrize("mode", MODES)
def test_tpcb_like(each_stand: Stand, mode: str) -> None:
    """Every transaction leaves one row of history; the sums agree."""
    with each_stand.server() as server:
        server.execute("truncate pgbench_history")
        _forget_balances(server)
    done = each_stand.gateway.run("pgbench", "-n", "-M", mode, "-c", "6", "-j", "2", "-t", "40")
    assert _done(done.stdout) == 240
    with each_stand.server() as server:
        row = server.execute(
            "select count(*), sum(delta) = (select sum(bbalance) from pgbench_branches)"
            " from pgbench_history"
        ).fetchone()
        assert row == (240, True)


@pytest.mark.parametrize("mode", ["extended", "prepared"])
def test_pipeline(each_gateway: GatewayProcess, mode: str, tmp_path: Path) -> None:
    script = tmp_path / "pipeline.sql"
    script.write_text(
        "\\set a random(1, 1000)\n\\startpipeline\nbegin;\n"
        "select abalance from pgbench_accounts where aid = :a;\n"
        "update pgbench_accounts set abalance = abalance where aid = :a;\n"
        "select 1;\ncommit;\n\\endpipeline\n"
    )
    done = each_gateway.run(
        "pgbench", "-n", "-M", mode, "-f", str(script), "-c", "4", "-j", "2", "-t", "100"
    )
    assert _done(done.stdout) == 400


def test_new_connection_per_transaction(each_gateway: GatewayProcess) -> None:
    done = each_gateway.run("pgbench", "-n", "-S", "-C", "-c", "4", "-t", "15")
    assert _done(done.stdout) == 60


@pytest.fixture
def emptied(each_stand: Stand) -> Iterator[Stand]:
    """Tables that the admin role may drop are its own."""
    with each_stand.server() as server:
        for name in ("accounts", "branches", "tellers", "history"):
            server.execute(f"alter table pgbench_{name} owner to pn_admin".encode())
        yield each_stand
        server.execute(PGBENCH.encode())
        # Made behind the gateway's back: results of tables it has not seen are refused until then.
        wait_until(lambda: _is_readable(each_stand.gateway), 15, "the new tables are known")


def _is_readable(gateway: GatewayProcess) -> bool:
    try:
        with gateway.connect() as agent:
            for name in ("accounts", "branches", "tellers", "history"):
                agent.execute(f"select * from pgbench_{name} limit 1".encode())
    except psycopg.Error:
        return False
    return True


def test_initialise_as_admin(emptied: Stand) -> None:
    """`pgbench -i` is DROP, CREATE, TRUNCATE, COPY or INSERT, VACUUM, ALTER TABLE.

    The gateway learns of the new tables by itself: the run that follows reads them.
    """
    gateway = emptied.gateway
    done = gateway.run("pgbench", "-i", "-s", "1", "--quiet", groups=("admins",))
    assert "done in" in done.stderr
    with emptied.server() as server:
        assert server.execute("select count(*) from pgbench_accounts").fetchone() == (100_000,)
        server.execute("grant select on all tables in schema public to pn_read, pn_write")
    done = gateway.run("pgbench", "-n", "-S", "-c", "2", "-t", "50")
    assert _done(done.stdout) == 100
