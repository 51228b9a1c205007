"""OAUTHBEARER messages: one form is a token, one asks for discovery, the rest is refused."""

from __future__ import annotations

import json
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ProtocolViolation
from gateway.protocol.oauthbearer import (
    build_auth_sasl,
    build_discovery,
    check_dummy_response,
    parse_initial_response,
)


def initial(response: bytes, *, name: bytes = b"OAUTHBEARER", size: int | None = None) -> bytes:
    declared = len(response) if size is None else size
    return name + b"\0" + struct.pack("!i", declared) + response


def test_the_token_is_found() -> None:
    for head in (b"n,,", b"y,,"):
        for scheme in (b"Bearer ", b"bearer ", b"BEARER  "):
            payload = initial(head + b"\x01auth=" + scheme + b"a.b.c\x01\x01")
            assert parse_initial_response(payload) == b"a.b.c"


def test_an_empty_one_asks_for_discovery() -> None:
    assert parse_initial_response(initial(b"n,,\x01auth=\x01\x01")) == b""


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"OAUTHBEARER",
        b"OAUTHBEARER\0",
        b"OAUTHBEARER\0\0\0",
        initial(b"n,,\x01auth=Bearer t\x01\x01", name=b"SCRAM-SHA-256"),
        initial(b"n,,\x01auth=Bearer t\x01\x01", name=b"oauthbearer"),
        initial(b"n,,\x01auth=Bearer t\x01\x01", size=-1),
        initial(b"n,,\x01auth=Bearer t\x01\x01", size=3),
        initial(b"n,,\x01auth=Bearer t\x01\x01", size=2**31 - 1),
        initial(b""),
        initial(b"n,,"),
        initial(b"n,,\x01"),
        initial(b"n,,\x01\x01"),
        initial(b"n,,\x01auth=Bearer t\x01"),
        initial(b"n,,auth=Bearer t\x01\x01"),
        initial(b"p=tls-unique,,\x01auth=Bearer t\x01\x01"),
        initial(b"n,a=root,\x01auth=Bearer t\x01\x01"),
        initial(b"n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01"),
        initial(b"n,,\x01host=h\x01auth=Bearer t\x01\x01"),
        initial(b"n,,\x01auth=Basic t\x01\x01"),
        initial(b"n,,\x01auth=Bearer\x01\x01"),
        initial(b"n,,\x01auth=Bearer t\0\x01\x01"),
    ],
)
def test_everything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_initial_response(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_token_or_a_violation(response: bytes) -> None:
    with suppress(ProtocolViolation):
        parse_initial_response(initial(response))


def test_discovery_names_the_document() -> None:
    message = build_discovery("https://idp.example/", "openid groups")
    assert message[:1] == b"R"
    assert message[5:9] == struct.pack("!I", 11)
    assert json.loads(message[9:]) == {
        "status": "invalid_token",
        "scope": "openid groups",
        "openid-configuration": "https://idp.example/.well-known/openid-configuration",
    }
    assert "openid-configuration" not in json.loads(build_discovery("", "openid")[9:])


def test_the_offer_and_the_dummy() -> None:
    assert build_auth_sasl() == b"R\0\0\0\x15\0\0\0\x0aOAUTHBEARER\0\0"
    check_dummy_response(b"\x01")
    for wrong in (b"", b"\x01\x01", b"x"):
        with pytest.raises(ProtocolViolation):
            check_dummy_response(wrong)
