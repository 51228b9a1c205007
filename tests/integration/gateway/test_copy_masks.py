r"""COPY TO STDOUT under masks: the same rows as SELECT, whoever copies and in whatever format."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas
import psycopg
import pytest

from tests.support.gateway import GatewayProcess
from tests.support.sample import POLICY
from tests.support.stands import SYSTEM, Stand, Stands, own_directory

MARKS = ("secret", "123-45-", "4111", "555 010", "note ")
COLUMNS = "id, name, email, phone, ssn, card, notes"
OPTIONS = [
    "",
    "with (delimiter '|', null 'x')",
    "csv",
    "csv header",
    "(format csv, delimiter ';', quote '''', force_quote *)",
    "(format csv, escape '\\', force_quote (email, notes), null 'none')",
]


def selected(stand: Stand, what: str = COLUMNS) -> list[tuple[str | None, ...]]:
    with stand.gateway.connect() as connection:
        cursor = psycopg.ClientCursor(connection)
        cursor.execute(f"select {what} from sales.customers order by id".encode())
        return [tuple(None if c is None else str(c) for c in row) for row in cursor]


def copied(stand: Stand, sql: str) -> bytes:
    with stand.gateway.connect() as connection, connection.cursor().copy(sql.encode()) as copy:
        return b"".join(bytes(part) for part in copy)


@pytest.mark.parametrize("options", OPTIONS)
def test_rows_are_those_of_select(each_stand: Stand, options: str) -> None:
    sql = f"copy (select {COLUMNS} from sales.customers order by id) to stdout {options}"
    text = copied(each_stand, sql).decode()
    assert not [mark for mark in MARKS if mark in text]
    if "csv" not in options:
        delimiter, null = ("|", "x") if options else ("\t", "\\N")
        rows = [line.split(delimiter) for line in text.splitlines()]
    else:
        null = "none" if "none" in options else ""
        rows = list(
            csv.reader(
                io.StringIO(text),
                delimiter=";" if ";" in options else ",",
                quotechar="'" if "quote ''''" in options else '"',
            )
        )
    if "header" in options:
        assert rows.pop(0) == COLUMNS.split(", ")
    read = [tuple(None if c == null else c for c in row) for row in rows]
    assert read == selected(each_stand)


def test_binary(each_stand: Stand) -> None:
    sql = b"copy (select id, email, ssn, card from sales.customers order by id) to stdout binary"
    with each_stand.gateway.connect() as connection, connection.cursor().copy(sql) as copy:
        copy.set_types(["int4", "text", "bpchar", "text"])
        rows = [tuple(str(cell) for cell in row) for row in copy.rows()]
    assert rows == selected(each_stand, "id, email, ssn, card")


def test_a_partition_inherits(each_stand: Stand) -> None:
    assert b"***@***.***" in copied(each_stand, "copy sales.events_2026 to stdout")
    assert b"secret" not in copied(each_stand, "copy sales.events_2026 (email) to stdout binary")


@pytest.mark.parametrize("form", ["csv", "text"])
def test_psql_copies_a_table(each_stand: Stand, tmp_path: Path, form: str) -> None:
    target, options = tmp_path / "out", "csv" if form == "csv" else ""
    each_stand.gateway.run(
        "psql", "-X", "-c", rf"\copy sales.customers ({COLUMNS}) to '{target}' {options}"
    )
    with target.open(newline="") as file:
        rows = list(csv.reader(file, delimiter="," if form == "csv" else "\t"))
    null = "" if form == "csv" else "\\N"
    read = [tuple(None if cell == null else cell for cell in row) for row in rows]
    assert sorted(read) == sorted(selected(each_stand))


def test_pandas_reads_a_copy(each_stand: Stand) -> None:
    sql = f"copy (select {COLUMNS} from sales.customers order by id) to stdout (format csv, header)"
    frame = pandas.read_csv(io.BytesIO(copied(each_stand, sql)), dtype=str, keep_default_na=False)
    assert list(frame.columns) == COLUMNS.split(", ")
    read = [tuple(cell or None for cell in row) for row in frame.itertuples(index=False)]
    assert read == selected(each_stand)


DUMPED = """
create table sales.dumped (id int primary key, email text, card text, note text);
insert into sales.dumped select i, 'secret' || i || '@mail.example', '4111 1111 1111 ' || 1000 + i,
    case when i % 3 > 0 then E'a\\tb\\\\c ' || i end from generate_series(1, 200) i;
grant select on sales.dumped to pn_read, pn_write, pn_admin;
"""
# What pg_dump does besides reading: it empties the search_path, looks at catalogs, locks its tables.
DUMPER = POLICY.replace(
    "denies:",
    """\
  - {id: dump, to: [analysts], target: orders, effects: [session.set, catalog.sensitive]}
  - {id: dump-lock, to: [analysts], target: orders, schema: sales, tables: [dumped],
     effects: [table.lock]}
denies:""",
    1,
).replace(
    "masks:",
    """\
masks:
  - {id: dumped, columns: [sales.dumped.email], with: {kind: email}}
  - {id: dumped-card, columns: [sales.dumped.card], with: {kind: hash}}""",
)


def test_pg_dump_of_a_granted_table(stands: Stands) -> None:
    """The dump's rows are those of SELECT. The server's own pg_dump, of version 15."""
    cluster = stands.cluster(SYSTEM)
    cluster.run_sql(DUMPED, database="orders")
    try:
        with (
            own_directory() as directory,
            GatewayProcess(cluster, Path(directory), policy=DUMPER) as gateway,
        ):
            dump = gateway.run(
                "pg_dump", "--data-only", "--table", "sales.dumped", groups=["analysts"]
            ).stdout
            with gateway.connect(["analysts"]) as connection:
                rows = connection.execute("select * from sales.dumped order by id").fetchall()
    finally:
        cluster.run_sql("drop table sales.dumped", database="orders")
    body = dump.partition(" FROM stdin;\n")[2].partition("\n\\.\n")[0]
    read = [
        tuple(
            None if cell == "\\N" else cell.replace("\\t", "\t").replace("\\\\", "\\")
            for cell in line.split("\t")
        )
        for line in body.splitlines()
    ]
    assert read == [tuple(None if c is None else str(c) for c in row) for row in rows]
    assert not [mark for mark in MARKS[:4] if mark in dump]
    assert len(read) == 200


def test_several_statements_of_one_string(each_stand: Stand) -> None:
    """Goal: each COPY of a string gets its own plan, and the one after it too."""
    sql = (
        "select email from sales.customers where id = 1;"
        "copy (select phone from sales.customers where id = 7) to stdout;"
        "select ssn from sales.customers where id = 1"
    )
    done = each_stand.gateway.run("psql", "-X", "-A", "-t", "-c", sql)
    assert not [mark for mark in MARKS if mark in done.stdout]
    assert done.stdout.splitlines()[1] == "***07"


@pytest.mark.parametrize(
    "sql",
    [
        "copy (select upper(email) from sales.customers) to stdout",
        "copy (select c from sales.customers c) to stdout",
        "copy (select id from sales.customers where email like 'secret%') to stdout",
        "copy sales.customers to '/tmp/x'",
        "copy sales.customers to program 'cat'",
    ],
)
def test_what_cannot_be_masked_is_refused(each_stand: Stand, sql: str) -> None:
    with each_stand.gateway.connect() as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(sql.encode())
    assert str(caught.value).startswith("PN3")


def test_unmasked_for_those_excepted(each_stand: Stand) -> None:
    sql = b"copy (select email from sales.customers where id = 7) to stdout"
    with (
        each_stand.gateway.connect(["trusted"]) as connection,
        connection.cursor().copy(sql) as copy,
    ):
        assert b"".join(bytes(part) for part in copy) == b"secret7@mail.example\n"
