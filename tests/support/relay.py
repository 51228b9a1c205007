"""The compiled session core with scripted peers: what the tests of `tests/wire` build on."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

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
