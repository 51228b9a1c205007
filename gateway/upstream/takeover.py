"""Move a connection from the event loop's transport to compiled code, once it has settled.

Handshakes stay with the event loop, which knows TLS and time-outs. A plain connection that is
through with them is driven by `PlainSocket` from then on; one inside TLS keeps its transport.
"""

from __future__ import annotations

import asyncio
import os

from _fastpath.plainsocket import PlainSocket, Poller, Receiver


class _Gone(asyncio.Protocol):
    """What the old transport still talks to while it closes its own descriptor."""


def take_over(transport: asyncio.Transport, receiver: Receiver) -> asyncio.Transport:
    """Return the transport that `receiver` is served by from now on; it is paused.

    The caller has paused `transport`, and neither direction has bytes in between.
    """
    if transport.get_extra_info("ssl_object") is not None or transport.get_write_buffer_size():
        transport.set_protocol(receiver)  # type: ignore[arg-type]  # has what is called
        return transport
    known = {name: transport.get_extra_info(name) for name in ("peername", "sockname")}
    # A second descriptor of the same socket: closing the first closes no connection.
    descriptor = os.dup(transport.get_extra_info("socket").fileno())
    transport.set_protocol(_Gone())
    transport.abort()
    loop = asyncio.get_running_loop()
    return PlainSocket(loop, _poller_of(loop), descriptor, receiver, known)  # type: ignore[return-value]


_pollers: dict[asyncio.AbstractEventLoop, Poller] = {}


def _poller_of(loop: asyncio.AbstractEventLoop) -> Poller:
    """The poller of `loop`; a process has one loop, tests may have had earlier ones."""
    poller = _pollers.get(loop)
    if poller is None:
        _pollers.clear()
        poller = _pollers[loop] = Poller(loop)
    return poller
