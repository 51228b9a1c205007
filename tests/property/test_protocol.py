"""Parsers of hostile bytes: a result or their one error, and parse after build is identity."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import NotGranted, ProtocolViolation, UpstreamError
from gateway.protocol.messages import (
    build_error,
    build_startup,
    filter_error,
    parse_error,
    parse_options,
    parse_startup,
    startup_packet_size,
)
from gateway.protocol.server_messages import MessageReader
from gateway.protocol.settings import StartupRefused, screen_startup

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(st.binary(max_size=200))
def test_parse_startup_is_total(data: bytes) -> None:
    """Goal: any bytes give a request or a ProtocolViolation, also behind a true length."""
    for packet in (data, (len(data) + 4).to_bytes(4, "big") + data):
        with contextlib.suppress(ProtocolViolation):
            parse_startup(packet)
        with contextlib.suppress(ProtocolViolation):
            startup_packet_size(packet)


@given(st.dictionaries(WORDS.filter(lambda name: name and not name.startswith("_pq_.")), WORDS))
def test_startup_round_trip(params: dict[str, str]) -> None:
    """Goal: every set of parameters without folded duplicates arrives as it was sent."""
    names = [name.lower() for name in params]
    if len(set(names)) != len(names) or "user" in names:
        return
    whole = {"user": "u", **params}
    assert parse_startup(build_startup(whole)).params == whole


@given(WORDS)
def test_parse_options_is_total(text: str) -> None:
    """Goal: any text gives settings or a ProtocolViolation."""
    with contextlib.suppress(ProtocolViolation):
        parse_options(text)


@given(st.dictionaries(WORDS, WORDS, max_size=5))
def test_screen_startup_is_total(params: dict[str, str]) -> None:
    """Goal: settings that pass are of the closed list; everything else is refused by class."""
    with contextlib.suppress(StartupRefused, ProtocolViolation):
        settings = screen_startup({"user": "u", **params}).settings
        assert not {"search_path", "role", "client_encoding"} & {name.lower() for name in settings}


@given(st.binary(max_size=300))
def test_error_readers_never_raise(data: bytes) -> None:
    """Goal: an error of any shape is read, and filtered into a readable one."""
    parse_error(data)
    assert {"S", "V", "C", "M"} <= set(parse_error(filter_error(data)))


@given(WORDS, st.sampled_from("MDHWqstcdnFLR"))
def test_filter_repeats_no_text(secret: str, letter: str) -> None:
    """Goal: no text field of the server survives, whatever its letter."""
    data = f"SERROR\0C22P02\0{letter}".encode() + secret.encode() + b"\0\0"
    out = filter_error(data)
    assert out == filter_error(b"SERROR\0C22P02\0\0")


@given(st.text(max_size=400), st.dictionaries(st.text(), st.text()))
def test_build_error_is_one_message(message: str, facts: dict[str, str]) -> None:
    """Goal: no message or fact can break the layout or exceed the first line's bound."""
    data = build_error(NotGranted(message, facts=facts))
    assert int.from_bytes(data[1:5], "big") == len(data) - 1
    fields = parse_error(data[5:])
    assert set(fields) <= {"S", "V", "C", "M", "D", "H"}
    assert len(fields["M"].encode()) <= 300


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_reader_does_not_care_where_reads_split(data: bytes, cuts: list[int]) -> None:
    """Goal: the same messages, or the same refusal, for every way the bytes arrive."""

    def read(parts: list[bytes]) -> list[object]:
        reader = MessageReader()
        seen: list[object] = []
        try:
            for part in parts:
                reader.feed(part)
                while (message := reader.next()) is not None:
                    seen.append(message)
        except UpstreamError:
            seen.append("refused")
        return seen

    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [data[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    assert read(parts) == read([data]) == read([bytes([byte]) for byte in data])
