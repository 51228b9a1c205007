"""Keep one address from taking all places of those who log in, and from guessing tokens.

Counted per worker. Tokens that were verified before are not held up: an agent behind the same
address as a guesser goes on.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from gateway.errors import TooManySessions
from gateway.limits import (
    LOGIN_FAILURES_ADDRESSES_MAX,
    LOGIN_FAILURES_BURST,
    LOGIN_FAILURES_PER_S,
    LOGINS_IN_PROGRESS_MAX,
    LOGINS_PER_ADDRESS_MAX,
)

_IPV6_BITS = 64  # what one subscriber is given


def address_of(peer: object) -> str:
    """Return what is counted together: an IPv4 address, an IPv6 network, all Unix sockets."""
    if not isinstance(peer, tuple):
        return ""
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return str(peer[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_BITS), strict=False))
    return str(address)


def peer_name(peer: object) -> str:
    """Return `peer` as records show it."""
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unix"


def is_local(peer: object) -> bool:
    """Return whether `peer` is on this machine."""
    return not isinstance(peer, tuple) or peer[0] == "::1" or peer[0].startswith("127.")


class Floods:
    """Who is logging in, and who failed lately, by address."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._waiting: Counter[str] = Counter()
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many are logging in."""
        return self._waiting.total()

    def enter(self, address: str) -> None:
        """Count a connection in; `leave` must follow. Raises TooManySessions over a bound."""
        self._waiting[address] += 1
        if self.waiting > LOGINS_IN_PROGRESS_MAX:
            raise TooManySessions("too many logins at once")
        if address and self._waiting[address] > LOGINS_PER_ADDRESS_MAX:
            raise TooManySessions("too many logins at once from this address")

    def leave(self, address: str) -> None:
        """Count it out."""
        self._waiting[address] -= 1
        if self._waiting[address] <= 0:
            del self._waiting[address]

    def failed(self, address: str) -> None:
        """Count a token that was not accepted."""
        self._failures[address] = (self._level(address) + 1, self._now())
        self._failures.move_to_end(address)
        if len(self._failures) > LOGIN_FAILURES_ADDRESSES_MAX:
            self._failures.popitem(last=False)

    def check(self, address: str) -> None:
        """Raise TooManySessions where too many tokens were wrong lately."""
        if address and self._level(address) >= LOGIN_FAILURES_BURST:
            raise TooManySessions("too many failed logins from this address")

    def _level(self, address: str) -> float:
        level, at = self._failures.get(address, (0.0, 0.0))
        return max(0.0, level - (self._now() - at) * LOGIN_FAILURES_PER_S)
