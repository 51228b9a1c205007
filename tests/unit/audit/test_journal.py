"""The ring: nothing unread is overwritten, nothing half-written is seen, nothing lost unsaid."""

from __future__ import annotations

import random
from pathlib import Path

import orjson
import pytest

from _fastpath.journal import Journal, JournalReader, RingDamaged, crc32c

HEADER = 65_536  # of the ring file


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "worker-0.ring")


def read_all(reader: JournalReader) -> list[tuple[int, bytes]]:
    batch = reader.read_batch(1 << 30)
    reader.release()
    return batch


@pytest.mark.parametrize("software", [False, True])
def test_crc_is_castagnoli(software: bool) -> None:
    assert crc32c(b"123456789", software=software) == 0xE3069283
    for size in range(40):
        data = random.Random(size).randbytes(size)
        assert crc32c(data) == crc32c(data, software=software)


def test_records_come_out_in_order_with_their_sequence(path: str) -> None:
    ring = Journal(path, 1)
    reader = JournalReader(path)
    assert all(ring.append(b"r%d" % n) for n in range(100))
    assert reader.read_batch(1 << 20) == [(n + 1, b"r%d" % n) for n in range(100)]
    assert reader.read_batch(1 << 20) == []


def test_nothing_unread_is_overwritten_and_full_is_said(path: str) -> None:
    """Goal: back-pressure, never a lost record. Method: fill, refuse, drain, go on, many times."""
    ring = Journal(path, 1)
    reader = JournalReader(path)
    rng, sent, got = random.Random(7), [], []
    for _ in range(300):
        while True:
            record = rng.randbytes(rng.randrange(0, 9_000))
            if not ring.append(record):
                break
            sent.append(record)
        assert ring.free_bytes() < 9_000 + 24
        got += [payload for _, payload in reader.read_batch(rng.randrange(1, 70_000))]
        reader.release()
    got += [payload for _, payload in read_all(reader)]
    assert got == sent
    assert ring.lag_bytes() == 0


def test_what_is_read_stays_until_released(path: str) -> None:
    ring = Journal(path, 1)
    reader = JournalReader(path)
    ring.append(b"x" * 60_000)
    assert len(reader.read_batch(1 << 20)) == 1
    assert not ring.append(b"y" * 60_000)
    assert JournalReader(path).read_batch(1 << 20)[0][1] == b"x" * 60_000
    reader.release()
    assert ring.append(b"y" * 60_000)
    assert read_all(reader) == [(2, b"y" * 60_000)]


def test_an_open_record_is_not_visible(path: str) -> None:
    ring = Journal(path, 1)
    reader = JournalReader(path)
    assert ring.append_json(b"{", 1, b"text", b"}", reserve=100, commit=False) == 0
    assert reader.read_batch(1 << 20) == []
    assert ring.append(b"next")
    assert read_all(reader) == [(1, b"next")]


def test_a_record_over_its_reservation_is_cut_refused_and_reported(path: str) -> None:
    """Goal: our own mistake in a reservation neither writes over unread bytes nor stays unsaid."""
    ring = Journal(path, 1)
    reader = JournalReader(path)
    assert ring.append_json(b'{"a":"', 12, b"text", b'"}', reserve=9) == -1
    assert reader.read_batch(1 << 20) == [(1, b'{"a":"12t')]
    damage = reader.take_damage()
    assert damage is not None
    assert damage[:3] == ("cut", 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        b"plain",
        b'quote " backslash \\ newline \n tab \t nul \0 del \x7f',
        "caf\u00e9 \u20ac \U0001f600".encode(),
        b"\xff\xc0\x80 \xed\xa0\x80 \xf5\x80\x80\x80 \xe2\x82",
        bytes(range(256)),
    ],
)
def test_text_becomes_a_valid_json_string(path: str, text: bytes) -> None:
    ring = Journal(path, 1 << 20)
    reader = JournalReader(path)
    assert ring.append_json(b'{"n":', -(2**63), b"", b"}", reserve=64) == 0
    assert ring.append_json(b'{"t":"', 0, text, b'"}', reserve=20 + 6 * len(text)) == 0
    (_, number), (_, record) = read_all(reader)
    assert orjson.loads(number) == {"n": -(2**63)}
    shown = orjson.loads(record)["t"][1:]
    if "\ufffd" not in text.decode("utf-8", "replace"):
        assert shown == text.decode()
    else:
        # One mark per byte that is not UTF-8, so that the length of the damage shows.
        assert shown.replace("\ufffd", "") == text.decode("utf-8", "ignore")


def test_one_producer_at_a_time(path: str) -> None:
    ring = Journal(path, 1)
    with pytest.raises(BlockingIOError):
        Journal(path, 1)
    del ring
    Journal(path, 1)


def test_a_restarted_producer_goes_on_where_the_last_stopped(path: str) -> None:
    ring = Journal(path, 1)
    assert ring.append(b"one")
    assert ring.append(b"two")
    ring_id = ring.ring_id
    del ring
    again = Journal(path, 1 << 20)
    assert again.ring_id == ring_id
    assert again.append(b"three")
    reader = JournalReader(path)
    assert read_all(reader) == [(1, b"one"), (2, b"two"), (3, b"three")]
    del again
    # Everything read: the sequence comes from the header now.
    last = Journal(path, 1)
    assert last.append(b"four")
    assert read_all(reader) == [(4, b"four")]


def test_the_sequence_survives_a_kill_between_the_two_stores(path: str) -> None:
    """Goal: no sequence is used twice. Method: put the advisory counter back, as such a kill does."""
    ring = Journal(path, 1)
    ring.append_many(b"record", 5)
    del ring
    with Path(path).open("r+b") as file:
        file.seek(136)
        file.write((5).to_bytes(8, "little"))
    again = Journal(path, 1)
    again.append(b"sixth")
    reader = JournalReader(path)
    assert [sequence for sequence, _ in read_all(reader)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("at", [0, 2, 4, 8, 16, 20])
def test_a_damaged_record_is_skipped_and_reported(path: str, at: int) -> None:
    """Goal: damage costs what it hit and is said. Method: change length, CRC, sequence, payload."""
    ring = Journal(path, 1)
    ring.append_many(b"record-of-24-bytes------", 5)
    del ring
    with Path(path).open("r+b") as file:
        file.seek(HEADER + 2 * 40 + at)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0x41]))
    reader = JournalReader(path, 1)
    assert [sequence for sequence, _ in reader.read_batch(1 << 20)] == [1, 2]
    assert reader.take_damage() == ("damaged", 3, 3, 80, 40)
    assert [sequence for sequence, _ in reader.read_batch(1 << 20)] == [4, 5]
    assert reader.take_damage() is None


def test_a_jump_in_the_sequence_is_reported(path: str) -> None:
    ring = Journal(path, 1)
    ring.append_many(b"record", 5)
    reader = JournalReader(path, 1)
    assert len(reader.read_batch(1)) == 1
    reader.release()
    late = JournalReader(path, 1)  # somebody else released what we never stored
    assert late.read_batch(1 << 20) == []
    assert late.take_damage() == ("missing", 1, 1, 24, 0)
    assert [sequence for sequence, _ in late.read_batch(1 << 20)] == [2, 3, 4, 5]


def test_a_reader_skips_what_is_stored_already(path: str) -> None:
    Journal(path, 1).append_many(b"record", 5)
    assert [s for s, _ in JournalReader(path, 4).read_batch(1 << 20)] == [4, 5]


@pytest.mark.parametrize("at", [0, 8, 16, 24, 32])
def test_a_damaged_header_is_no_ring(path: str, at: int) -> None:
    Journal(path, 1)
    with Path(path).open("r+b") as file:
        file.seek(at)
        before = file.read(1)
        file.seek(at)
        file.write(bytes([before[0] ^ 0x77]))
    with pytest.raises(RingDamaged, match="ring"):
        Journal(path, 1)
    with pytest.raises(RingDamaged, match="ring"):
        JournalReader(path)


def test_a_reservation_that_can_never_fit_is_refused(path: str) -> None:
    ring = Journal(path, 1)
    assert ring.append_json(b"", 0, b"", b"", reserve=HEADER) == -1
    assert ring.append_json(b"", 0, b"", b"", reserve=-1) == -1
    assert ring.append_json(b"", 0, b"", b"", reserve=1 << 40) == -1
    assert ring.append_json(b"", 0, b"", b"", reserve=HEADER - 16) == 0
