"""Statements that are large or deep cost their sender an error, and nobody else anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.support.stands import Stand
from tests.support.wireclient import (
    SYNC,
    WireClient,
    bind,
    errors,
    execute,
    kinds,
    parse,
    query,
    rows,
)

MEGABYTE = 1 << 20


def _deep(count: int) -> str:
    return "select " + "(" * count + "1" + ")" * count


HEAVY: dict[str, Callable[[], str]] = {
    "1 MB of constants": lambda: f"select '{'x' * MEGABYTE}'",
    "1 MB of comments": lambda: f"select 1 /* {'y' * MEGABYTE} */",
    "100,000 operators": lambda: "select 1" + "+1" * 100_000,
    "100,000 ANDs": lambda: "select 1 where true" + " and true" * 100_000,
    "100,000 minus signs": lambda: "select " + "- " * 100_000 + "1",
    "100,000 NOTs": lambda: "select " + "not " * 100_000 + "true",
    "100,000 parentheses": lambda: _deep(100_000),
    "50,000 subqueries": lambda: "select (" * 50_000 + "select 1" + ")" * 50_000,
    "100,000 array brackets": lambda: "select " + "array[" * 100_000 + "1" + "]" * 100_000,
    "100,000 casts": lambda: "select 1" + "::int" * 100_000,
    "100,000 list members": lambda: "select 1 in (" + ",".join(map(str, range(100_000))) + ")",
    "20,000 unions": lambda: " union all ".join(["select 1"] * 20_000),
    "20,000 joins": lambda: (
        "select 1 from sales.orders o0"
        + "".join(f" cross join sales.orders o{i}" for i in range(1, 20_000))
    ),
    "50,000 nested CASE": lambda: (
        "select " + "case when true then " * 50_000 + "1" + " end" * 50_000
    ),
    "100,000 statements": lambda: "select 1;" * 100_000,
    "unclosed comments": lambda: "/*" * 100_000,
    "unclosed dollar quote": lambda: "select $a$" + "x" * 500_000,
    "one long name": lambda: f'select 1 as "{"n" * 500_000}"',
}


def _login(stand: Stand, subject: str = "heavy") -> WireClient:
    client = WireClient(stand.gateway.port, timeout_s=20)
    client.login(stand.gateway.mint(subject, ["agents"]))
    return client


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("way", ["simple", "extended"])
def test_costs_that_statement(stand: Stand, name: str, way: str) -> None:
    """One error or, where it is harmless, its result; and the same connection goes on."""
    sql = HEAVY[name]()
    with _login(stand) as client:
        if way == "simple":
            answer = client.ask(query(sql))
        else:
            answer = client.ask(parse(sql), bind(), execute(), SYNC)
        problems = errors(answer)
        assert len(problems) <= 1
        if problems:
            assert problems[0]["S"] == "ERROR"
            assert problems[0]["C"] in {"54001", "42601", "0A000", "54000"}
            assert len(problems[0]["M"].encode()) <= 300
        assert kinds(client.ask(query("select 1"))) == "TDCZ"


@pytest.mark.parametrize(
    "name", ["100,000 operators", "100,000 parentheses", "50,000 subqueries", "100,000 NOTs"]
)
def test_refused_for_what_it_is(stand: Stand, name: str) -> None:
    with (
        stand.gateway.connect() as connection,
        pytest.raises(psycopg.errors.StatementTooComplex, match="PN308"),
    ):
        connection.execute(HEAVY[name]().encode())


def test_a_megabyte_of_parameters_runs(each_stand: Stand) -> None:
    """Data is no statement: it may be large."""
    with each_stand.gateway.connect() as connection:
        sent = "p" * (8 * MEGABYTE)
        row = connection.execute("select length(%s::text)", (sent,)).fetchone()
        assert row == (8 * MEGABYTE,)


def test_a_message_beyond_the_limit_ends_the_session(stand: Stand) -> None:
    with _login(stand) as client:
        client.send(b"Q" + (200 * MEGABYTE).to_bytes(4, "big") + b"x" * 1000)
        answer = client.until_end()
        assert [error["C"] for error in errors(answer)] == ["08P01"]


def test_others_are_answered_meanwhile(stand: Stand) -> None:
    """Four clients send the worst without end; cached and new statements of others run on.

    How long they take is measured in bench/; here it must only be far from a stall.
    """
    stop = threading.Event()
    worst = [HEAVY[name]() for name in ("100,000 ANDs", "100,000 list members", "20,000 unions")]
    sent: list[int] = []

    def flood(number: int) -> None:
        with _login(stand, f"flood{number}") as client:
            while not stop.is_set():
                client.ask(query(worst[len(sent) % len(worst)] + f" -- {number} {len(sent)}"))
                sent.append(number)

    threads = [threading.Thread(target=flood, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        slowest = 0.0
        with _login(stand, "quick") as client:
            for number in range(40):
                started = time.monotonic()
                assert rows(client.ask(query("select 1"))) == [[b"1"]]
                assert rows(client.ask(query(f"select {number} as n{number}"))) == [
                    [str(number).encode()]
                ]
                slowest = max(slowest, time.monotonic() - started)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert sent
    assert slowest < 3


def test_no_process_was_lost(stand: Stand) -> None:
    """Caps come before the parser: nothing of the above may kill even an analyzer."""
    before = stand.gateway.pids("pn-")
    with _login(stand) as client:
        for build in HEAVY.values():
            client.ask(query(build() + " -- again"))
    assert stand.gateway.pids("pn-") == before
