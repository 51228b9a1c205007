"""What the parser is protected from."""

from __future__ import annotations

import time

import pytest

from gateway.errors import ClientError, NotUnderstood, StatementSyntax, TooComplex
from gateway.sql.analyze import analyze
from gateway.sql.catalog import Catalog
from gateway.sql.parse import STATEMENT_BYTES_MAX, parse

N = 100_000
HOSTILE: list[tuple[str, str, type[ClientError]]] = [
    ("plus", "select " + "+".join(["1"] * N), TooComplex),
    ("plus-short", "select " + "+".join(["1"] * 2_000), TooComplex),
    ("and", "select " + " and ".join(["a"] * N), TooComplex),
    ("parentheses", "select " + "(" * N + "1" + ")" * N, TooComplex),
    ("few-parentheses", "select " + "(" * 300 + "1" + ")" * 300, TooComplex),
    ("not", "select " + "not " * 1_000 + "a", TooComplex),
    ("minus", "select " + "- " * 3_000 + "a", TooComplex),
    ("casts", "select a" + "::int" * 2_000, TooComplex),
    ("collate", "select a" + " collate x" * 2_000, TooComplex),
    ("case", "select " + "case when a then " * 500 + "1" + " end" * 500, TooComplex),
    ("in", "select 1 in (" + ",".join(["1"] * N) + ")", TooComplex),
    ("subqueries", "select " + "(select " * 190 + "1" + ")" * 190, TooComplex),
    ("union", "select 1" + " union select 1" * 3_000, TooComplex),
    ("joins", "select 1 from a" + " cross join a" * 3_000, TooComplex),
    ("statements", ";".join(["select 1"] * 1_000), TooComplex),
    ("comments", "/*" * 200_000, TooComplex),
    ("many-comments", "/**/" * 200_000, TooComplex),
    ("open-string", "select '" + "x" * 900_000, StatementSyntax),
    ("size", "select '" + "x" * STATEMENT_BYTES_MAX + "'", TooComplex),
    ("nul", "select 1\0; drop table x", NotUnderstood),
]


@pytest.mark.parametrize(("sql", "error"), [c[1:] for c in HOSTILE], ids=[c[0] for c in HOSTILE])
def test_hostile_text_costs_an_error(catalog: Catalog, sql: str, error: type[ClientError]) -> None:
    started = time.perf_counter()
    with pytest.raises(error):
        analyze(sql.encode(), catalog, search_path=("app",))
    assert time.perf_counter() - started < 2.0


def test_invalid_utf8() -> None:
    with pytest.raises(NotUnderstood):
        parse(b"select '\xff'")


def test_long_literals_are_fine(catalog: Catalog) -> None:
    sql = b"insert into app.t (b) values ('" + b"x'')(" * 100_000 + b"')"
    (found,) = analyze(sql, catalog, search_path=())
    assert found.kind == "insert"


def test_brackets_in_strings_and_comments_do_not_count(catalog: Catalog) -> None:
    inside = "(" * 500
    sql = f"select '{inside}', $a${inside}$a$, \"x\" from (select 1 as x) s -- {inside}\n"
    sql += f"/* {inside} /* nested */ {inside} */"
    (found,) = analyze(sql.encode(), catalog, search_path=())
    assert found.outputs is not None
    assert len(found.outputs) == 3


def test_exponential_stars_are_bounded(catalog: Catalog) -> None:
    ctes = ["a0 as (select 1 as x)"]
    ctes += [f"a{i + 1} as (select a{i}.*, a{i}.* from a{i})" for i in range(40)]
    with pytest.raises(TooComplex):
        analyze(f"with {', '.join(ctes)} select * from a40".encode(), catalog, search_path=())


def test_syntax_errors_carry_the_position() -> None:
    with pytest.raises(StatementSyntax) as caught:
        parse("select 'é', x y z".encode())
    assert caught.value.position == 17


@pytest.mark.parametrize("sql", [b"", b";", b" -- nothing\n", b"/* */"])
def test_nothing_is_nothing(catalog: Catalog, sql: bytes) -> None:
    assert analyze(sql, catalog, search_path=()) == ()
