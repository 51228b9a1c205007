"""A refused statement: the error, what stays usable, and that nothing of it reached the server.

Each over the simple and the extended protocol, prepared, inside a transaction, a failed one and a
pipeline. The server logs every statement it gets; a unique word in each refused one tells.
"""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest

from tests.support.stands import Stand
from tests.support.wireclient import (
    FLUSH,
    SYNC,
    WireClient,
    bind,
    describe,
    errors,
    execute,
    kinds,
    parse,
    query,
    rows,
)

Connection = psycopg.Connection[Any]
WAYS = ["simple", "extended", "prepared"]


def _word() -> str:
    return f"w{uuid.uuid4().hex}"


def _send(connection: Connection, way: str, sql: str) -> psycopg.Cursor[Any]:
    if way == "simple":
        return psycopg.ClientCursor(connection).execute(sql.encode())
    return connection.execute(sql.encode(), prepare=way == "prepared", binary=way == "prepared")


# statement, SQLSTATE, id, what the message names
REFUSED = [
    ("select * from sales.salaries", "42501", "PN301", "salaries"),
    ("select * from hr.people", "42501", "PN301", "people"),
    ("truncate sales.orders", "42501", "PN301", "orders"),
    ("drop table sales.orders", "42501", "PN301", "orders"),
    ("create table sales.mine (id int)", "42501", "PN301", "mine"),
    ("alter table sales.orders add x int", "42501", "PN301", "orders"),
    ("create role evil", "42501", "PN302", "no-egress"),
    ("copy sales.orders to program 'id'", "42501", "PN302", "no-egress"),
    ("copy sales.orders from '/etc/passwd'", "42501", "PN302", "no-egress"),
    ("select pg_read_file('/etc/passwd')", "42501", "PN302", "no-egress"),
    ("do $$ begin perform 1; end $$", "42501", "PN301", ""),
    ("select pg_sleep(1)", "42501", "PN301", "pg_sleep"),
    ("alter system set work_mem = '1MB'", "42501", "PN302", "no-egress"),
    ("set role postgres", "42501", "PN30", ""),
    ("set session authorization postgres", "42501", "PN30", ""),
    ("select * from pg_authid", "42501", "PN301", "pg_authid"),
    ("select passwd from pg_catalog.pg_shadow", "42501", "PN301", "pg_shadow"),
    ("select email || 'x' from sales.customers", "42501", "PN307", "email"),
    ("selec 1", "42601", "PN304", "selec"),
    ("select * from sales.nothing_here", "42501", "PN301", "nothing_here"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("sql", "sqlstate", "error_id", "named"), REFUSED)
def test_refused(
    stand: Stand, way: str, sql: str, sqlstate: str, error_id: str, named: str
) -> None:
    word = _word()
    with stand.gateway.connect() as connection:
        with pytest.raises(psycopg.Error) as caught:
            _send(connection, way, f"{sql} /* {word} */")
        problem = caught.value
        assert problem.sqlstate == sqlstate
        assert problem.diag.message_primary is not None
        assert problem.diag.message_primary.startswith(error_id)
        assert named in problem.diag.message_primary
        assert len(problem.diag.message_primary.encode()) <= 300
        assert problem.diag.message_detail is not None
        assert problem.diag.message_detail.startswith('{"id":"PN')
        assert problem.diag.message_hint or sqlstate == "42601"
        assert connection.execute("select 1").fetchone() == (1,)
    assert not stand.server_saw(word)


def test_invisible_reads_like_missing(stand: Stand) -> None:
    texts = []
    with stand.gateway.connect() as connection:
        for name in ("hr.people", "hr.peopel", "nope.people"):
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(f"select * from {name}".encode())
            diag = caught.value.diag
            texts.append(
                [
                    str(part).replace(name, "X").replace(name.replace(".", '"."'), "X")
                    for part in (diag.sqlstate, diag.message_primary, diag.message_hint)
                ]
            )
    assert texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("way", WAYS)
def test_write_under_read(stand: Stand, way: str) -> None:
    word = _word()
    with stand.gateway.connect(["analysts"]) as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="PN303"):
            _send(connection, way, f"insert into sales.refunds (note) values ('{word}')")
        assert connection.execute("select current_user").fetchone() == ("pn_read",)
    assert not stand.server_saw(word)


@pytest.mark.parametrize("way", WAYS)
def test_transaction_is_failed_on_both_sides(each_stand: Stand, way: str) -> None:
    with each_stand.gateway.connect(autocommit=False) as connection:
        connection.execute("insert into sales.scratch values (900, 'before', 1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _send(connection, way, "select * from sales.salaries")
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            _send(connection, way, "select 1")
        # The server agrees: its COMMIT is a ROLLBACK.
        done = connection.execute("commit")
        assert done.statusmessage == "ROLLBACK"
        rows_left = connection.execute("select * from sales.scratch where id = 900").fetchall()
        assert rows_left == []
        connection.rollback()


def test_savepoint_recovers(each_stand: Stand) -> None:
    with each_stand.gateway.connect(autocommit=False) as connection:
        connection.execute("insert into sales.scratch values (901, 'kept', 1)")
        connection.execute("savepoint a")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from sales.salaries")
        connection.execute("rollback to a")
        row = connection.execute("select word from sales.scratch where id = 901").fetchone()
        assert row == ("kept",)
        connection.rollback()


@pytest.mark.parametrize("way", WAYS)
def test_refused_inside_a_failed_transaction(stand: Stand, way: str) -> None:
    """It stays failed, nothing runs, and ROLLBACK ends it."""
    word = _word()
    with stand.gateway.connect(autocommit=False) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("select 1/0")
        with pytest.raises(psycopg.Error):
            _send(connection, way, f"select * from sales.salaries /* {word} */")
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        connection.rollback()
        assert connection.execute("select 5").fetchone() == (5,)
    assert not stand.server_saw(word)


def test_several_statements_all_or_nothing(stand: Stand) -> None:
    word = _word()
    with stand.gateway.connect() as connection:
        cursor = psycopg.ClientCursor(connection)
        for sql in (
            f"insert into sales.scratch values (902, '{word}', 1); select * from sales.salaries",
            f"select * from sales.salaries; insert into sales.scratch values (902, '{word}', 1)",
            f"select '{word}'; select * from sales.orders; drop table sales.orders; select 3",
            f"select '{word}'; selec",
        ):
            with pytest.raises(psycopg.Error):
                cursor.execute(sql)
        count = connection.execute("select count(*) from sales.scratch where id = 902").fetchone()
        assert count == (0,)
    assert not stand.server_saw(word)


def test_pipeline_discards_until_sync(stand: Stand) -> None:
    word = _word()
    with stand.gateway.connect() as connection:
        insert = f"insert into sales.scratch values (%s, '{word}', 1)".encode()
        with connection.pipeline() as pipeline:
            first = connection.execute("select 11")
            connection.execute("select * from sales.salaries")
            skipped = connection.execute(insert, (903,))
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="PN301"):
                pipeline.sync()
            with pytest.raises(psycopg.ProgrammingError, match="no result"):
                skipped.fetchone()
            after = connection.execute("select 12")
            pipeline.sync()
            assert after.fetchone() == (12,)
        assert first.fetchone() == (11,)
        count = connection.execute("select count(*) from sales.scratch where id = 903").fetchone()
        assert count == (0,)
    assert not stand.server_saw(word)


def _login(stand: Stand) -> WireClient:
    client = WireClient(stand.gateway.port)
    client.login(stand.gateway.mint("agent-1", ["agents"]))
    return client


def _select(sql: str) -> bytes:
    return parse(sql) + bind() + describe() + execute()


def test_raw_pipeline_order(stand: Stand) -> None:
    """Replies before the refusal arrive, one error, one ReadyForQuery for one Sync."""
    with _login(stand) as client:
        good, bad = _select("select 1"), _select("select * from sales.salaries")
        answer = client.ask(good, bad, _select("select 2"), SYNC)
        assert kinds(answer) == "12TDCEZ"
        assert rows(answer) == [[b"1"]]
        assert answer[-1][1] == b"I"
        answer = client.ask(good, SYNC)
        assert kinds(answer) == "12TDCZ"
        assert client.is_quiet()


def test_raw_refusal_first_in_a_pipeline(stand: Stand) -> None:
    with _login(stand) as client:
        bad = _select("select * from sales.salaries")
        answer = client.ask(bad, _select("select 2"), SYNC)
        assert kinds(answer) == "EZ"
        client.send(bad, SYNC, bad, SYNC, _select("select 3"), SYNC)
        assert kinds(client.until_ready()) == "EZ"
        assert kinds(client.until_ready()) == "EZ"
        assert kinds(client.until_ready()) == "12TDCZ"
        assert client.is_quiet()


def test_raw_query_is_discarded_until_sync(stand: Stand) -> None:
    """As the server does: a Query after an extended error gets no ReadyForQuery of its own."""
    word = _word()
    with _login(stand) as client:
        bad = _select("select * from sales.salaries")
        answer = client.ask(bad, query(f"select '{word}'"), SYNC)
        assert kinds(answer) == "EZ"
        assert client.is_quiet()
    assert not stand.server_saw(word)


def test_raw_simple_refusals_each_get_their_ready(stand: Stand) -> None:
    with _login(stand) as client:
        client.send(
            query("select 1"), query("select * from sales.salaries"), query("select 2"),
            query("drop table sales.orders"), query("select 3"),
        )  # fmt: skip
        answers = [kinds(client.until_ready()) for _ in range(5)]
        assert answers == ["TDCZ", "EZ", "TDCZ", "EZ", "TDCZ"]


def test_raw_refusal_in_a_transaction_in_one_packet(stand: Stand) -> None:
    """Begin, work, a refusal and what follows all arrive at once."""
    word = _word()
    with _login(stand) as client:
        client.send(
            query("begin"), query("insert into sales.scratch values (904, 'x', 1)"),
            query(f"select * from sales.salaries /* {word} */"), query("select 1"),
            query("commit"), query("select count(*) from sales.scratch where id = 904"),
        )  # fmt: skip
        answers = [client.until_ready() for _ in range(6)]
        assert [answer[-1][1] for answer in answers] == [b"T", b"T", b"E", b"E", b"I", b"I"]
        assert errors(answers[2])[0]["C"] == "42501"
        assert errors(answers[3])[0]["C"] == "25P02"
        assert answers[4][0] == ("C", b"ROLLBACK\0")
        assert rows(answers[5]) == [[b"0"]]
    assert not stand.server_saw(word)


def test_raw_extended_refusal_in_a_transaction(stand: Stand) -> None:
    with _login(stand) as client:
        client.ask(query("begin"))
        answer = client.ask(_select("select 1"), _select("select * from sales.salaries"), SYNC)
        assert kinds(answer) == "12TDCEZ"
        assert answer[-1][1] == b"E"
        answer = client.ask(_select("select 1"), SYNC)
        assert errors(answer)[0]["C"] == "25P02"
        assert client.ask(query("rollback"))[-1][1] == b"I"


def test_raw_implicit_transaction_is_rolled_back(stand: Stand) -> None:
    """An insert before the refusal in the same Sync group: as with a server error, it is undone."""
    with _login(stand) as client:
        insert = parse("insert into sales.scratch values (905, 'x', 1)") + bind() + execute()
        answer = client.ask(insert, _select("select * from sales.salaries"), SYNC)
        assert kinds(answer) == "12CEZ"
        answer = client.ask(query("select count(*) from sales.scratch where id = 905"))
        assert rows(answer) == [[b"0"]]


def test_raw_flush_delivers_a_refusal(stand: Stand) -> None:
    with _login(stand) as client:
        client.send(_select("select 1"), FLUSH)
        for kind in "12TDC":
            client.expect(kind)
        client.send(parse("select * from sales.salaries"), FLUSH)
        client.expect("E")
        assert kinds(client.ask(SYNC)) == "Z"


@pytest.mark.parametrize(
    ("sent", "sqlstate"),
    [
        (bind(name="missing") + execute(), "26000"),
        (describe("S", "missing"), "26000"),
        (execute("missing"), "34000"),
        (parse("select 1", "twice") + parse("select 2", "twice"), "42P05"),
    ],
)
def test_raw_names_that_are_wrong(stand: Stand, sent: bytes, sqlstate: str) -> None:
    with _login(stand) as client:
        answer = client.ask(sent, SYNC)
        assert [error["C"] for error in errors(answer)] == [sqlstate]
        assert kinds(client.ask(_select("select 1"), SYNC)) == "12TDCZ"


def test_function_call_refused(stand: Stand) -> None:
    """The fast path runs a function by its OID, past every rule."""
    with _login(stand) as client:
        call = (1598).to_bytes(4, "big") + b"\0\0\0\0\0\0"
        answer = client.ask(b"F" + (len(call) + 4).to_bytes(4, "big") + call)
        assert errors(answer)[0]["C"] in {"42501", "0A000"}
        assert kinds(client.ask(query("select 1"))) == "TDCZ"


def test_refusals_are_in_the_audit(stand: Stand) -> None:
    word = _word()
    with stand.gateway.connect(subject="recorded") as connection:
        with pytest.raises(psycopg.Error):
            connection.execute(f"select * from sales.salaries /* {word} */".encode())
        connection.execute(f"select 1 /* {word} */".encode())
    from tests.support.gateway import wait_until

    def found() -> list[dict[str, Any]]:
        return [r for r in stand.gateway.audit("--limit", "5000") if word in str(r.get("sql", ""))]

    wait_until(lambda: len(found()) >= 2, 5, "both statements are recorded")
    kinds_seen = sorted(record["kind"] for record in found())
    assert kinds_seen == ["statement.intent", "statement.refused"]
    refused = next(record for record in found() if record["kind"] == "statement.refused")
    assert "recorded" in refused["principal"]
