"""Messages the gateway itself writes, and the server errors it filters."""

from __future__ import annotations

import json
import struct

import pytest

from gateway.errors import (
    ERRORS,
    InvariantError,
    NotGranted,
    ProtocolViolation,
    StatementSyntax,
    TokenExpired,
    TokenInvalid,
)
from gateway.protocol import messages
from gateway.protocol.messages import build_error, filter_error, parse_error


def payload(message: bytes) -> bytes:
    assert struct.unpack("!I", message[1:5])[0] == len(message) - 1
    return message[5:]


def fields(message: bytes) -> dict[str, str]:
    return parse_error(payload(message))


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_every_error_id(name: str) -> None:
    """Goal: id first, fixed SQLSTATE and severity, DETAIL one line of JSON, no reason."""
    error = ERRORS[name]("what happened", facts={"table": "x\n\0y"}, reason="inner workings")
    read = fields(build_error(error))
    assert read["M"].startswith(f"{error.wire_id} ")
    assert (read["S"], read["V"], read["C"]) == (error.severity, error.severity, error.sqlstate)
    assert "\n" not in read["D"]
    detail = json.loads(read["D"])
    assert detail["id"] == error.wire_id
    assert detail["retry"] == error.retry
    assert b"inner workings" not in build_error(error)


def test_expired_and_invalid_look_alike() -> None:
    """Goal: the bytes on the wire are the same; only the audit knows."""
    assert build_error(TokenInvalid(reason="signature")) == build_error(TokenExpired(reason="old"))


def test_facts_cannot_replace_the_head_or_flood() -> None:
    """Goal: `id` and `retry` are ours; an oversized DETAIL is left out whole."""
    read = fields(build_error(NotGranted("x", facts={"id": "PN999", "retry": "later"})))
    assert json.loads(read["D"]) == {"id": "PN301", "retry": "never"}
    read = fields(build_error(NotGranted("x", facts={"list": ["y" * 100] * 100})))
    assert json.loads(read["D"])["facts"] == "omitted"
    assert fields(build_error(StatementSyntax("x", position=7)))["P"] == "7"


def test_notice() -> None:
    """Goal: hostile text stays one line and ends no field early."""
    read = fields(messages.build_notice("waits\0for\n approval", hint="a\0b"))
    assert read["S"] == "NOTICE"
    assert "\n" not in read["M"]


def test_builders() -> None:
    """Goal: bytes as the protocol documents them."""
    assert messages.build_auth_ok() == b"R\0\0\0\x08\0\0\0\0"
    assert messages.build_auth_cleartext() == b"R\0\0\0\x08\0\0\0\x03"
    assert messages.build_parameter_status("a", "b") == b"S\0\0\0\x08a\0b\0"
    assert messages.build_backend_key_data(2**32 - 1, b"abcd") == b"K\0\0\0\x0c\xff\xff\xff\xffabcd"
    assert messages.build_ready(b"I") == b"Z\0\0\0\x05I"
    assert messages.build_query("x") == b"Q\0\0\0\x06x\0"
    assert messages.build_terminate() == b"X\0\0\0\x04"
    version = messages.build_negotiate_version(messages.PROTOCOL_3_2, ["_pq_.a"])
    assert payload(version) == b"\0\3\0\2\0\0\0\1_pq_.a\0"
    row = payload(messages.build_data_row(["é", None, ""]))
    assert row == b"\0\3\0\0\0\2\xc3\xa9\xff\xff\xff\xff\0\0\0\0"
    column = payload(messages.build_row_description(["c"]))
    assert column == b"\0\1c\0" + bytes(6) + struct.pack("!ihih", 25, -1, -1, 0)
    assert payload(messages.build_command_complete("SHOW")) == b"SHOW\0"


@pytest.mark.parametrize(
    "build",
    [
        lambda: messages.build_query("a\0b"),
        lambda: messages.build_parameter_status("a", "b\0c"),
        lambda: messages.build_startup({"user": "a\0b"}),
        lambda: messages.build_password(b"a\0b"),
        lambda: messages.build_command_complete("\0"),
        lambda: messages.build_ready(b"X"),
        lambda: messages.build_backend_key_data(1, b"abc"),
    ],
)
def test_builders_refuse_to_split_a_field(build: object) -> None:
    """Goal: a NUL in a string is our bug, never a second field."""
    assert callable(build)
    with pytest.raises(InvariantError):
        build()


def test_password_layout() -> None:
    """Goal: exactly one string."""
    assert messages.parse_password(b"tok\0") == b"tok"
    assert messages.parse_password(b"\0") == b""
    for bad in (b"", b"tok", b"a\0b\0", b"a\0\0"):
        with pytest.raises(ProtocolViolation):
            messages.parse_password(bad)


SECRET = "alice@example.com"


@pytest.mark.parametrize("letter", list("MDHWqstcdnFLRXpZ"))
def test_filter_drops_every_text(letter: str) -> None:
    """Goal: no field, known or not, repeats a value."""
    raw = f"SERROR\0VERROR\0C22P02\0P12\0{letter}bad {SECRET}\0\0".encode()
    read = parse_error(filter_error(raw))
    assert SECRET not in str(read)
    assert read == {
        "S": "ERROR",
        "V": "ERROR",
        "C": "22P02",
        "P": "12",
        "M": "invalid text representation for the type",
    }


@pytest.mark.parametrize("letter", list("SVCP"))
def test_filter_checks_the_fields_it_keeps(letter: str) -> None:
    """Goal: a value does not hide in severity, SQLSTATE or position."""
    assert SECRET not in str(parse_error(filter_error(f"{letter}{SECRET}\0\0".encode())))


@pytest.mark.parametrize(
    "raw", [b"", b"\0", b"M", b"\0\0\0", b"S\xff\0\0", b"C12\0", bytes(range(256))]
)
def test_filter_never_raises(raw: bytes) -> None:
    """Goal: a malformed error becomes an error without details."""
    read = parse_error(filter_error(raw))
    assert set(read) >= {"S", "V", "C", "M"}


def test_filter_keeps_a_localised_severity_out() -> None:
    """Goal: the plain severity is used where the localised one is not English."""
    read = parse_error(filter_error(b"SFEHLER\0VERROR\0C40001\0Mx\0\0"))
    assert (read["S"], read["C"], read["M"]) == ("ERROR", "40001", "could not serialize access")
    assert parse_error(filter_error(b"C99zz1\0\0"))["C"] == "XX000"
    assert parse_error(filter_error(b"C99ZZ1\0\0"))["M"] == "error without details"


@pytest.mark.parametrize("raw", [b"", b"S", b"SERROR", b"SERROR\0Mx", b"\0", b"SERROR\0\0junk"])
def test_parse_error_never_raises(raw: bytes) -> None:
    """Goal: every field optional, any cut tolerated."""
    assert set(parse_error(raw)) <= {"S"}
