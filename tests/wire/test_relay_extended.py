"""The extended protocol in the session core: pipelines, prepared statements, portals, holds.

Method as in `test_relay.py`.
"""

from __future__ import annotations

from _fastpath.link import ServerLink
from _fastpath.statements import Verdict, VerdictCache
from tests.support.relay import (
    BOUND,
    DECIDE,
    FLUSH,
    HOLD,
    IDLE,
    PARSED,
    PN,
    REFUSE,
    STALE,
    SYNC,
    Bench,
    bind,
    done,
    execute,
    kinds,
    message,
    parse,
    query,
    ready,
    split,
)


def test_refused_parse_discards_to_sync(bench: Bench) -> None:
    """Goal: as PostgreSQL after an error: one ErrorResponse, silence, one ReadyForQuery."""
    bench.deny(b"drop")
    action, _, _ = bench.client(parse(b"", b"drop") + bind(b"", b"") + execute() + SYNC)
    assert action == REFUSE
    bench.relay.refuse(PN)
    action, server, client = bench.run()
    assert (action, server, kinds(client)) == (IDLE, None, b"EZ")


def test_refused_in_pipeline_aborts_what_came_before(bench: Bench) -> None:
    """Goal: the implicit transaction of a pipeline fails on the server."""
    bench.allow(b"insert", types=b"\0\0")
    bench.deny(b"drop")
    action, server, _ = bench.client(
        parse(b"", b"insert") + bind(b"", b"") + execute() + parse(b"", b"drop") + SYNC
    )
    assert (action, kinds(server)) == (REFUSE, b"PBE")
    bench.relay.refuse(PN)
    action, server, _ = bench.run()
    assert (action, kinds(server)) == (IDLE, b"PS")
    out = bench.relay.from_server(
        PARSED + BOUND + done(b"INSERT 0 1") + message(b"E", b"C42601\0\0") + ready()
    )
    assert kinds(out) == b"12CEZ"
    assert b"42501" in (out or b"")


def test_named_statement_moves_between_servers(bench: Bench) -> None:
    """Goal: one Parse per server connection, invisible to the client."""
    bench.allow(b"select 1")
    _, server, _ = bench.client(parse(b"mine", b"select 1") + SYNC)
    name = split(server)[0][1].split(b"\0")[0]
    assert name.startswith(b"pn_")
    assert kinds(bench.relay.from_server(PARSED + ready())) == b"1Z"
    bench.relay.detach()
    other = bench.link = ServerLink()
    _, server, _ = bench.client(bind(b"", b"mine") + execute() + SYNC)
    assert kinds(server) == b"PBES"
    assert split(server)[1][1].split(b"\0")[1] == name
    out = bench.relay.from_server(PARSED + BOUND + done() + ready())
    assert kinds(out) == b"2CZ"
    assert other.prepared_count == 1
    # Known on this connection now: bound without another Parse.
    _, server, _ = bench.client(bind(b"", b"mine") + execute() + SYNC)
    assert kinds(server) == b"BES"


def test_failed_parse_is_forgotten_in_a_pipeline(bench: Bench) -> None:
    """Goal: a name whose Parse failed does not exist, for client and server (pgx 1847)."""
    bench.allow(b"bad")
    _, server, _ = bench.client(parse(b"s", b"bad") + bind(b"", b"s") + execute() + SYNC)
    assert kinds(server) == b"PBES"
    out = bench.relay.from_server(message(b"E", b"C42P01\0\0") + ready())
    assert kinds(out) == b"EZ"
    assert bench.link.prepared_count == 0
    action, _, _ = bench.client(bind(b"", b"s"))
    assert action == REFUSE
    assert bench.relay.fault[0] == "26000"
    outcomes = [r["outcome"] for r in bench.records() if r["kind"] == "statement.result"]
    assert outcomes == ["skipped"]


def test_undescribed_execute_is_described_unseen(bench: Bench) -> None:
    """Goal: rows leave only under a checked description, also when the client asks for none."""
    bench.cache = VerdictCache(lambda *_: None, True, 0, 0)
    bench.relay.use_cache(bench.cache, False, 0)
    bench.allow(b"select 1")
    _, server, _ = bench.client(parse(b"", b"select 1") + bind(b"", b"") + execute() + SYNC)
    assert kinds(server) == b"PBDES"
    rows = message(b"T", b"\0\0") + message(b"D", b"\0\0") + done() + ready()
    assert kinds(bench.relay.from_server(PARSED + BOUND + rows)) == b"12DCZ"


def test_portal_bound_before_a_policy_change_is_decided_again(bench: Bench) -> None:
    """Goal: what was bound under the old policy does not run under the new one."""
    bench.allow(b"begin")
    bench.allow(b"select 1")
    bench.client(query(b"begin"))
    bench.relay.from_server(done(b"BEGIN") + ready(b"T"))
    bench.client(parse(b"", b"select 1") + bind(b"", b""))
    bench.relay.from_server(PARSED + BOUND)
    bench.slots[0] += 1
    assert bench.client(execute() + SYNC)[0] == STALE
    bench.cache = VerdictCache(lambda *_: None, False, 1, 0)
    bench.relay.use_cache(bench.cache, False, 0)
    bench.deny(b"select 1")
    action, server, _ = bench.run()
    assert (action, server) == (REFUSE, None)


def test_deallocate_by_sql_leaves_nothing_open(bench: Bench) -> None:
    """Goal: the gateway's own name is deallocated, and the connection can be released."""
    bench.allow(b"select 1")
    bench.allow(b"deallocate s", deallocate=b"s")
    bench.client(parse(b"s", b"select 1") + SYNC)
    bench.relay.from_server(PARSED + ready())
    _, server, _ = bench.client(query(b"deallocate s"))
    assert b"DEALLOCATE pn_" in (server or b"")
    assert kinds(bench.relay.from_server(done(b"DEALLOCATE") + ready())) == b"CZ"
    assert bench.relay.can_release
    assert bench.client(bind(b"", b"s"))[0] == REFUSE


def test_query_inside_an_open_pipeline_is_skipped_with_it(bench: Bench) -> None:
    """Goal: after an extended error the server ignores a Query until Sync too (PgDog 1356)."""
    bench.allow(b"bad", types=b"\0\0")
    bench.allow(b"select 1")
    bench.client(parse(b"", b"bad") + query(b"select 1"))
    assert kinds(bench.relay.from_server(message(b"E", b"C42601\0\0"))) == b"E"
    assert not bench.relay.can_release
    _, server, _ = bench.client(SYNC)
    assert kinds(server) == b"S"
    bench.relay.from_server(ready())
    assert bench.relay.can_release


def test_statement_to_approve_is_not_parsed_before(bench: Bench) -> None:
    """Goal: while a person thinks, the server holds neither the statement nor a lock."""
    verdict = Verdict(2, None, b"", once=True)
    action, _, _ = bench.client(parse(b"", b"delete") + bind(b"", b"") + execute() + SYNC)
    assert action == DECIDE
    bench.relay.answer(verdict)
    action, server, client = bench.run()
    assert (action, server, kinds(client)) == (DECIDE, None, b"1")
    bench.relay.answer(verdict)
    assert bench.run()[0] == HOLD
    assert not bench.relay.would_run_in_transaction
    bench.relay.allow_once(b"an-id", "token")
    action, server, _ = bench.run()
    assert (action, kinds(server)) == (IDLE, b"PBES")
    out = bench.relay.from_server(PARSED + BOUND + done(b"DELETE 1") + ready())
    assert kinds(out) == b"2CZ"
    assert bench.relay.finished == [("token", b"ok", 0)]


def test_pipeline_that_only_described_is_ended_for_a_hold(bench: Bench) -> None:
    """Goal: the same where the driver asked for a description first (asyncpg)."""
    bench.cache.add(b"delete", b"", Verdict(2, None, b""), by_fingerprint=False)
    describe = message(b"D", b"Ss\0")
    _, server, client = bench.client(parse(b"s", b"delete") + describe + FLUSH)
    assert kinds(server) == b"PDH"
    assert kinds(client) == b"1"
    out = bench.relay.from_server(PARSED + message(b"t", b"\0\0") + message(b"n"))
    assert kinds(out) == b"tn"
    action, _, _ = bench.client(bind(b"", b"s") + execute() + SYNC)
    assert action == HOLD
    assert not bench.relay.would_run_in_transaction
    bench.relay.end_pipeline()
    assert kinds(bench.relay.take_server()) == b"S"
    assert bench.relay.from_server(ready()) is None
    assert bench.link.is_idle()
