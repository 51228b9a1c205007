"""What a worker process hands to the session layer. Built by the process layer, used below it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Config
from gateway.ipc.epochs import Epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """Everything one worker needs to serve clients.

    `stop` is set once, when the worker must drain: take no new client, end idle ones with
    57P01, let a running transaction finish until `drain_s` have passed, then return.
    """

    config: Config
    worker_id: int
    generation: int  # counts the lives of this worker number, from 1
    sockets: tuple[socket.socket, ...]  # listening, non-blocking, shared by all workers
    epochs: Epochs
    data_dir: Path
    journal_path: Path
    stop: asyncio.Event
    ssl_context: ssl.SSLContext | None  # None: no certificate configured, plain text only
    drain_s: float
