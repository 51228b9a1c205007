"""The compiled session core against scripted peers: order, refusals, prepared statements, COPY.

Method: messages are fed as bytes, verdicts are put into the cache beforehand, and what the relay
gives for the client and for the server is compared as message types and payloads.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from _fastpath.counts import Counts
from _fastpath.journal import Journal, JournalReader
from _fastpath.link import ServerLink
from _fastpath.relay import Relay
from _fastpath.statements import Verdict, VerdictCache

IDLE, DECIDE, ATTACH, HOLD, JOURNAL, REFUSE, TERMINATE, VIOLATION, BACKLOG, STALE = range(10)
EVENT_IDLE, EVENT_DDL, EVENT_BROKEN = 1, 2, 16
PN = b"E\0\0\0\x0cC42501\0\0"


def message(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(payload) + 4) + payload


def query(sql: bytes) -> bytes:
    return message(b"Q", sql + b"\0")


def parse(name: bytes, sql: bytes) -> bytes:
    return message(b"P", name + b"\0" + sql + b"\0\0\0")


def bind(portal: bytes, name: bytes, values: bytes = b"\0\0") -> bytes:
    return message(b"B", portal + b"\0" + name + b"\0\0\0" + values + b"\0\0")


def execute(portal: bytes = b"") -> bytes:
    return message(b"E", portal + b"\0\0\0\0\0")


SYNC, FLUSH = message(b"S"), message(b"H")
PARSED, BOUND = message(b"1"), message(b"2")


def done(tag: bytes = b"SELECT 1") -> bytes:
    return message(b"C", tag + b"\0")


def ready(status: bytes = b"I") -> bytes:
    return message(b"Z", status)


def split(data: bytes | None) -> list[tuple[bytes, bytes]]:
    messages, data = [], data or b""
    while data:
        size = int.from_bytes(data[1:5], "big")
        messages.append((data[:1], data[5 : size + 1]))
        data = data[size + 1 :]
    return messages


def kinds(data: bytes | None) -> bytes:
    return b"".join(kind for kind, _ in split(data))


@dataclass
class Bench:
    """A relay with its journal, cache and link."""

    path: Path
    epochs: list[int] = field(default_factory=lambda: [0] * 4)

    def __post_init__(self) -> None:
        self.slots = memoryview(bytearray(64)).cast("q")
        self.metrics = memoryview(bytearray(8 * 64)).cast("q")
        self.counts = Counts(self.metrics, (0, 1, 2, 3), 4, 5, 6, (0.001, 1.0))
        self.journal = Journal(str(self.path / "ring"), 1 << 20)
        self.cache = VerdictCache(lambda *_: None, False, 0, 0)
        self.relay = self.session()
        self.link = ServerLink()

    def session(self, setup: bytes = b"") -> Relay:
        relay = Relay(
            self.journal,
            self.slots,
            self.counts,
            principal="agent",
            setup=setup,
            intent_prefix=b'{"v":1,"kind":"statement.intent"',
            result_prefix=b'{"v":1,"kind":"statement.result"',
            error_filter=lambda kind, payload: message(bytes([kind]), b"filtered"),
            status_observer=lambda payload: True,
        )
        relay.use_cache(self.cache, False, 0)
        return relay

    def allow(self, sql: bytes, types: bytes = b"", **how: Any) -> None:
        decision = SimpleNamespace(statements=())
        self.cache.add(sql, types, Verdict(0, decision, b"", **how), by_fingerprint=False)

    def deny(self, sql: bytes) -> None:
        self.cache.add(sql, b"", Verdict(1, None, b""), by_fingerprint=False)

    def client(self, data: bytes) -> tuple[int, bytes | None, bytes | None]:
        """Feed `data`; attach when asked; (action, to server, to client)."""
        self.relay.feed(data)
        return self.run()

    def run(self) -> tuple[int, bytes | None, bytes | None]:
        server, client = b"", b""
        while True:
            action = self.relay.advance()
            server += self.relay.take_server() or b""
            client += self.relay.take_client() or b""
            if action != ATTACH:
                return action, server or None, client or None
            self.relay.attach(self.link)

    def records(self) -> list[dict[str, Any]]:
        reader = JournalReader(str(self.path / "ring"))
        return [orjson.loads(payload) for _, payload in reader.read_batch(1 << 20)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A fresh relay."""
    return Bench(tmp_path)


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


def test_undescribed_execute_is_described_unseen(bench: Bench) -> None:
    """Goal: rows leave only under a checked description, also when the client asks for none."""
    bench.cache = VerdictCache(lambda *_: None, True, 0, 0)
    bench.relay.use_cache(bench.cache, False, 0)
    bench.allow(b"select 1")
    _, server, _ = bench.client(parse(b"", b"select 1") + bind(b"", b"") + execute() + SYNC)
    assert kinds(server) == b"PBDES"
    rows = message(b"T", b"\0\0") + message(b"D", b"\0\0") + done() + ready()
    assert kinds(bench.relay.from_server(PARSED + BOUND + rows)) == b"12DCZ"


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


def test_ddl_is_told_of_when_it_is_committed(bench: Bench) -> None:
    """Goal: not at the ReadyForQuery of the setup that went ahead of it."""
    bench.relay = bench.session(setup=b"SET ROLE x")
    bench.allow(b"create", ddl=True)
    bench.client(query(b"create"))
    bench.relay.from_server(message(b"C", b"SET\0") + ready())
    assert not bench.relay.events & EVENT_DDL
    bench.relay.from_server(done(b"CREATE TABLE") + ready())
    assert bench.relay.events & EVENT_DDL
