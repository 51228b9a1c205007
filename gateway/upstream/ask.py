"""Ask a server one thing, with bound values exactly as a client sent them.

For the gateway's own questions beside the data path: what a held statement would do. The server is
a stranger as everywhere: rows, bytes and time are bounded, and every surprise is an UpstreamError.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from gateway.errors import InvariantError, UpstreamError
from gateway.protocol.messages import build_message, build_query, build_terminate, parse_error
from gateway.protocol.server_messages import refuse
from gateway.upstream.dial import ServerLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.upstream.dial import DialedConnection

ROWS_MAX: Final = 2_000
_MESSAGES_MAX: Final = 20_000
_SYNC: Final = build_message(b"S", b"")

Value = tuple[int, int, bytes | None]  # type OID, format, value as the client sent it
Row = tuple[str | None, ...]


class ServerRefused(UpstreamError):
    """The server answered with an error; `sqlstate` and `text` are its own."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(fields.get("M", ""), sqlstate=fields.get("C", ""))
        self.text = fields.get("M", "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one statement gave: at most ROWS_MAX rows in text, and the command tag."""

    rows: list[Row]
    tag: str

    @property
    def affected(self) -> int:
        """How many rows the command tag speaks of; -1 when it does not."""
        last = self.tag.rpartition(" ")[2]
        return int(last) if last.isascii() and last.isdigit() else -1


class Asker:
    """Questions to one server over one connection. Not for use by two tasks."""

    def __init__(self, dialed: DialedConnection) -> None:
        self._dialed = dialed
        self._transport = dialed.transport
        self._link = cast("ServerLink", dialed.transport.get_protocol())
        cast("asyncio.ReadTransport", self._transport).resume_reading()

    @property
    def server_version(self) -> int:
        """As server_version_num."""
        return self._dialed.server_version

    def close(self) -> None:
        """End the connection; what runs on it is cancelled by the server's own time-outs."""
        if not self._transport.is_closing():
            self._transport.write(build_terminate())
        self._transport.close()

    async def run(self, *texts: str) -> None:
        """Run our own statements one by one; raises ServerRefused."""
        for text in texts:
            self._transport.write(build_query(text))
            await self._answer()

    async def ask(self, sql: bytes, values: Sequence[Value] = ()) -> Answer:
        """Run exactly one statement with `values` bound to it; rows come back as text.

        Never by the simple protocol: the server then refuses a text of two statements.
        Raises ServerRefused.
        """
        if b"\0" in sql:
            raise InvariantError("a statement cannot hold a NUL byte")
        types = b"".join(struct.pack("!I", oid) for oid, _, _ in values)
        formats = b"".join(struct.pack("!H", form) for _, form, _ in values)
        count = struct.pack("!H", len(values))
        cells = b"".join(
            struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
            for _, _, value in values
        )
        self._transport.write(
            build_message(b"P", b"\0" + sql + b"\0" + count + types)
            + build_message(b"B", b"\0\0" + count + formats + count + cells + b"\0\1\0\0")
            + build_message(b"E", b"\0" + struct.pack("!I", ROWS_MAX))
            + _SYNC
        )
        return await self._answer()

    async def _answer(self) -> Answer:
        rows: list[Row] = []
        tag, refused = "", None
        for _ in range(_MESSAGES_MAX):
            kind, payload = await self._link.read_message()
            if kind == b"Z":
                break
            if kind == b"D" and len(rows) < ROWS_MAX:
                rows.append(_cells(payload))
            elif kind == b"C":
                tag = payload.rstrip(b"\0").decode(errors="replace")
            elif kind == b"E":
                refused = ServerRefused(parse_error(payload))
            elif kind in {b"G", b"W", b"H"}:
                refuse("the server began a COPY nobody asked for")
        else:
            refuse("the server's answer does not end")
        if refused is not None:
            raise refused
        return Answer(rows, tag)


def _cells(payload: bytes) -> Row:
    try:
        (count,) = struct.unpack_from("!H", payload)
        pos, cells = 2, list[str | None]()
        for _ in range(count):
            (size,) = struct.unpack_from("!i", payload, pos)
            pos += 4
            if size > len(payload) - pos:
                refuse("the server sent a row that ends too early")
            cells.append(None if size < 0 else payload[pos : pos + size].decode(errors="replace"))
            pos += max(size, 0)
    except struct.error:
        refuse("the server sent a malformed row")
    return tuple(cells)
