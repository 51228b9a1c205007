"""What tells of masked values without being a cell: plans, settings, notifications, row counts."""

from __future__ import annotations

import pytest

from tests.support.stands import Stand
from tests.support.wireclient import SYNC, WireClient, bind, errors, execute, parse, query

MARK = b"secret"


def login(stand: Stand) -> WireClient:
    client = WireClient(stand.gateway.port)
    client.login(stand.gateway.mint("agent-1", ["agents"]))
    return client


@pytest.mark.parametrize(
    "options", ["", "analyze", "(analyze, verbose)", "(format json, costs off)"]
)
@pytest.mark.parametrize(
    "sql",
    [
        "select id from sales.customers where email = 'secret7@mail.example'",
        "select id from sales.customers where email like 'secret7%'",
        "select c.id from sales.customers c join sales.events e on e.email = c.email",
        "select id, email from sales.customers",
        "select id from sales.customers where id in"
        " (select id from sales.customers where ssn > '123-45-6')",
    ],
)
def test_explain_counts_nothing_of_a_masked_column(stand: Stand, options: str, sql: str) -> None:
    """Estimates and "Rows Removed by Filter" answer a predicate that the query itself may not ask."""
    with login(stand) as client:
        for answer in (
            client.ask(query(f"explain {options} {sql}")),
            client.ask(parse(f"explain {options} {sql}"), bind(), execute(), SYNC),
        ):
            (refused,) = errors(answer)
            assert refused["M"].startswith("PN307")
            assert not any(b"Rows" in payload for kind, payload in answer if kind == "D")


def test_explain_of_clear_columns_works(stand: Stand) -> None:
    with stand.gateway.connect() as connection:
        rows = connection.execute("explain select id from sales.customers where id < 7").fetchall()
    assert rows


@pytest.mark.parametrize(
    "sql",
    [
        "select set_config('application_name', email, false) from sales.customers",
        "select set_config('application_name', (select email from sales.customers limit 1), true)",
        "select pg_notify('c', email) from sales.customers",
        "select pg_advisory_lock(hashtext(email)) from sales.customers",
        "delete from sales.customers where email like 'secret7%'",
        "update sales.customers set name = name where ssn = '123-45-6007'",
        "insert into sales.refunds (note) select 'x' from sales.customers where email like 's%'",
        "move 5 from c",
    ],
)
def test_nothing_reported_depends_on_a_masked_column(stand: Stand, sql: str) -> None:
    """ParameterStatus, notifications, locks and command tags."""
    with login(stand) as client:
        for answer in (
            client.ask(query(sql)),
            client.ask(parse(sql), bind(), execute(), SYNC),
        ):
            assert len(errors(answer)) == 1
            assert not any(MARK in payload for _, payload in answer)
            assert "S" not in {kind for kind, _ in answer}
            assert not [payload for kind, payload in answer if kind == "C"]


def test_notifications_need_a_grant(stand: Stand) -> None:
    """LISTEN is refused without a grant, and what others are told reaches no session here."""
    with login(stand) as client:
        for sql in ("listen secrets", 'listen "*"', "do $$ begin execute 'listen secrets'; end $$"):
            assert errors(client.ask(query(sql))), sql
            assert errors(client.ask(parse(sql), bind(), execute(), SYNC)), sql
        with stand.server() as server:
            server.execute("notify secrets, 'secret7@mail.example'")
        answer = client.ask(query("select 1 as x"))
        assert "A" not in {kind for kind, _ in answer}


def test_a_notice_of_a_masked_session_says_nothing(stand: Stand) -> None:
    """The texts of the server are its own for those without masks only."""
    with stand.gateway.connect(["trusted"]) as connection:
        heard: list[str] = []
        connection.add_notice_handler(lambda notice: heard.append(str(notice.message_primary)))
        connection.execute("rollback")
        assert "no transaction" in heard[0]
    with login(stand) as client:
        notices = [payload for kind, payload in client.ask(query("rollback")) if kind == "N"]
        assert len(notices) == 1
        assert b"there is no transaction in progress" not in notices[0]
