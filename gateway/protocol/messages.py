"""Build and read the cold-path messages: startup, errors, and the gateway's own answers.

Sans-I/O. The relay of rows and statements never passes through here; what does is
small and rare, so it is plain Python. Every builder refuses a NUL inside a string: it
would end the field early and let its tail be read as another one.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from gateway.errors import ClientError, InvariantError, ProtocolViolation, clean_text
from gateway.protocol.error_filter import filter_error
from gateway.protocol.options import parse_options
from gateway.protocol.startup_packet import (
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    StartupKind,
    StartupRequest,
    parse_startup,
    startup_packet_size,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "PROTOCOL_3_0",
    "PROTOCOL_3_2",
    "StartupKind",
    "StartupRequest",
    "build_auth_cleartext",
    "build_auth_ok",
    "build_backend_key_data",
    "build_cancel",
    "build_command_complete",
    "build_data_row",
    "build_error",
    "build_message",
    "build_negotiate_version",
    "build_notice",
    "build_parameter_status",
    "build_password",
    "build_query",
    "build_ready",
    "build_row_description",
    "build_ssl_request",
    "build_startup",
    "build_terminate",
    "filter_error",
    "parse_error",
    "parse_options",
    "parse_password",
    "parse_startup",
    "startup_packet_size",
]

_CANCEL_CODE = 80877102
_SSL_CODE = 80877103
_TEXT_OID = 25
_DETAIL_BYTES_MAX = 4096
_HINT_BYTES_MAX = 1024


def build_message(kind: bytes, payload: bytes) -> bytes:
    """Return one typed message: type byte, length that counts itself, payload."""
    return kind + struct.pack("!I", len(payload) + 4) + payload


def _cstring(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    if b"\0" in data:
        raise InvariantError("a protocol string cannot hold a NUL byte")
    return data + b"\0"


# --- errors and notices ------------------------------------------------------------


def build_error(err: ClientError) -> bytes:
    """Return the ErrorResponse for `err`; its `reason` never goes on the wire."""
    fields = [("S", err.severity), ("V", err.severity), ("C", err.sqlstate), ("M", err.text())]
    fields.append(("D", _detail(err)))
    if err.hint:
        fields.append(("H", clean_text(err.hint, _HINT_BYTES_MAX)))
    if err.position is not None:
        fields.append(("P", str(err.position)))
    return build_message(b"E", _encode_fields(fields))


def build_notice(
    message: str,
    *,
    severity: str = "NOTICE",
    sqlstate: str = "00000",
    detail: str = "",
    hint: str = "",
) -> bytes:
    """Return a NoticeResponse with the gateway's own text."""
    fields = [("S", severity), ("V", severity), ("C", sqlstate), ("M", clean_text(message))]
    if detail:
        fields.append(("D", clean_text(detail, _DETAIL_BYTES_MAX)))
    if hint:
        fields.append(("H", clean_text(hint, _HINT_BYTES_MAX)))
    return build_message(b"N", _encode_fields(fields))


def _detail(err: ClientError) -> str:
    head: dict[str, object] = {"id": err.wire_id, "retry": err.retry}
    # ASCII output: control characters and lone surrogates arrive escaped, so the line stays
    # one. `head` twice: its keys come first, and no fact can stand in for them.
    detail = json.dumps({**head, **err.facts, **head}, default=str, separators=(",", ":"))
    if len(detail) > _DETAIL_BYTES_MAX:
        detail = json.dumps({**head, "facts": "omitted"}, separators=(",", ":"))
    return detail


def _encode_fields(fields: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(code.encode() + _cstring(value) for code, value in fields) + b"\0"


def parse_error(payload: bytes) -> dict[str, str]:
    """Return the fields of an ErrorResponse or NoticeResponse payload by type letter.

    Never raises: any field may be missing and the payload may end anywhere, since the server
    is hostile input too (CVE-2026-6666).
    """
    fields: dict[str, str] = {}
    pos = 0
    while pos < len(payload) and payload[pos] != 0:
        end = payload.find(b"\0", pos + 1)
        if end < 0:
            break
        fields.setdefault(chr(payload[pos]), payload[pos + 1 : end].decode(errors="replace"))
        pos = end + 1
    return fields


# --- to the client -------------------------------------------------------------------


def build_auth_cleartext() -> bytes:
    """Return AuthenticationCleartextPassword; the caller must be inside TLS."""
    return build_message(b"R", struct.pack("!I", 3))


def build_auth_ok() -> bytes:
    """Return AuthenticationOk."""
    return build_message(b"R", struct.pack("!I", 0))


def build_parameter_status(name: str, value: str) -> bytes:
    """Return one ParameterStatus."""
    return build_message(b"S", _cstring(name) + _cstring(value))


def build_backend_key_data(pid: int, secret: bytes) -> bytes:
    """Return BackendKeyData; a 3.0 client must be given exactly 4 secret bytes."""
    if not 4 <= len(secret) <= 256:
        raise InvariantError("a cancel secret has 4 to 256 bytes")
    return build_message(b"K", struct.pack("!I", pid) + secret)


def build_ready(status: bytes) -> bytes:
    """Return ReadyForQuery with transaction status `I`, `T` or `E`."""
    if status not in {b"I", b"T", b"E"}:
        raise InvariantError(f"no such transaction status: {status!r}")
    return build_message(b"Z", status)


def build_negotiate_version(version: int, options: Sequence[str]) -> bytes:
    """Return NegotiateProtocolVersion naming the version we speak and the options we do not."""
    payload = struct.pack("!II", version, len(options))
    return build_message(b"v", payload + b"".join(map(_cstring, options)))


def build_row_description(names: Sequence[str]) -> bytes:
    """Return the RowDescription of a gateway answer: text columns of no table."""
    payload = [struct.pack("!H", len(names))]
    payload += [
        _cstring(name) + struct.pack("!IhIhih", 0, 0, _TEXT_OID, -1, -1, 0) for name in names
    ]
    return build_message(b"T", b"".join(payload))


def build_data_row(values: Sequence[str | None]) -> bytes:
    """Return one DataRow of text cells; None is NULL."""
    payload = [struct.pack("!H", len(values))]
    for value in values:
        if value is None:
            payload.append(struct.pack("!i", -1))
        else:
            data = value.encode()
            payload.append(struct.pack("!i", len(data)) + data)
    return build_message(b"D", b"".join(payload))


def build_command_complete(tag: str) -> bytes:
    """Return CommandComplete with `tag`."""
    return build_message(b"C", _cstring(tag))


def parse_password(payload: bytes) -> bytes:
    """Return the secret of a PasswordMessage payload; raises ProtocolViolation on its layout."""
    if payload.find(b"\0") != len(payload) - 1 or not payload:
        raise ProtocolViolation("malformed password message", reason="password_layout")
    return payload[:-1]


# --- to the server -------------------------------------------------------------------


def build_query(sql: str | bytes) -> bytes:
    """Return a simple Query."""
    return build_message(b"Q", _cstring(sql))


def build_password(secret: bytes) -> bytes:
    """Return a PasswordMessage."""
    return build_message(b"p", _cstring(secret))


def build_startup(params: Mapping[str, str]) -> bytes:
    """Return a StartupMessage of protocol 3.0."""
    body = b"".join(_cstring(name) + _cstring(value) for name, value in params.items())
    return struct.pack("!II", len(body) + 9, PROTOCOL_3_0) + body + b"\0"


def build_ssl_request() -> bytes:
    """Return an SSLRequest."""
    return struct.pack("!II", 8, _SSL_CODE)


def build_cancel(pid: int, secret: bytes) -> bytes:
    """Return a CancelRequest; the secret's length is the protocol version's business."""
    return struct.pack("!III", 12 + len(secret), _CANCEL_CODE, pid) + secret


def build_terminate() -> bytes:
    """Return Terminate."""
    return build_message(b"X", b"")
