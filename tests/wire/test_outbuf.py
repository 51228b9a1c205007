"""The output buffer keeps order, and gives big allocations back."""

from __future__ import annotations

from _fastpath.outbuf import OutBuf

RETAINED = 262144


def test_take_returns_all_and_empties() -> None:
    buf = OutBuf()
    parts = [bytes([n % 256]) * n for n in range(0, 3000, 7)]
    for part in parts:
        buf.append_bytes(part)
    assert len(buf) == sum(map(len, parts))
    assert buf.take_bytes() == b"".join(parts)
    assert (len(buf), buf.take_bytes()) == (0, b"")


def test_keeps_a_small_allocation() -> None:
    buf = OutBuf()
    assert buf.allocated == 0
    buf.append_bytes(bytes(1000))
    held = buf.allocated
    buf.take_bytes()
    assert 1000 <= buf.allocated == held <= RETAINED


def test_gives_a_big_allocation_back() -> None:
    buf = OutBuf()
    buf.append_bytes(bytes(RETAINED + 1))
    buf.take_bytes()
    assert buf.allocated == 0
    buf.append_bytes(b"still works")
    assert buf.take_bytes() == b"still works"
