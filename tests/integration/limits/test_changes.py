"""Changed rows: a write over the limit is undone, wherever its commit would have come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.gateway import GatewayProcess
from tests.support.wireclient import (
    FLUSH,
    SYNC,
    WireClient,
    bind,
    errors,
    execute,
    kinds,
    message,
    parse,
    query,
    rows,
)


@pytest.fixture
def wire(limited: GatewayProcess) -> Iterator[WireClient]:
    with WireClient(limited.port) as client:
        client.login(limited.mint("agent-1", ["affected"]))
        yield client


def _update(table: str, count: int, word: str = "changed") -> str:
    return f"update {table} set word = '{word}' where id <= {count}"


def _changed(limited: GatewayProcess, table: str) -> int:
    with limited.connect(["trusted"]) as connection:
        row = connection.execute(f"select count(*) from {table} where word <> 'w'".encode())
        found = row.fetchone()
        assert found is not None
        return int(found[0])


WRITES = {
    "update": ("update {t} set word = 'x' where id <= {n}", "UPDATE"),
    "delete": ("delete from {t} where id <= {n}", "DELETE"),
    "insert": ("insert into {t} select 100 + i, 'x', 0 from generate_series(1, {n}) i", "INSERT 0"),
    "upsert": (
        "insert into {t} select i, 'x', 0 from generate_series(1, {n}) i"
        " on conflict (id) do update set word = 'x'",
        "INSERT 0",
    ),
    "returning": ("update {t} set word = 'x' where id <= {n} returning id", "UPDATE"),
    "merge": (
        "merge into {t} using generate_series(1, {n}) i on id = i"
        " when matched then update set word = 'x'",
        "MERGE",
    ),
}


@pytest.mark.parametrize("way", ["simple", "extended", "prepared", "transaction"])
@pytest.mark.parametrize("write", WRITES)
def test_writes(limited: GatewayProcess, table: str, way: str, write: str) -> None:
    """Goal: 5 changed rows pass, 6 are undone. Method: both, and a look from elsewhere."""
    sql, tag = WRITES[write]
    with limited.connect(["affected"], autocommit=way != "transaction") as connection:
        run = psycopg.ClientCursor(connection) if way == "simple" else connection.cursor()
        how: dict[str, Any] = {} if way == "simple" else {"prepare": way == "prepared"}
        with pytest.raises(psycopg.Error) as caught:
            run.execute(sql.format(t=table, n=6).encode(), **how)
        assert caught.value.sqlstate == "54000"
        assert 'changes more than 5 rows, rule "few-changes"' in str(caught.value)
        connection.rollback()
        assert _state(limited, table) == (20, 0)
        run.execute(sql.format(t=table, n=5).encode(), **how)
        assert run.statusmessage == f"{tag} 5"
        connection.commit()
        assert _state(limited, table) in {(20, 5), (15, 0), (25, 5)}


def _state(limited: GatewayProcess, table: str) -> tuple[int, int]:
    with limited.connect(["trusted"]) as connection:
        sql = f"select count(*), count(*) filter (where word <> 'w') from {table}"
        row = connection.execute(sql.encode()).fetchone()
        assert row is not None
        return row[0], row[1]


@pytest.mark.parametrize("way", ["simple", "extended"])
@pytest.mark.parametrize("count", [5, 6])
def test_copy_in(
    limited: GatewayProcess, table: str, wire: WireClient, way: str, count: int
) -> None:
    """The data of a COPY passes the guard that holds everything else back."""
    sql = f"copy {table} from stdin"
    if way == "simple":
        wire.send(query(sql))
    else:
        wire.send(parse(sql), bind(), execute(), SYNC)
    lines = "".join(f"{100 + i}\tx\t0\n" for i in range(count))
    wire.send(message("d", lines.encode()), message("c"))
    if way == "extended":
        wire.send(SYNC)
    answer = wire.until_ready()
    assert [error["C"] for error in errors(answer)] == (["54000"] if count == 6 else [])
    assert answer[-1] == ("Z", b"I")
    assert _state(limited, table)[0] == (20 if count == 6 else 25)


def test_a_commit_behind_it_does_not_help(limited: GatewayProcess, table: str) -> None:
    """Goal: no commit overtakes the count. Method: everything in one packet, in many shapes."""
    over = _update(table, 6)
    shapes = [
        [query("begin"), query(over), query("commit")],
        [parse("begin"), bind(), execute(), parse(over), bind(), execute(), SYNC, query("commit")],
        [parse(over), bind(), execute(), SYNC, query("commit")],
        [parse(over), bind(), execute(), FLUSH, parse("commit"), bind(), execute(), SYNC],
        [query("begin"), parse(over), bind(), execute(), parse("commit"), bind(), execute(), SYNC],
        [query("begin"), query("savepoint s"), query(over), query("release s"), query("commit")],
        [query(f"{over}; select 1")],
        [query(f"select 1; {over}")],
        [query(f"{_update(table, 3)}; {_update(table, 3)}")],
        [parse(over), bind(), execute(), FLUSH, SYNC],
    ]
    for shape in shapes:
        with WireClient(limited.port) as wire:
            wire.login(limited.mint("agent-1", ["affected"]))
            wire.send(*shape)
            answer = []
            for _ in range(sum(part == SYNC or part[:1] == b"Q" for part in shape)):
                answer += wire.until_ready()
            assert "54000" in [error["C"] for error in errors(answer)], shape
            wire.send(query("rollback"), query("select 1"))
            wire.until_ready()
            assert rows(wire.until_ready()) == [[b"1"]]
        assert _changed(limited, table) == 0, shape


def test_transaction_control_in_one_string(limited: GatewayProcess, table: str) -> None:
    """`UPDATE ...; COMMIT` in one string would commit before the tag is seen: refused whole."""
    with limited.connect(["affected"]) as connection:
        for sql in (
            f"begin; {_update(table, 6)}; commit",
            f"{_update(table, 6)}; commit; select 1",
            f"{_update(table, 6)}; commit; begin",
        ):
            with pytest.raises(psycopg.Error, match="PN305"):
                psycopg.ClientCursor(connection).execute(sql.encode())
            connection.rollback()
    assert _changed(limited, table) == 0


@pytest.mark.parametrize(
    "sql",
    [
        "with x as (update {t} set word = 'x' returning 1) select count(*) from x",
        "with x as (update {t} set word = 'x' where id > 5 returning 1)"
        " update {t} set word = 'x' where id <= 5",
        "with x as (delete from {t} returning *) insert into sales.refunds (status) select word from x",
        "explain analyze update {t} set word = 'x'",
        "explain (analyze) delete from {t}",
    ],
)
def test_what_no_tag_counts_is_refused(limited: GatewayProcess, table: str, sql: str) -> None:
    refused = pytest.raises(psycopg.Error, match='PN305 .*"few-changes"')
    with limited.connect(["affected"]) as connection, refused:
        connection.execute(sql.format(t=table).encode())
    assert _state(limited, table) == (20, 0)


def test_a_row_limit_does_not_hide_the_tag(
    limited: GatewayProcess, table: str, wire: WireClient
) -> None:
    """UPDATE ... RETURNING runs to its end and tells its tag late: taking a part is refused."""
    wire.send(parse(_update(table, 20) + " returning id"), bind(), execute(rows=1), SYNC)
    answer = wire.until_ready()
    assert [error["C"] for error in errors(answer)] == ["54000"]
    assert _changed(limited, table) == 0
    wire.send(parse(_update(table, 3) + " returning id"), bind(), execute(rows=10), SYNC)
    assert kinds(wire.until_ready()) == "12DDDCZ"
    assert _changed(limited, table) == 3


def test_a_savepoint_undoes_it_alone(limited: GatewayProcess, table: str) -> None:
    """Goal: the failed statement is undone, the rest may go on. Method: ROLLBACK TO."""
    with limited.connect(["affected"], autocommit=False) as connection:
        connection.execute(_update(table, 2).encode())
        with pytest.raises(psycopg.Error), connection.transaction():
            connection.execute(_update(table, 9).encode())
        connection.commit()
    assert _changed(limited, table) == 2


def test_a_failed_commit_is_the_statement_s_error(limited: GatewayProcess, table: str) -> None:
    """Goal: no success before the COMMIT. Method: a deferred constraint that fails in it."""
    with limited.connect(["affected"]) as connection:
        simple = psycopg.ClientCursor(connection)
        with pytest.raises(psycopg.Error) as caught:
            simple.execute("insert into sales.late values (1), (1)")
        assert caught.value.sqlstate == "23505"
        assert simple.rowcount == -1
        simple.execute("insert into sales.late values (1)")
        assert simple.statusmessage == "INSERT 0 1"


def test_a_query_behind_an_open_pipeline(limited: GatewayProcess, table: str) -> None:
    """After the error everything up to the Sync is passed over, as a server does."""
    with WireClient(limited.port) as wire:
        wire.login(limited.mint("agent-1", ["affected"]))
        wire.send(parse(_update(table, 6)), bind(), execute(), query("select 1"), SYNC)
        assert kinds(wire.until_ready()) == "12EZ"
        wire.send(parse(_update(table, 1)), bind(), execute(), query(_update(table, 1)), SYNC)
        assert [error["C"] for error in errors(wire.until_ready())] == ["0A000"]
        wire.until_ready()
    assert _changed(limited, table) == 0


def test_statements_that_fail_leave_nothing(limited: GatewayProcess, table: str) -> None:
    """A wrapped statement's own error is passed on, and no transaction stays open."""
    with limited.connect(["affected"]) as connection:
        simple = psycopg.ClientCursor(connection)
        with pytest.raises(psycopg.Error) as caught:
            simple.execute(f"insert into {table} values (1, 'x', 0)".encode())
        assert caught.value.sqlstate == "23505"
        assert connection.info.transaction_status.name == "IDLE"
        simple.execute(_update(table, 1).encode())
        assert simple.statusmessage == "UPDATE 1"


def test_pipelines_of_writes(limited: GatewayProcess, table: str) -> None:
    """Psycopg's executemany pipelines: each statement is counted by itself, and all pass."""
    with limited.connect(["affected"]) as connection, connection.cursor() as cursor:
        cursor.executemany(
            f"update {table} set word = %s where id = %s".encode(),
            [("x", i) for i in range(1, 21)],
        )
        assert cursor.rowcount == 20
    assert _changed(limited, table) == 20
