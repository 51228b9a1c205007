"""The compiled lexer against its reference twin, and what must and must not be told apart."""

from __future__ import annotations

import time

import pytest

from _fastpath.fingerprint import fingerprint
from tests.support import reference, sql_corpus


@pytest.mark.parametrize("sql", sql_corpus.statements())
def test_agrees_with_reference(sql: str) -> None:
    found = fingerprint(sql.encode())
    expected = reference.tokens(sql)
    assert (None if found is None else reference.decode_fingerprint(found)) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("select 'a'", "SELECT  'it''s' -- c"),
        ("select 1, 'x'", "select/* 'a' */ 22222,\n\tE'\\'x'"),
        ("select $$a$$", "select 'b'"),
        ("select 1.5", "select .5e3"),
        ("select a from T", "select A from t"),
        ("select B'0'", "select b'0101'"),
        ("select 007", "select 2147483647"),
    ],
)
def test_ignores_constants_and_layout(first: str, second: str) -> None:
    assert fingerprint(first.encode()) == fingerprint(second.encode()) is not None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("select 'a'", "select 1"),
        ("select 1", "select 1.0"),
        ("select 1", "select 2147483649"),
        ("select 2147483649", "select 9223372036854775809"),
        ("select 'a'", "select b'a'"),
        ("select b'1'", "select x'1'"),
        ("select 'a'", "select u&'a'"),
        ("select 'a'", "select n'a'"),
        ("select $1", "select $2"),
        ("select a", 'select "a"'),
        ('select "a"', 'select "A"'),
        ('select "a"', 'select u&"a"'),
        ('select "a""b"', 'select "a" "b"'),
        ("select a.b", 'select "a.b"'),
        ("select a b", "select ab"),
        ("select a<-b", "select a< - - b"),
        ("select a @- b", "select a @ - b"),
        ("select a <> b", "select a < > b"),
        ("select a :: b", "select a : : b"),
        ("select 1..2", "select 1. .2"),
        ("select a\u00a0b", "select a b"),
        ("select É", "select é"),
        ("select 1;", "select 1"),
        ("select (a)", "select a"),
        ('select "\x01a"', 'select "" a'),
        ("select -- x\n1", "select -- x 1"),
    ],
)
def test_tells_apart(first: str, second: str) -> None:
    assert fingerprint(first.encode()) != fingerprint(second.encode())


@pytest.mark.parametrize(
    "sql",
    [
        b"select 'a", b'select "a', b"select E'a\\'", b"select $$a$", b"select $a$ $A$", b"select /* /* */",
        b'select ""', b"select $", b"select $a", b"select \\", b"select {", b"select 1a", b"select 0x1f",
        b"select 1_0", b"select $1a", b"select 1e", b"select 1.e+", b"select \v1", b"select \0", b"select 1\0",
        b"select '\xff'", b"select '\xc0\x80'", b"select '\xed\xa0\x80'", b"select '\xf4\x90\x80\x80'", b"select '\xe9'",
        b"select 'a'\n'b'", b"select 'a' --\n 'b'", b"select U&'x' UESCAPE '!'", b'select u&"x" uEscape \'!\'',
        b"select 2147483648", b"select 0009223372036854775808", b"select a " + b"+" * 65,
        b"select '" + b"x" * 65536 + b"'",
    ],
)  # fmt: skip
def test_does_not_judge(sql: bytes) -> None:
    assert fingerprint(sql) is None


@pytest.mark.parametrize(
    "piece",
    [b"+", b"- ", b"$", b"$a", b"'' ", b"/*", b"/**/", b'"a', b"a\xc3\xa9", b"1.", b"@", b"("],
)
def test_time_is_linear(piece: bytes) -> None:
    """Goal: no text may stall a worker. Method: the longest text made of one awkward piece."""
    sql = piece * (65536 // len(piece))
    started = time.perf_counter()
    fingerprint(sql)
    assert time.perf_counter() - started < 0.05
