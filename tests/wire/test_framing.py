"""Message boundaries: compiled and reference must agree on every byte and every split."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from _fastpath import framing
from _fastpath.errors import FrameError
from tests.support import reference

Scan = Callable[[bytes, int], tuple[list[tuple[int, int]], int]]
LIMIT = 1 << 20
STREAM = b"".join(
    kind + struct.pack(">i", len(payload) + 4) + payload
    for kind, payload in [
        (b"Q", b"select 1\0"),
        (b"S", b""),
        (b"D", b"\0\1\xff\xff\xff\xff"),
        (b"D", bytes(300)),
        (b"D", b"\0\0"),
        (b"Z", b"I"),
    ]
)


@pytest.fixture(params=[framing.scan_frames, reference.scan_frames], ids=["compiled", "reference"])
def scan(request: pytest.FixtureRequest) -> Scan:
    found: Scan = request.param
    return found


def test_finds_every_message(scan: Scan) -> None:
    frames, rest = scan(STREAM, LIMIT)
    assert bytes(kind for kind, _ in frames) == b"QSDDDZ"
    assert frames[-1][1] == rest == len(STREAM)


def test_every_split_gives_a_prefix(scan: Scan) -> None:
    """Goal: a message is seen only when whole. Method: cut the stream at each offset."""
    whole, _ = scan(STREAM, LIMIT)
    for cut in range(len(STREAM) + 1):
        frames, rest = scan(STREAM[:cut], LIMIT)
        assert frames == [frame for frame in whole if frame[1] <= cut]
        assert rest == (frames[-1][1] if frames else 0)


@pytest.mark.parametrize("length", [-(2**31), -1, 0, 1, 3, LIMIT + 1, 2**31 - 1])
def test_refuses_bad_lengths_from_the_header_alone(scan: Scan, length: int) -> None:
    with pytest.raises(FrameError) as caught:
        scan(b"S\0\0\0\4Q" + struct.pack(">i", length), LIMIT)
    assert caught.value.offset == 5


@pytest.mark.parametrize("length", [4, 5, LIMIT])
def test_takes_lengths_on_the_bounds(scan: Scan, length: int) -> None:
    message = b"Q" + struct.pack(">i", length) + bytes(length - 4)
    assert scan(message, LIMIT) == ([(ord("Q"), length + 1)], length + 1)
    assert scan(message[:-1], LIMIT) == ([], 0)


def test_run_ends_at_another_type() -> None:
    start = STREAM.index(b"D")
    status, end, count = framing.scan_run(STREAM, start, ord("D"), LIMIT)
    assert (status, count, STREAM[end : end + 1]) == (1, 3, b"Z")


def test_run_ends_where_bytes_end() -> None:
    row = reference.build_row([b"x"])
    assert framing.scan_run(row * 3 + row[:-1], 0, ord("D"), LIMIT) == (0, 3 * len(row), 3)
    assert framing.scan_run(row * 3, 0, ord("D"), LIMIT) == (0, 3 * len(row), 3)


def test_run_stands_before_a_bad_length() -> None:
    row = reference.build_row([b"x"])
    assert framing.scan_run(row + b"D\0\0\0\3", 0, ord("D"), LIMIT) == (-1, len(row), 1)


def test_run_stops_at_its_count() -> None:
    row = reference.build_row([b"x"])
    assert framing.scan_run(row * 5, 0, ord("D"), LIMIT, 2) == (1, 2 * len(row), 2)
    assert framing.scan_run(row * 5, 0, ord("Z"), LIMIT) == (1, 0, 0)


@pytest.mark.parametrize("pos", [-1, 1])
def test_run_checks_its_start(pos: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        framing.scan_run(b"", pos, ord("D"), LIMIT)
