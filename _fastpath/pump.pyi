import asyncio
from typing import Any

from _fastpath.commit import CommitGate
from _fastpath.link import ServerLink
from _fastpath.plainsocket import Receiver
from _fastpath.relay import Relay

class PoolGate:
    waiting: int

class ServerPort(Receiver):
    link: ServerLink
    transport: asyncio.Transport
    holder: Any
    cancelling: int
    def __init__(self, transport: asyncio.Transport) -> None: ...
    @property
    def is_parked(self) -> bool: ...

class Pump(Receiver):
    relay: Relay
    transport: asyncio.Transport
    server: ServerPort | None
    gate: PoolGate
    task: asyncio.Task[None] | None
    ended: bool
    reads: int
    commit: CommitGate | None
    def flush(self) -> None: ...
    def pump(self) -> None: ...
