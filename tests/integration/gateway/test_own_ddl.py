"""A session's own DDL is known to its next statement, whatever others change meanwhile."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.stands import Stand


def _rounds(gateway: GatewayProcess, name: str, problems: list[str]) -> None:
    try:
        with gateway.connect(["admins"], subject=name) as connection:
            for number in range(8):
                table = f"sales.own_{name}_{number}"
                connection.execute(f"create table {table} (id int, word text)".encode())
                connection.execute(f"insert into {table} values (1, 'one')".encode())
                connection.execute(f"alter table {table} add more int default 7".encode())
                row = connection.execute(f"select id, word, more from {table}".encode()).fetchone()
                if row != (1, "one", 7):
                    problems.append(f"{table}: {row}")
                connection.execute(f"drop table {table}".encode())
    except psycopg.Error as error:
        problems.append(f"{name}: {error}")


def test_seen_by_the_next_statement(stand: Stand) -> None:
    """Three at once: each one's refresh of the catalog overlaps those of the others."""
    problems: list[str] = []
    threads = [
        threading.Thread(target=_rounds, args=(stand.gateway, name, problems)) for name in "abc"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_prepared_statements_follow(each_stand: Stand) -> None:
    """A statement prepared before the change is decided, and planned, anew after it."""
    with each_stand.gateway.connect(["admins"], prepare_threshold=0) as connection:
        connection.execute("create table sales.followed (id int, word text)")
        try:
            connection.execute("insert into sales.followed values (1, 'one')")
            select = "select word from sales.followed where id = %s"
            assert connection.execute(select, (1,)).fetchone() == ("one",)
            connection.execute("alter table sales.followed rename word to term")
            with pytest.raises(psycopg.Error):
                connection.execute(select, (1,))
            connection.execute("alter table sales.followed rename term to word")
            assert connection.execute(select, (1,)).fetchone() == ("one",)
        finally:
            connection.execute("drop table sales.followed")


def test_a_renamed_column_keeps_its_mask(each_stand: Stand) -> None:
    """Masks are bound to the column, not to its name."""
    gateway = each_stand.gateway
    with gateway.connect() as agent, each_stand.server() as server:
        agent.execute("select email from sales.customers where id = 7")
        server.execute("alter table sales.customers rename email to contact")
        try:
            for _ in range(3):
                for sql in (
                    "select contact from sales.customers where id = 7",
                    "select * from sales.customers where id = 7",
                ):
                    try:
                        got = str(agent.execute(sql.encode()).fetchall())
                    except psycopg.Error as error:
                        got = str(error)
                    assert "secret" not in got
        finally:
            server.execute("alter table sales.customers rename contact to email")
        agent.execute("select id from sales.customers where id = 7")


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_a_table_swapped_under_a_prepared_statement(each_stand: Stand, binary: bool) -> None:
    """The description the mask was planned from is no longer that of the rows."""
    gateway = each_stand.gateway
    with each_stand.server() as server, gateway.connect(["admins"]) as admin:
        # Through the gateway, so that the catalog has it at once.
        admin.execute("create view sales.swap as select id, word from sales.scratch")
        try:
            server.execute("grant select on sales.swap to pn_write")
            with ExitStack() as stack:
                agents: list[psycopg.Connection[Any]] = []

                def ask() -> str:
                    sql = "select * from sales.swap where id < %s"
                    if not agents or agents[-1].closed:
                        # A result of a table nobody has judged ends its session.
                        agents.append(stack.enter_context(gateway.connect(prepare_threshold=0)))
                    try:
                        return str(agents[-1].execute(sql, (3,), binary=binary).fetchall())
                    except psycopg.Error as error:
                        return str(error)

                # Another session's DDL: until it is seen, the result of an unknown table is refused.
                wait_until(lambda: ask() == "[]", 10, "the view is known")
                server.execute(
                    "drop view sales.swap; create view sales.swap as select id, email as word"
                    " from sales.customers; grant select on sales.swap to pn_write"
                )
                seen = [ask() for _ in range(4)]
            assert [text for text in seen if "secret" in text] == []
        finally:
            server.execute("drop view sales.swap")
