"""No way to read a masked column shows its value: every protocol path, both formats.

The sample's secrets hold marks ("secret", "123-45-", "4111", "555 010", "note "): a test looks for
them in all bytes that came back, not only in the cells it expects.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.support.stands import Stand
from tests.support.wireclient import (
    SYNC,
    Message,
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

MARKS = (b"secret", b"123-45-", b"4111", b"555 010", b"note ")
MASKED = "id, name, email, phone, ssn, card, notes"
EMAIL = b"***@***.***"


def _clean(data: object) -> None:
    text = repr(data).encode() if not isinstance(data, bytes) else data
    assert [mark for mark in MARKS if mark in text] == []


def _expected(stand: Stand, number: int = 7) -> tuple[Any, ...]:
    """What the simple protocol in text shows; every other way must show the same."""
    with stand.gateway.connect() as connection:
        cursor = psycopg.ClientCursor(connection)
        cursor.execute(f"select {MASKED} from sales.customers where id = {number}".encode())
        row = cursor.fetchone()
    assert row is not None
    return tuple(row)


def test_what_each_kind_shows(each_stand: Stand) -> None:
    row = _expected(each_stand)
    assert row[:3] == (7, "Customer 7", "***@***.***")
    assert row[3].endswith("07")
    assert set(row[3][:-2]) == {"*"}
    assert row[4].strip() == "[redacted]"
    assert len(row[4]) == 11
    assert len(row[5]) == 32
    assert row[6] is None


def test_unmasked_for_those_excepted(each_stand: Stand) -> None:
    with each_stand.gateway.connect(["trusted"]) as connection:
        row = connection.execute(
            f"select {MASKED} from sales.customers where id = 7".encode()
        ).fetchone()
    assert row == (
        7, "Customer 7", "secret7@mail.example", "+1 555 0107", "123-45-6007",
        "4111 1111 1111 1007", "note 7",
    )  # fmt: skip


@pytest.mark.parametrize("group", ["agents", "analysts"])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("prepare", [False, True], ids=["unnamed", "named"])
def test_extended(each_stand: Stand, group: str, binary: bool, prepare: bool) -> None:
    expected = _expected(each_stand)
    with each_stand.gateway.connect([group]) as connection:
        for _ in range(3):
            cursor = connection.execute(
                f"select {MASKED} from sales.customers where id = %s".encode(),
                (7,),
                binary=binary,
                prepare=prepare,
            )
            assert cursor.fetchall() == [expected]


@pytest.mark.parametrize(
    "sql",
    [
        "select * from sales.customers where id = 7",
        "table sales.customers",
        "select c.* from sales.customers c where id = 7",
        "select c.email as id, c.ssn as name from sales.customers as c",
        "select email from (select * from sales.customers) s",
        "select s.e from (select email e from sales.customers) s",
        "with s as (select * from sales.customers) select email, card from s",
        "with s (a, b) as (select email, card from sales.customers) select b, a from s",
        "select email from sales.customers union all select email from sales.customers",
        "select phone from sales.customers limit 3 offset 2",
        "select * from sales.customer_contacts",
        "select email, phone from sales.customer_contacts order by id",
        "select c.email from sales.orders o join sales.customers c on c.id = o.customer_id",
        "select email from sales.customers c where exists (select 1 from sales.orders o"
        " where o.customer_id = c.id)",
        "select (c).email from sales.customers c",
        "select (c).* from sales.customers c",
        "select email from sales.events",
        "select email from sales.events_2026",
        "select * from only sales.events",
        "select l.email from sales.orders o, lateral (select email from sales.customers c"
        " where c.id = o.customer_id) l",
    ],
)
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_plain_output_is_masked_or_refused(each_stand: Stand, sql: str, binary: bool) -> None:
    """Masked where the column can be followed, else refused; never a value."""
    with each_stand.gateway.connect() as connection:
        got: object
        try:
            got = connection.execute(sql.encode(), binary=binary).fetchall()
        except psycopg.errors.InsufficientPrivilege as error:
            got = str(error)
        _clean(got)
        assert not isinstance(got, str) or got.startswith("PN307")


@pytest.mark.parametrize(
    "sql",
    [
        "select * from sales.customers where id = 7",
        "select email from (select * from sales.customers) s limit 1",
        "with s as (select * from sales.customers) select email from s limit 1",
        "select email from sales.customer_contacts limit 1",
        "select email from sales.events",
        "select email from sales.events_2026",
    ],
)
def test_these_work_masked(each_stand: Stand, sql: str) -> None:
    """What agents write all day must not be refused because a mask is near."""
    with each_stand.gateway.connect() as connection:
        row = connection.execute(sql.encode()).fetchone()
    assert row is not None
    assert "***@***.***" in row


def _login(stand: Stand, group: str = "agents") -> WireClient:
    client = WireClient(stand.gateway.port)
    client.login(stand.gateway.mint("agent-1", [group]))
    return client


def _cells(messages: list[Message]) -> list[bytes | None]:
    found = rows(messages)
    assert len(found) == 1, messages
    return found[0]


SQL = f"select {MASKED} from sales.customers where id = 7"


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_raw_paths_agree(each_stand: Stand, binary: bool) -> None:
    """Execute without Describe, described before, described after, prepared by name."""
    with _login(each_stand) as client:
        simple = _cells(client.ask(query(SQL)))
        blind = client.ask(parse(SQL), bind(binary=binary), execute(), SYNC)
        assert kinds(blind) == "12DCZ"
        described = client.ask(parse(SQL), bind(binary=binary), describe(), execute(), SYNC)
        assert kinds(described) == "12TDCZ"
        assert kinds(client.ask(parse(SQL, "s"), describe("S", "s"), SYNC)) == "1tTZ"
        for _ in range(2):
            later = client.ask(bind(name="s", binary=binary), execute(), SYNC)
            assert kinds(later) == "2DCZ"
        again = client.ask(bind(name="s", binary=binary), describe(), execute(), SYNC)
        number = (7).to_bytes(4, "big") if binary else b"7"
        expected = [number, *simple[1:]]
        for answer in (blind, described, later, again):
            assert _cells(answer) == expected
        assert simple[2] == EMAIL


def test_raw_format_per_column(stand: Stand) -> None:
    """Formats alternate column by column; the mask follows each."""
    formats = b"\0\7" + b"\0\1\0\0\0\1\0\0\0\1\0\0\0\1"
    body = b"\0\0\0\0\0\0" + formats
    with _login(stand) as client:
        simple = _cells(client.ask(query(SQL)))
        mixed = b"B" + (len(body) + 4).to_bytes(4, "big") + body
        answer = client.ask(parse(SQL), mixed, execute(), SYNC)
        assert _cells(answer) == [b"\0\0\0\7", *simple[1:]]


def test_raw_portal_with_row_limit(each_stand: Stand) -> None:
    """A suspended portal goes on masked, with or without a new Describe."""
    sql = "select email, id from sales.customers order by id"
    with _login(each_stand) as client:
        answer = client.ask(
            query("begin"),
        )
        client.send(parse(sql), bind(portal="p"), execute("p", 20), execute("p", 20), SYNC)
        answer = client.until_ready()
        assert kinds(answer) == "12" + "D" * 20 + "s" + "D" * 20 + "sZ"
        _clean(b"".join(payload for _, payload in answer))
        answer = client.ask(describe("P", "p"), execute("p", 3), SYNC)
        assert kinds(answer) == "TDDDsZ"
        answer = client.ask(execute("p"), SYNC)
        assert [cells[0] for cells in rows(answer)] == [EMAIL] * 7
        client.ask(query("commit"))


@pytest.mark.parametrize("shape", ["", "binary "])
def test_cursor_of_sql(each_stand: Stand, shape: str) -> None:
    """FETCH is masked or refused, whatever the protocol; MOVE shows nothing."""
    with each_stand.gateway.connect(autocommit=False) as connection:
        seen, refusal = [], ""
        try:
            connection.execute(
                f"declare c {shape}cursor for select id, email, ssn from sales.customers".encode()
            )
            seen += connection.execute("fetch 5 from c").fetchall()
            seen += psycopg.ClientCursor(connection).execute("fetch 5 from c").fetchall()
            seen += connection.execute("fetch all from c", binary=True).fetchall()
        except psycopg.Error as error:
            refusal = str(error)
        _clean(seen)
        assert len(seen) == 50 if not refusal else refusal.startswith("PN")
        connection.rollback()


def test_raw_execute_of_a_cursor_as_portal(stand: Stand) -> None:
    """A cursor of SQL is a portal of the protocol: Execute reads it, past FETCH."""
    with _login(stand) as client:
        client.ask(query("begin"))
        client.ask(query("declare c cursor for select id, email from sales.customers"))
        answer = client.ask(describe("P", "c"), execute("c", 5), SYNC)
        _clean(b"".join(payload for _, payload in answer))
        client.ask(query("rollback"))


def test_raw_prepare_of_sql_run_by_bind(stand: Stand) -> None:
    """PREPARE makes a statement that Bind can name: the plan of the mask must follow, or refuse."""
    with _login(stand) as client:
        client.ask(query(f"prepare p as {SQL}"))
        answer = client.ask(bind(name="p"), execute(), SYNC)
        _clean(b"".join(payload for _, payload in answer))
        answer = client.ask(query("execute p"))
        _clean(b"".join(payload for _, payload in answer))


@pytest.mark.parametrize(
    "sql",
    [
        "update sales.customers set name = name where id = 7 returning email, ssn, notes",
        "update sales.customers set name = name where id = 7 returning *",
        "delete from sales.customers where id = -1 returning email",
        "insert into sales.customers (name, email) values ('n', 'new-secret@x') returning *",
    ],
)
@pytest.mark.parametrize("way", ["simple", "extended", "binary"])
def test_returning(each_stand: Stand, sql: str, way: str) -> None:
    with each_stand.gateway.connect(autocommit=False) as connection:
        got: object
        try:
            if way == "simple":
                got = psycopg.ClientCursor(connection).execute(sql.encode()).fetchall()
            else:
                got = connection.execute(sql.encode(), binary=way == "binary").fetchall()
        except psycopg.Error as error:
            got = str(error)
        _clean(got)
        assert not isinstance(got, str) or got.startswith("PN")
        connection.rollback()


def test_returning_plain_column_works_masked(each_stand: Stand) -> None:
    with each_stand.gateway.connect(autocommit=False) as connection:
        row = connection.execute(
            "update sales.customers set name = name where id = 7 returning id, email"
        ).fetchone()
        connection.rollback()
    assert row == (7, "***@***.***")


@pytest.mark.parametrize(
    "sql",
    [
        # The server puts the value into its message.
        "insert into sales.customers (id, name) values (7, 'x')",
        "update sales.customers set name = null where id = 7",
        "insert into sales.customers (id, name) select 7, 'a'",
        "insert into sales.refunds (order_id) values (-5)",
        "select 1 / (id - 7) from sales.customers",
        "update sales.customers set balance = 1e30 where id = 7",
        "select '12x'::int",
    ],
)
def test_error_texts_of_the_server_are_filtered(each_stand: Stand, sql: str) -> None:
    with _login(each_stand) as client:
        for answer in (
            client.ask(query(sql)),
            client.ask(parse(sql), bind(), execute(), SYNC),
        ):
            (fields,) = errors(answer)
            assert fields["C"][:2] in {"22", "23"}
            assert set(fields) <= {"S", "V", "C", "M", "P"}
            _clean(repr(fields).encode())
            assert "12x" not in fields["M"]
            assert "(7" not in fields["M"]


def test_error_texts_whole_for_the_unmasked(each_stand: Stand) -> None:
    with (
        each_stand.gateway.connect(["trusted"]) as connection,
        pytest.raises(psycopg.errors.InvalidTextRepresentation, match="12x"),
    ):
        connection.execute("select '12x'::int")


@pytest.mark.parametrize(("level", "count"), [("notice", 0), ("exception", 2)])
def test_what_a_trigger_says_is_filtered(stand: Stand, level: str, count: int) -> None:
    """Code in the server can put any value into a notice or an error, in every field of it."""
    with stand.server() as server:
        server.execute(
            "create function sales.talk() returns trigger language plpgsql security definer as $$"
            f"begin raise {level} 'saw %', (select email from sales.customers limit 1)"
            " using detail = (select ssn from sales.customers limit 1),"
            " hint = (select card from sales.customers limit 1),"
            " table = (select phone from sales.customers limit 1); return new; end $$;"
            "create trigger talk before insert on sales.scratch"
            " for each row execute function sales.talk()"
        )
    try:
        with _login(stand) as client:
            answers = (
                client.ask(query("begin"), query("insert into sales.scratch values (77)"))
                + client.until_ready(),
                client.ask(query("rollback")),
                client.ask(
                    query("begin"), parse("insert into sales.scratch values (78)"), bind(),
                    execute(), SYNC,
                )
                + client.until_ready(),
                client.ask(query("rollback")),
            )  # fmt: skip
        everything = [message for answer in answers for message in answer]
        _clean(b"".join(payload for _, payload in everything))
        assert not any(b"saw" in payload for _, payload in everything)
        assert len(errors(everything)) == count
    finally:
        with stand.server() as server:
            server.execute("drop trigger talk on sales.scratch; drop function sales.talk()")


def test_masked_values_are_not_recorded(stand: Stand) -> None:
    """Neither journal, segments, index nor log of the gateway holds a value of a masked column."""
    with stand.gateway.connect(subject="recorder") as connection:
        connection.execute("select * from sales.customers").fetchall()
        with pytest.raises(psycopg.Error):
            connection.execute("insert into sales.customers (id, name) select 7, 'a'")
    found = [
        (path, mark)
        for path in stand.gateway.data_dir.rglob("*")
        if path.is_file()
        for mark in (b"secret11@mail", b"123-45-6011", b"1111 1011")
        if mark in path.read_bytes()
    ]
    assert found == []


def test_hash_is_stable_and_differs(each_stand: Stand) -> None:
    with each_stand.gateway.connect() as one, each_stand.gateway.connect(["analysts"]) as two:
        sql = b"select card from sales.customers order by id"
        first, second = one.execute(sql).fetchall(), two.execute(sql, binary=True).fetchall()
    assert first == second
    assert len(set(first)) == 50
