"""Cursors of SQL over masked columns: FETCH shows what the SELECT itself would.

The tricks are those of an agent that wants FETCH to be judged by another cursor than it reads.
"""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.stands import EMBEDDED, Stand, Stands, own_directory
from tests.support.wireclient import (
    SYNC,
    Message,
    WireClient,
    bind,
    describe,
    errors,
    execute,
    parse,
    query,
    rows,
)

MARK = b"secret"
HIDDEN = "select email from sales.customers order by id"
OPEN = "select name from sales.customers order by id"


def login(stand: Stand) -> WireClient:
    client = WireClient(stand.gateway.port)
    client.login(stand.gateway.mint("agent-1", ["agents"]))
    return client


def until_ready_or_end(client: WireClient) -> list[Message]:
    """The answer, also when the gateway ends the session within it."""
    seen: list[Message] = []
    while (got := client.read()) is not None:
        seen.append(got)
        if got[0] == "Z":
            break
    return seen


def shown(answer: list[Message]) -> list[bytes | None]:
    assert not any(MARK in payload for _, payload in answer)
    return [cells[0] for cells in rows(answer)]


@pytest.mark.parametrize("options", ["", "scroll", "binary"])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_fetch_shows_what_select_shows(each_stand: Stand, options: str, binary: bool) -> None:
    sql = "select id, email, phone, ssn, card, notes from sales.customers order by id"
    with each_stand.gateway.connect(autocommit=False) as connection:
        expected = connection.execute(sql.encode()).fetchall()
        connection.execute(f"declare c {options} cursor for {sql}".encode())
        cursor = connection.cursor(binary=binary)
        got = cursor.execute("fetch 3 from c").fetchall()
        assert connection.execute("move 2 from c").statusmessage == "MOVE 2"
        got += cursor.execute("fetch 5 from c", prepare=True).fetchall()
        got += cursor.execute("fetch all from c").fetchall()
        connection.execute("close c")
        connection.rollback()
    assert got == expected[:3] + expected[5:]


def test_server_side_cursor_of_psycopg(each_stand: Stand) -> None:
    with (
        each_stand.gateway.connect(autocommit=False) as connection,
        connection.cursor(name="named") as cursor,
    ):
        cursor.execute("select email from sales.customers order by id")
        assert cursor.fetchmany(2) == [("***@***.***",)] * 2
        cursor.scroll(10)
        assert len(cursor.fetchall()) == 38


def test_hold_survives_its_transaction(each_stand: Stand) -> None:
    with login(each_stand) as client:
        client.ask(query(f"declare c cursor with hold for {HIDDEN}"))
        client.ask(query("select 1"))
        assert shown(client.ask(query("fetch 2 from c"))) == [b"***@***.***"] * 2
        client.ask(query("begin; declare d cursor for select 1 as x; commit"))
        assert shown(client.ask(query("fetch 1 from c"))) == [b"***@***.***"]


def test_one_string_of_several(each_stand: Stand) -> None:
    with login(each_stand) as client:
        answer = client.ask(
            query(f"begin; declare c cursor for {HIDDEN}; declare d cursor for {OPEN};"
                  "fetch 1 from d; fetch 1 from c; commit")
        )  # fmt: skip
        assert shown(answer) == [b"Customer 1", b"***@***.***"]


@pytest.mark.parametrize("first", [HIDDEN, OPEN])
def test_a_name_used_twice(each_stand: Stand, first: str) -> None:
    """A second DECLARE of an open name fails: FETCH is still that of the first."""
    second, value = (OPEN, b"***@***.***") if first == HIDDEN else (HIDDEN, b"Customer 1")
    with login(each_stand) as client:
        client.ask(query("begin"))
        client.ask(query(f"declare c cursor for {first}"))
        client.ask(query("savepoint s"))
        assert errors(client.ask(query(f"declare c cursor for {second}")))
        client.ask(query("rollback to s"))
        assert shown(client.ask(query("fetch 1 from c"))) == [value]
        client.ask(query("close c"))
        client.ask(query(f"declare c cursor for {second}"))
        other = b"Customer 1" if second == OPEN else b"***@***.***"
        assert shown(client.ask(query("fetch 1 from c"))) == [other]
        client.ask(query("rollback"))


def test_a_portal_is_a_cursor_too(each_stand: Stand) -> None:
    """A named portal of the protocol is read by FETCH of SQL, also by a name that is cut."""
    with login(each_stand) as client:
        for name, fetched in (("p", "p"), ("q" * 70, "q" * 63)):
            client.ask(query("begin"))
            client.ask(parse(HIDDEN), bind(portal=name), SYNC)
            answer = client.ask(query(f"fetch 2 from {fetched}"))
            assert shown(answer) == [b"***@***.***"] * 2
            client.ask(query("rollback"))


@pytest.mark.parametrize("described", [False, True], ids=["one pipeline", "described before"])
def test_a_fetch_bound_before_its_cursor_is_exchanged(stand: Stand, described: bool) -> None:
    """Bind fixes what FETCH describes, Execute what it reads: the new cursor's masks, or the end."""
    with login(stand) as client:
        client.ask(query("begin"))
        client.ask(query(f"declare c cursor for {OPEN}"))
        client.ask(parse("fetch 1 from c", "f"), parse("close c", "x"), SYNC)
        client.ask(parse(f"declare c cursor for {HIDDEN}", "h"), SYNC)
        client.send(bind(portal="f", name="f"), describe("P", "f"))
        if described:
            client.ask(SYNC)
        client.send(bind(name="x"), execute(), bind(name="h"), execute(), execute("f"), SYNC)
        answer = until_ready_or_end(client)
        assert shown(answer) == ([] if described else [b"***@***.***"])
        assert len(errors(answer)) == described


def test_a_portal_of_a_fetch_is_no_way_around(stand: Stand) -> None:
    """FETCH from the portal of a FETCH."""
    with login(stand) as client:
        client.ask(query("begin"))
        client.ask(query(f"declare c cursor for {HIDDEN}"))
        client.ask(parse("fetch 5 from c"), bind(portal="p"), SYNC)
        client.send(query("fetch 1 from p"))
        answer = until_ready_or_end(client)
        assert not any(MARK in payload for _, payload in answer)


def test_what_select_may_not_show_a_cursor_may_not(each_stand: Stand) -> None:
    with each_stand.gateway.connect(autocommit=False) as connection:
        for sql in (
            "select upper(email) from sales.customers",
            "select email from sales.customers order by 1",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="PN307"):
                connection.execute(f"declare c cursor for {sql}".encode())
            connection.rollback()


def test_an_open_cursor_does_not_outlive_its_policy(stands: Stands) -> None:
    """After a reload FETCH is refused; opened again, the cursor is read under the new rules."""
    with (
        own_directory() as directory,
        GatewayProcess(stands.cluster(EMBEDDED), Path(directory)) as gateway,
        WireClient(gateway.port) as client,
    ):
        client.login(gateway.mint("agent-1", ["agents"]))
        client.ask(query("begin"))
        client.ask(query(f"declare c cursor for {OPEN}"))
        assert shown(client.ask(query("fetch 1 from c"))) == [b"Customer 1"]
        (gateway.directory / "policies" / "policy.yaml").write_text(
            gateway.policy + "  - {id: name, columns: [sales.customers.name],"
            " except: [trusted, admins], with: {kind: redact}}\n"
        )
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload: policies" in gateway.log, 10, "the policy is active")
        (refused,) = errors(client.ask(query("fetch 1 from c")))
        assert refused["C"] == "24000"
        client.ask(query("rollback"))
        client.ask(query("begin"))
        client.ask(query(f"declare c cursor for {OPEN}"))
        assert shown(client.ask(query("fetch 1 from c"))) == [b"[redacted]"]
