"""The compiled lexer against PostgreSQL's own scanner (libpg_query through pglast).

A fingerprint is read back into tokens, which must be those of PostgreSQL but for the values of
constants. So two texts with one fingerprint have one token stream: what a cache relies on.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pglast.parser import ParseError, scan

from _fastpath.fingerprint import fingerprint
from tests.support import reference, sql_corpus
from tests.support.reference import Token

STATEMENTS = sql_corpus.statements()
# What makes lexers stumble, to be put anywhere.
PIECES = [
    *"'\"$-+*/.:;,()[]<>=~!@#%^&|`?\\{} \t\n\r\f\v_eEbBxXnNuU0123456789aZ\u00a0é\x01",
    "''", '""', "--", "/*", "*/", "$$", "$a$", "$1", "::", ":=", "..", "=>", "<=", "<>", "!=", "e'", "E'\\'",
    "U&'", 'u&"', "b'", "x'", "n'", "uescape '!'", "\\'", "\\\\", "1.", ".5", "1e5", "1e-", "0x1", "1_0",
    "2147483647", "2147483648", "9223372036854775808", "'\n'", "' -- c\n'", "@-", "?-", "+-", "-- x\n", "/**/",
]  # fmt: skip


def scanned(sql: str) -> list[Token] | None:
    """Return PostgreSQL's tokens in the form of the reference twin, None where it refuses."""
    try:
        found = scan(sql)
    except ParseError:
        return None
    tokens: list[Token] = []
    for token in found:
        text = sql[token.start : token.end + 1]
        reduced = canonical(token.name, text)
        if reduced is not None:
            if reduced == ("STRING", "") and tokens and tokens[-1] == ("NATIONAL", "?"):
                tokens[-1] = ("NATIONAL", "")
            else:
                tokens.append(reduced)
    return tokens


def canonical(name: str, text: str) -> Token | None:
    simple = {"SCONST": "STRING", "USCONST": "UNICODE_STRING", "BCONST": "BITS", "XCONST": "HEX"}
    if name in ("SQL_COMMENT", "C_COMMENT"):
        return None
    if name in simple:
        return simple[name], ""
    if name == "ICONST":
        return "INT4", ""
    if name == "FCONST":
        is_int8 = text.isdigit() and int(text) < 2**63
        return ("INT8" if is_int8 else "NUMERIC"), ""
    if name == "PARAM":
        return name, text[1:]
    if name == "NCHAR" and text in ("n", "N"):
        return "NATIONAL", "?"
    if name == "UIDENT":
        return "UNICODE_QUOTED", text[3:-1]
    if name == "IDENT" and text.startswith('"'):
        return "QUOTED", text[1:-1]
    if text[0].isalpha() or text[0] == "_" or text[0] >= "\x80":
        return "NAME", "".join(c.lower() if c.isascii() else c for c in text)
    return "SYMBOL", text


def check(sql: str) -> bool:
    """Hold `sql` against PostgreSQL; true if it was judged."""
    found = fingerprint(sql.encode())
    expected = reference.tokens(sql)
    assert (None if found is None else reference.decode_fingerprint(found)) == expected
    tokens = scanned(sql) if found is not None else None
    if tokens is None:
        return False
    assert expected == tokens
    return True


def mutate(sql: str, rng: random.Random) -> str:
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randrange(len(sql) + 1)
        action = rng.randrange(4)
        if action == 0:
            sql = sql[:at] + sql[at + rng.randrange(1, 4) :]
        elif action == 1:
            other = rng.choice(STATEMENTS)
            start = rng.randrange(len(other))
            sql = sql[:at] + other[start : start + rng.randrange(1, 12)] + sql[at:]
        else:
            sql = sql[:at] + rng.choice(PIECES) + sql[at:]
    return sql


def test_corpus() -> None:
    assert sum(check(sql) for sql in STATEMENTS) >= len(STATEMENTS) - 12


def test_server_sql() -> None:
    """Goal: what servers ship lexes alike. Most of it must be judged, or the cache is no use."""
    found = [check(sql) for sql in sql_corpus.server_sql() if len(sql) < 20_000]
    assert len(found) > 1000
    # The rest are psql commands, and dollar-quoted bodies that the corpus cuts at a semicolon.
    assert sum(found) > 0.9 * len(found)


@pytest.mark.parametrize("seed", range(8))
def test_mutated_statements(seed: int) -> None:
    rng = random.Random(seed)
    judged = sum(check(mutate(rng.choice(STATEMENTS), rng)) for _ in range(1500))
    assert judged > 300


@given(st.lists(st.sampled_from([*PIECES, " ", " ", "a", "'a'", '"b"']), max_size=14).map("".join))
def test_piled_pieces(sql: str) -> None:
    check(sql)


@given(st.binary(max_size=60))
def test_any_bytes(sql: bytes) -> None:
    found = fingerprint(sql)
    assert found is None or len(found) <= 2 * len(sql) + 1


@given(
    st.sampled_from(
        [
            "select {} from t where a = {}",
            "insert into t values ({}, {})",
            "select $1, {}::text || {}",
        ]
    ),
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        min_size=4,
        max_size=4,
    ),
)
def test_strings_never_reach_the_fingerprint(template: str, values: list[str]) -> None:
    """Goal: no part of a constant becomes part of a cache key. Method: the same shape twice."""
    quoted = ["'" + value.replace("'", "''") + "'" for value in values]
    first = fingerprint(template.format(*quoted[:2]).encode())
    assert first == fingerprint(template.format(*quoted[2:]).encode())
    assert first is not None
