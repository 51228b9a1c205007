"""A client that speaks bytes: what no driver would send, and exactly what came back."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self

PROTOCOL = 196608
SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
SYNC = b"S\0\0\0\4"
FLUSH = b"H\0\0\0\4"
Message = tuple[str, bytes]


def message(kind: str, payload: bytes = b"") -> bytes:
    return kind.encode() + (len(payload) + 4).to_bytes(4, "big") + payload


def startup(parameters: Mapping[str, str], protocol: int = PROTOCOL) -> bytes:
    body = protocol.to_bytes(4, "big")
    for name, value in parameters.items():
        body += name.encode() + b"\0" + value.encode() + b"\0"
    body += b"\0"
    return (len(body) + 4).to_bytes(4, "big") + body


def query(sql: str) -> bytes:
    return message("Q", sql.encode() + b"\0")


def parse(sql: str, name: str = "", types: tuple[int, ...] = ()) -> bytes:
    oids = b"".join(oid.to_bytes(4, "big") for oid in types)
    return message(
        "P", name.encode() + b"\0" + sql.encode() + b"\0" + len(types).to_bytes(2, "big") + oids
    )


def bind(
    values: tuple[str | None, ...] = (),
    *,
    portal: str = "",
    name: str = "",
    binary: bool = False,
) -> bytes:
    body = portal.encode() + b"\0" + name.encode() + b"\0\0\0" + len(values).to_bytes(2, "big")
    for value in values:
        if value is None:
            body += b"\xff\xff\xff\xff"
        else:
            body += len(value.encode()).to_bytes(4, "big") + value.encode()
    body += b"\0\1\0\1" if binary else b"\0\0"
    return message("B", body)


def describe(kind: str = "P", name: str = "") -> bytes:
    return message("D", kind.encode() + name.encode() + b"\0")


def execute(portal: str = "", rows: int = 0) -> bytes:
    return message("E", portal.encode() + b"\0" + rows.to_bytes(4, "big"))


def close(kind: str, name: str = "") -> bytes:
    return message("C", kind.encode() + name.encode() + b"\0")


def error_fields(payload: bytes) -> dict[str, str]:
    """Fields of an ErrorResponse or NoticeResponse."""
    return {
        chr(field[0]): field[1:].decode(errors="replace") for field in payload.split(b"\0") if field
    }


def row_cells(payload: bytes) -> list[bytes | None]:
    """Cells of a DataRow."""
    cells: list[bytes | None] = []
    position = 2
    for _ in range(int.from_bytes(payload[:2], "big")):
        size = int.from_bytes(payload[position : position + 4], "big", signed=True)
        position += 4
        cells.append(None if size < 0 else payload[position : position + size])
        position += max(size, 0)
    return cells


class WireClient:
    """One connection. Every read has a deadline, so a gateway that is silent fails the test."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", timeout_s: float = 10) -> None:
        self.socket: socket.socket = socket.create_connection((host, port), timeout_s)
        self._buffer = b""
        self.parameters: dict[str, str] = {}
        self.key = (0, b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def start_tls(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        self.send(SSL_REQUEST)
        assert self.socket.recv(1) == b"S"
        self.socket = context.wrap_socket(self.socket, server_hostname=name)

    def login(self, token: str, **parameters: str) -> list[Message]:
        """Log in to database `orders`; the messages up to ReadyForQuery."""
        self.send(startup({"user": "agent", "database": "orders"} | parameters))
        self.expect("R")
        self.send(message("p", token.encode() + b"\0"))
        answer = self.until_ready()
        for kind, payload in answer:
            if kind == "S":
                name, value = payload.rstrip(b"\0").split(b"\0")
                self.parameters[name.decode()] = value.decode()
            elif kind == "K":
                self.key = (int.from_bytes(payload[:4], "big"), payload[4:])
        return answer

    def read(self) -> Message | None:
        """The next message; None at the end of the connection."""
        while len(self._buffer) < 5 or len(self._buffer) < self._size():
            if not self._fill():
                assert not self._buffer, f"half a message: {self._buffer[:80]!r}"
                return None
        size = self._size()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return chr(taken[0]), taken[5:]

    def expect(self, kind: str) -> bytes:
        """The next message, which must be of `kind`."""
        got = self.read()
        assert got is not None, f"expected {kind}, got the end of the connection"
        assert got[0] == kind, f"expected {kind}, got {got}"
        return got[1]

    def until_ready(self) -> list[Message]:
        """Messages up to and including ReadyForQuery."""
        seen: list[Message] = []
        while not seen or seen[-1][0] != "Z":
            got = self.read()
            assert got is not None, f"the connection ended after {seen}"
            seen.append(got)
        return seen

    def until_end(self) -> list[Message]:
        """Messages up to the end of the connection, which must come."""
        seen: list[Message] = []
        while (got := self.read()) is not None:
            seen.append(got)
        return seen

    def ask(self, *parts: bytes) -> list[Message]:
        """Send, then read up to ReadyForQuery."""
        self.send(*parts)
        return self.until_ready()

    def is_quiet(self, seconds: float = 0.2) -> bool:
        """True when nothing arrives for so long."""
        if self._buffer:
            return False
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            return not self._fill() and False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(before)

    def _size(self) -> int:
        return 1 + int.from_bytes(self._buffer[1:5], "big")

    def _fill(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            # A close with our bytes unread comes as a reset; it is an end all the same.
            return False
        self._buffer += data
        return bool(data)


def errors(messages: list[Message]) -> list[dict[str, str]]:
    """The ErrorResponses among `messages`."""
    return [error_fields(payload) for kind, payload in messages if kind == "E"]


def rows(messages: list[Message]) -> list[list[bytes | None]]:
    """The rows among `messages`."""
    return [row_cells(payload) for kind, payload in messages if kind == "D"]


def kinds(messages: list[Message]) -> str:
    """The types of `messages`, as one word."""
    return "".join(kind for kind, _ in messages)
