r"""COPY TO STDOUT under masks: the same rows as SELECT, whoever copies and in whatever format."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import psycopg
import pytest

from tests.support.stands import Stand

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


def test_psql_copies_a_table(each_stand: Stand, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    each_stand.gateway.run(
        "psql", "-X", "-c", rf"\copy sales.customers ({COLUMNS}) to '{target}' csv"
    )
    text = target.read_text()
    assert len(text.splitlines()) == 50
    assert "***@***.***" in text
    assert not [mark for mark in MARKS if mark in text]


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
