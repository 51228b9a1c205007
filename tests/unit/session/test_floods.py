"""Floods: one address takes neither all places nor all guesses."""

from __future__ import annotations

import pytest

from gateway.errors import TooManySessions
from gateway.limits import (
    LOGIN_FAILURES_ADDRESSES_MAX,
    LOGIN_FAILURES_BURST,
    LOGINS_IN_PROGRESS_MAX,
    LOGINS_PER_ADDRESS_MAX,
)
from gateway.session.floods import Floods, address_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_one_address_leaves_places_for_others() -> None:
    floods = Floods()
    for _ in range(LOGINS_PER_ADDRESS_MAX):
        floods.enter("10.0.0.1")
    with pytest.raises(TooManySessions):
        floods.enter("10.0.0.1")
    floods.leave("10.0.0.1")
    floods.enter("10.0.0.2")
    floods.leave("10.0.0.1")
    floods.enter("10.0.0.1")


def test_all_together_are_bounded() -> None:
    floods = Floods()
    for number in range(LOGINS_IN_PROGRESS_MAX):
        floods.enter(f"10.0.{number >> 8}.{number & 255}")
    with pytest.raises(TooManySessions):
        floods.enter("10.9.9.9")
    for number in range(LOGINS_IN_PROGRESS_MAX):
        floods.leave(f"10.0.{number >> 8}.{number & 255}")
    floods.leave("10.9.9.9")
    assert floods.waiting == 0


def test_guessing_waits_and_is_forgotten() -> None:
    clock = Clock()
    floods = Floods(clock)
    for _ in range(int(LOGIN_FAILURES_BURST)):
        floods.check("10.0.0.1")
        floods.failed("10.0.0.1")
    with pytest.raises(TooManySessions):
        floods.check("10.0.0.1")
    floods.check("10.0.0.2")
    clock.now += 1.0
    floods.check("10.0.0.1")


def test_what_is_remembered_is_bounded() -> None:
    floods = Floods(Clock())
    for number in range(LOGIN_FAILURES_ADDRESSES_MAX + 10):
        floods.failed(str(number))
    assert len(floods._failures) == LOGIN_FAILURES_ADDRESSES_MAX


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("10.0.0.1", 5), "10.0.0.1"),
        (("::ffff:10.0.0.1", 5, 0, 0), "10.0.0.1"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        ("", ""),
        (None, ""),
    ],
)
def test_what_counts_together(peer: object, address: str) -> None:
    assert address_of(peer) == address
