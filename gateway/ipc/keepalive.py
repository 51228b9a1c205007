"""Notice peers that are gone without a word: hosts that lost power, paths that were cut."""

from __future__ import annotations

import socket
from typing import Final

_IDLE_S: Final = 60
_INTERVAL_S: Final = 10
_PROBES: Final = 6


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel probe the peer of a TCP socket, which it is then rid of in two minutes.

    On a listening socket it holds for every connection accepted there (Linux, tcp(7)).
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
