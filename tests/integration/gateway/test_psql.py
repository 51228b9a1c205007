r"""psql as it is: commands, files, its own catalogue queries, \copy; TLS is in test_tls.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess
from tests.support.stands import Stand

PSQL = ("psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1")


def test_command(each_gateway: GatewayProcess) -> None:
    done = each_gateway.run(*PSQL, "-c", "select id, name from sales.customers where id = 7")
    assert done.stdout == "7|Customer 7\n"


def test_masked_select(each_gateway: GatewayProcess) -> None:
    done = each_gateway.run(*PSQL, "-c", "table sales.customers")
    assert "secret" not in done.stdout
    assert len(done.stdout.splitlines()) == 50


def test_file_with_transaction(each_stand: Stand, tmp_path: Path) -> None:
    script = tmp_path / "script.sql"
    script.write_text(
        "begin;\n"
        "insert into sales.scratch values (101, 'by psql', 1.5);\n"
        "savepoint s;\n"
        "update sales.scratch set word = 'lost' where id = 101;\n"
        "rollback to s;\n"
        "commit;\n"
        "select word from sales.scratch where id = 101;\n"
        "delete from sales.scratch where id = 101;\n"
    )
    done = each_stand.gateway.run(*PSQL, "-q", "-f", str(script))
    assert done.stdout == "by psql\n"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (r"\d", "pgbench_accounts"),
        (r"\d sales.*", "customers"),
        (r"\dt", "pgbench_accounts"),
        (r"\dt+", "pgbench_accounts"),
        (r"\dt sales.*", "orders"),
        (r"\d sales.customers", "email"),
        (r"\d+ sales.orders", "Foreign-key"),
        (r"\dv sales.*", "customer_names"),
        (r"\di sales.*", "customers_pkey"),
        (r"\ds sales.*", "customers_id_seq"),
        (r"\dn", "sales"),
        (r"\dT sales.*", "mood"),
        (r"\df sales.*", ""),
        (r"\l", "orders"),
        (r"\du", "pn_read"),
        (r"\conninfo", "orders"),
    ],
)
def test_catalogue(each_gateway: GatewayProcess, command: str, shown: str) -> None:
    """The client's own queries are psql's, not the user's: all must be understood."""
    done = each_gateway.run("psql", "-X", "-v", "ON_ERROR_STOP=1", "-c", command)
    assert shown in done.stdout
    assert "ERROR" not in done.stderr


def test_copy_both_ways(each_stand: Stand, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("".join(f"{i},w{i},{i}.50\n" for i in range(2000, 3000)))
    gateway = each_stand.gateway
    gateway.run(*PSQL, "-c", rf"\copy sales.scratch from '{source}' csv")
    gateway.run(
        *PSQL,
        "-c",
        rf"\copy (select * from sales.scratch where id >= 2000 order by id) to '{target}' csv",
    )
    assert target.read_text() == source.read_text()
    with each_stand.server() as server:
        deleted = server.execute("delete from sales.scratch where id between 2000 and 2999")
        assert deleted.rowcount == 1000


def test_refusal_reads_well(each_gateway: GatewayProcess) -> None:
    done = each_gateway.run(*PSQL, "-c", "select * from sales.salaries", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR:  PN301 ")
    assert "salaries" in done.stderr
    assert "HINT:" in done.stderr
    assert done.stdout == ""


def test_session_goes_on_after_refusal(each_gateway: GatewayProcess) -> None:
    done = each_gateway.run(
        "psql", "-X", "-A", "-t", text="select * from sales.salaries;\nselect 'after';\n"
    )
    assert done.stdout == "after\n"
    assert "PN301" in done.stderr


def test_variables_prompt_and_timing(each_gateway: GatewayProcess) -> None:
    """What people type besides SQL."""
    done = each_gateway.run(
        "psql", "-X", "-A", "-t",
        text="\\set n 3\nselect :n + 1;\nselect 1 as a, 2 as b \\gset\nselect :a + :b;\n"
        "select 5 \\gdesc\n",
    )  # fmt: skip
    assert done.stdout.splitlines() == ["4", "3", "?column?|integer"]
    assert done.stderr == ""
