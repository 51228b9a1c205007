"""A statement held on the wire until a person has decided, with `postern approvals`."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.stands import Stand
from tests.support.wireclient import (
    SYNC,
    Message,
    WireClient,
    bind,
    error_fields,
    errors,
    execute,
    kinds,
    parse,
    query,
    rows,
)


@pytest.fixture(autouse=True)
def some_rows(stand: Stand) -> Iterator[None]:
    with stand.server() as server:
        server.execute("insert into sales.scratch select i, 'doomed' from generate_series(1, 5) i")
        yield
        server.execute("delete from sales.scratch")


def _count(stand: Stand) -> int:
    with stand.server() as server:
        row = server.execute("select count(*) from sales.scratch").fetchone()
    assert row is not None
    return int(row[0])


def _review(
    gateway: GatewayProcess, *arguments: str, subject: str = "dana", groups: tuple[str, ...] = ("dba",),
    check: bool = True,
) -> str:  # fmt: skip
    url = f"http://127.0.0.1:{gateway.control_port}"
    return gateway.cli(
        "approvals", *arguments, "--url", url, check=check,
        POSTERN_TOKEN=gateway.mint(subject, groups),
    )  # fmt: skip


def _login(gateway: GatewayProcess, subject: str) -> WireClient:
    client = WireClient(gateway.port, timeout_s=15)
    client.login(gateway.mint(subject, ["agents"]))
    return client


def _notice_id(payload: bytes) -> str:
    found = re.search(r"approval (\S+) is pending", error_fields(payload)["M"])
    assert found is not None
    return found[1]


def test_approved_runs(stand: Stand) -> None:
    gateway = stand.gateway
    with _login(gateway, "a1") as client:
        client.send(query("delete from sales.scratch"))
        number = _notice_id(client.expect("N"))
        assert _count(stand) == 5
        listed = _review(gateway, "list", "--json")
        assert number in listed
        shown = _review(gateway, "show", number)
        assert "delete from sales.scratch" in shown
        _review(gateway, "approve", number, "--comment", "go on")
        answer = client.until_ready()
        assert ("C", b"DELETE 5\0") in answer
        assert errors(answer) == []
        assert _count(stand) == 0

        def state() -> str:
            return str(orjson.loads(_review(gateway, "show", number, "--json"))["state"])

        wait_until(lambda: state().upper() == "EXECUTED", 5, "the request is EXECUTED")
        # Consumed: the same statement again needs a new approval.
        client.send(query("delete from sales.scratch"))
        assert _notice_id(client.expect("N")) != number


@pytest.mark.parametrize("prepared", [False, True], ids=["unnamed", "named"])
def test_approved_over_extended(stand: Stand, prepared: bool) -> None:
    gateway = stand.gateway
    name = "s" if prepared else ""
    with _login(gateway, f"ext{prepared}") as client:
        sql = "update sales.scratch set word = $1"
        client.send(parse(sql, name), bind(("approved",), name=name), execute(), SYNC)
        seen: list[Message] = []
        while not seen or seen[-1][0] != "N":
            got = client.read()
            assert got is not None
            seen.append(got)
        assert set(kinds(seen)) <= {"1", "N"}
        number = _notice_id(seen[-1][1])
        shown = _review(gateway, "show", number)
        assert "approved" in shown, "the reviewer sees the parameters"
        _review(gateway, "approve", number)
        answer = client.until_ready()
        assert ("C", b"UPDATE 5\0") in answer
    with stand.server() as server:
        words = server.execute("select distinct word from sales.scratch").fetchall()
    assert words == [("approved",)]


def test_approved_with_psycopg(stand: Stand) -> None:
    """A driver sees nothing but a statement that took its time, and the notice."""
    gateway = stand.gateway
    notices: list[str] = []

    def on_notice(diag: Any) -> None:
        notices.append(str(diag.message_primary))
        number = re.search(r"approval (\S+) is", notices[-1])
        assert number is not None
        threading.Thread(target=_review, args=(gateway, "approve", number[1])).start()

    with gateway.connect(subject="a3") as connection:
        connection.add_notice_handler(on_notice)
        cursor = connection.execute("delete from sales.scratch")
        assert cursor.rowcount == 5
    assert len(notices) == 1


def test_denied(stand: Stand) -> None:
    gateway = stand.gateway
    with _login(gateway, "a4") as client:
        client.send(query("delete from sales.scratch /* to be denied */"))
        number = _notice_id(client.expect("N"))
        _review(gateway, "deny", number, "--comment", "not today")
        answer = client.until_ready()
        (fields,) = errors(answer)
        assert fields["C"] == "42501"
        assert fields["M"].startswith("PN402 ")
        assert rows(client.ask(query("select 1"))) == [[b"1"]]
    assert _count(stand) == 5
    assert not stand.server_saw("to be denied")


def test_timeout_then_approved_then_the_same_statement_runs(stand: Stand) -> None:
    gateway = stand.gateway
    sql = "delete from sales.scratch /* waits too long */"
    with _login(gateway, "a5") as client:
        client.send(query(sql))
        number = _notice_id(client.expect("N"))
        (fields,) = errors(client.until_ready())
        assert fields["C"] == "55000"
        assert fields["M"].startswith("PN401 ")
        assert number in fields["M"] + fields["D"]
        assert _count(stand) == 5
    _review(gateway, "approve", number)
    with _login(gateway, "someone-else") as client:
        # Not theirs: another identity waits for an approval of its own.
        client.send(query(sql))
        assert _notice_id(client.expect("N")) != number
    assert _count(stand) == 5
    with _login(gateway, "a5") as client:
        # Another text is not what was approved.
        client.send(query(sql + " "))
        assert _notice_id(client.expect("N")) != number
    with _login(gateway, "a5") as client:
        answer = client.ask(query(sql))
        assert kinds(answer) == "CZ"
        assert _count(stand) == 0


def test_own_approval_refused(stand: Stand) -> None:
    gateway = stand.gateway
    with _login(gateway, "both") as client:
        client.send(query("delete from sales.scratch"))
        number = _notice_id(client.expect("N"))
        said = _review(gateway, "approve", number, subject="both", check=False)
        assert "never decides" in said
        assert client.is_quiet(0.3)
    assert _count(stand) == 5


@pytest.mark.parametrize("groups", [("agents",), ("trusted",), ("dba", "agents"), ()])
def test_who_cannot_approve(stand: Stand, groups: tuple[str, ...]) -> None:
    """Agents never do, not even with a reviewer's group beside their own."""
    gateway = stand.gateway
    with _login(gateway, f"asker{len(groups)}{groups[:1]}") as client:
        client.send(query("delete from sales.scratch"))
        number = _notice_id(client.expect("N"))
        _review(gateway, "approve", number, subject="other", groups=groups, check=False)
        assert client.is_quiet(0.3)
    assert _count(stand) == 5


def test_inside_a_transaction_refused(stand: Stand) -> None:
    with stand.gateway.connect(subject="a7", autocommit=False) as connection:
        connection.execute("select 1")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="PN401"):
            connection.execute("delete from sales.scratch")
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        connection.rollback()
    assert _count(stand) == 5


def test_client_gone_while_held(stand: Stand) -> None:
    """An approval that comes after the client went runs nothing."""
    gateway = stand.gateway
    client = _login(gateway, "a8")
    client.send(query("delete from sales.scratch /* client gone */"))
    number = _notice_id(client.expect("N"))
    client.socket.close()
    _review(gateway, "approve", number, check=False)
    assert _count(stand) == 5
    assert not stand.server_saw("client gone")


def test_others_run_meanwhile(stand: Stand) -> None:
    gateway = stand.gateway
    with _login(gateway, "a9") as held:
        held.send(query("delete from sales.scratch"))
        held.expect("N")
        others = [_login(gateway, "a10") for _ in range(4)]
        for client in others:
            assert rows(client.ask(query("select 1"))) == [[b"1"]]
            client.socket.close()


def test_whole_life_is_recorded(stand: Stand) -> None:
    gateway = stand.gateway
    with _login(gateway, "a11") as client:
        client.send(query("delete from sales.scratch /* recorded */"))
        number = _notice_id(client.expect("N"))
        _review(gateway, "approve", number, "--comment", "checked with the owner")
        client.until_ready()

    def complete() -> bool:
        found = [r for r in gateway.audit("--limit", "9999") if number in orjson.dumps(r).decode()]
        seen = {record["kind"] for record in found}
        return (
            "statement.intent" in seen and len([k for k in seen if k.startswith("approval.")]) >= 2
        )

    wait_until(complete, 5, "request, decision and execution are recorded")
