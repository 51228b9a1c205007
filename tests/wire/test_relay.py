"""The compiled session core against scripted peers: order, refusals, prepared statements, COPY.

Method: messages are fed as bytes, verdicts are put into the cache beforehand, and what the relay
gives for the client and for the server is compared as message types and payloads.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from _fastpath.statements import Verdict
from gateway.session.codes import Event
from tests.support.relay import (
    BOUND,
    DECIDE,
    EVENT_BROKEN,
    EVENT_DDL,
    EVENT_IDLE,
    IDLE,
    PARSED,
    PN,
    REFUSE,
    STALE,
    SYNC,
    VIOLATION,
    Bench,
    bind,
    done,
    execute,
    kinds,
    message,
    parse,
    query,
    ready,
)


def test_simple_query_passes_untouched_with_intent_and_result(bench: Bench) -> None:
    """Goal: a decided query leaves as the very object that came, between two records."""
    bench.allow(b"select 1")
    sent = query(b"select 1")
    action, server, client = bench.client(sent)
    assert (action, client) == (IDLE, None)
    assert server == sent
    assert [record["kind"] for record in bench.records()] == ["statement.intent"]
    answer = message(b"T", b"\0\0") + message(b"D", b"\0\0") + done() + ready()
    assert bench.relay.from_server(answer) is answer
    assert bench.relay.events == EVENT_IDLE
    assert bench.relay.can_release
    result = bench.records()[-1]
    assert (result["outcome"], result["tag"], result["rows"]) == ("ok", "SELECT 1", 1)


def test_unknown_statement_stops_before_anything_is_forwarded(bench: Bench) -> None:
    """Goal: no verdict, no byte."""
    action, server, client = bench.client(query(b"select 2"))
    assert (action, server, client) == (DECIDE, None, None)
    assert bench.relay.asked_sql == b"select 2"
    bench.relay.answer(Verdict(0, SimpleNamespace(statements=()), b""))
    action, server, _ = bench.run()
    assert (action, server) == (IDLE, query(b"select 2"))


def test_refusal_while_idle_is_answered_here(bench: Bench) -> None:
    """Goal: nothing reaches the server, the connection stays usable."""
    bench.deny(b"drop")
    action, server, client = bench.client(query(b"drop"))
    assert (action, server) == (REFUSE, None)
    bench.relay.refuse(PN)
    action, server, client = bench.run()
    assert (action, server, kinds(client)) == (IDLE, None, b"EZ")


def test_refusal_in_transaction_fails_it_on_the_server_too(bench: Bench) -> None:
    """Goal: the client reads our error, the server gets a failing statement, order is kept."""
    bench.allow(b"begin")
    bench.deny(b"drop")
    bench.client(query(b"begin"))
    bench.relay.from_server(done(b"BEGIN") + ready(b"T"))
    action, _, _ = bench.client(query(b"drop"))
    assert action == REFUSE
    bench.relay.refuse(PN)
    action, server, client = bench.run()
    assert (action, kinds(server), client) == (IDLE, b"Q", None)
    assert b"drop" not in (server or b"")
    out = bench.relay.from_server(message(b"E", b"C42601\0\0") + ready(b"E"))
    assert out == PN + ready(b"E")
    assert not bench.relay.can_release


def test_release_waits_for_the_last_owed_ready(bench: Bench) -> None:
    """Goal: the first ReadyForQuery of two pipelined queries releases nothing (PgBouncer 714)."""
    bench.allow(b"select 1")
    bench.client(query(b"select 1") + query(b"select 1"))
    bench.relay.from_server(done() + ready())
    assert not bench.relay.can_release
    bench.relay.from_server(done() + ready())
    assert bench.relay.can_release


def test_sync_sent_before_copy_in_is_not_owed(bench: Bench) -> None:
    """Goal: the server ignores Sync while in COPY mode, so no ReadyForQuery is awaited (1023)."""
    bench.allow(b"copy", types=b"\0\0", copy_in=True)
    bench.client(parse(b"", b"copy") + bind(b"", b"") + execute() + SYNC)
    bench.relay.from_server(PARSED + BOUND + message(b"G", b"\0\0\0"))
    _, server, _ = bench.client(message(b"d", b"1\n") + message(b"c") + SYNC)
    assert kinds(server) == b"dcS"
    out = bench.relay.from_server(done(b"COPY 1") + ready())
    assert kinds(out) == b"CZ"
    assert bench.relay.can_release


def test_copy_data_after_a_failed_copy_is_dropped(bench: Bench) -> None:
    """Goal: late CopyData neither reaches the server nor pins it (1470)."""
    bench.allow(b"copy", copy_in=True)
    bench.client(query(b"copy"))
    bench.relay.from_server(message(b"E", b"C42501\0\0") + ready())
    assert bench.relay.can_release
    action, server, _ = bench.client(message(b"d", b"1\n") + message(b"c"))
    assert (action, server) == (IDLE, None)


def test_rows_nobody_asked_for_break_the_connection(bench: Bench) -> None:
    """Goal: the server is hostile input too."""
    bench.allow(b"select 1")
    bench.client(query(b"select 1"))
    bench.relay.from_server(done() + ready())
    assert bench.relay.from_server(message(b"D", b"\0\0")) is None
    assert bench.relay.events & EVENT_BROKEN


def test_stale_generation_is_noticed_before_the_next_statement(bench: Bench) -> None:
    """Goal: a verdict of an older policy, catalog or identity decides nothing."""
    bench.allow(b"select 1")
    for slot in (0, 1, 2):
        bench.relay.use_cache(bench.cache, False, bench.slots[2])
        bench.slots[slot] += 1
        relay, bench.relay = bench.relay, bench.session()
        assert bench.client(query(b"select 1"))[0] == STALE
        bench.slots[slot] -= 1
        bench.relay = relay


@pytest.mark.parametrize("cut", range(1, 60))
def test_split_reads_give_the_same_bytes(bench: Bench, cut: int) -> None:
    """Goal: where a read ends changes nothing, in either direction."""
    bench.allow(b"select 1")
    sent = query(b"select 1") + parse(b"n", b"select 1") + bind(b"", b"n") + execute() + SYNC
    answer = (
        message(b"T", b"\0\0") + message(b"D", b"\0\0") + done() + ready()
        + PARSED + BOUND + done() + ready()
    )  # fmt: skip
    server = b""
    for piece in (sent[:cut], sent[cut:]):
        server += bench.client(piece)[1] or b""
    assert kinds(server) == b"QPBES"
    out = b"".join(bench.relay.from_server(piece) or b"" for piece in (answer[:cut], answer[cut:]))
    assert kinds(out) == b"TDCZ12CZ"
    assert bench.relay.can_release


@pytest.mark.parametrize(
    "bad",
    [
        message(b"Q", b"no terminator"),
        message(b"Q", b"two\0strings\0"),
        message(b"P", b"\0"),
        message(b"P", b"\0select 1\0\0\1"),
        message(b"B", b"\0\0\0\1"),
        message(b"B", b"\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"),
        message(b"B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"),
        message(b"E", b"\0\0\0"),
        message(b"D", b"X\0"),
        message(b"C", b""),
        message(b"S", b"x"),
        message(b"p", b"again\0"),
        b"Q\xff\xff\xff\xff",
        b"Q\0\0\0\3",
        b"Q\x7f\xff\xff\xff",
        b"?\0\0\0\4",
        b"\0\0\0\x40\0\3\0\0user",
        b"S\0\0\1\0",
    ],
    ids=lambda data: data[:1].decode() + str(len(data)),
)
def test_malformed_messages_are_violations(bench: Bench, bad: bytes) -> None:
    """Goal: every malformed message ends the session, and nothing of it is forwarded."""
    action, server, _ = bench.client(bad)
    assert (action, server) == (VIOLATION, None)


def test_ddl_is_told_of_when_it_is_committed(bench: Bench) -> None:
    """Goal: not at the ReadyForQuery of the setup that went ahead of it."""
    bench.relay = bench.session(setup=b"SET ROLE x")
    bench.allow(b"create", ddl=True)
    bench.client(query(b"create"))
    bench.relay.from_server(message(b"C", b"SET\0") + ready())
    assert not bench.relay.events & EVENT_DDL
    bench.relay.from_server(done(b"CREATE TABLE") + ready())
    assert bench.relay.events & EVENT_DDL


def test_a_cancel_waits_for_the_settings(bench: Bench) -> None:
    """Goal: what it would hit is the role, and the statement behind would run without it."""
    bench.relay = bench.session(setup=b"SET ROLE x")
    bench.allow(b"select 1")
    bench.client(query(b"select 1"))
    link = bench.relay.link
    assert link is not None
    assert link.is_setting_up()
    link.cancel_waits = True
    bench.relay.from_server(message(b"C", b"SET\0"))
    assert link.is_setting_up()
    assert not bench.relay.events & Event.SET_UP
    bench.relay.from_server(ready())
    assert not link.is_setting_up()
    assert bench.relay.events & Event.SET_UP
    assert not link.cancel_waits
