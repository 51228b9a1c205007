"""Many clients that send unique statements and remember which were answered.

Half speak through psycopg, half through asyncpg, all in one event loop on a thread of its own, so
a test can kill processes meanwhile. A client that loses its connection logs in again, as an agent
would, and says so.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import asyncpg
import psycopg

from tests.support.gateway import GatewayProcess

_PAUSE_S = 0.02
Ask = Callable[[str], Awaitable[Any]]


@dataclass
class Client:
    """What one client saw."""

    name: str
    answered: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    logins: int = 0
    worker: int = -1


class Load:
    """Use as a context manager: clients run inside it and have ended after it."""

    def __init__(self, gateway: GatewayProcess, count: int) -> None:
        self.clients = [Client(f"c{number}") for number in range(count)]
        self._gateway = gateway
        self._token = gateway.mint("load", ["agents"])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "a client hangs"

    @property
    def answered(self) -> list[str]:
        return [word for client in self.clients for word in client.answered]

    def all_answered_since(self, marks: list[int], count: int) -> bool:
        """Whether every client got `count` answers after `marks` were taken."""
        return all(
            len(client.answered) >= mark + count
            for client, mark in zip(self.clients, marks, strict=True)
        )

    def marks(self) -> list[int]:
        return [len(client.answered) for client in self.clients]

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number, client in enumerate(self.clients):
                live = self._psycopg if number % 2 else self._asyncpg
                tasks.create_task(self._live(client, live))

    async def _live(self, client: Client, live: Callable[[Client], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            try:
                async with asyncio.timeout(25):
                    await live(client)
            except (OSError, psycopg.OperationalError, asyncpg.PostgresConnectionError) as error:
                client.lost.append(f"{type(error).__name__}: {error}")
            except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                client.lost.append(f"{type(error).__name__}: {error}")
            await asyncio.sleep(0.1)

    async def _asyncpg(self, client: Client) -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self._gateway.port, user="agent", database="orders",
            password=self._token, ssl=False, timeout=10,
        )  # fmt: skip
        try:
            client.worker = connection.get_server_pid() >> 23
            await self._ask_on(client, connection.fetchval, asyncpg.PostgresError)
        finally:
            connection.terminate()

    async def _psycopg(self, client: Client) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._gateway.dsn(sslmode="disable", connect_timeout=10),
            password=self._token,
            autocommit=True,
        )

        async def ask(sql: str) -> Any:
            row = await (await connection.execute(sql.encode())).fetchone()
            return row and row[0]

        async with connection:
            client.worker = connection.info.backend_pid >> 23
            await self._ask_on(client, ask, psycopg.Error)

    async def _ask_on(self, client: Client, ask: Ask, failure: type[Exception]) -> None:
        client.logins += 1
        while not self._stop.is_set():
            word = f"{client.name}x{client.logins}x{len(client.answered)}x{len(client.refused)}"
            try:
                answer = await ask(f"select '{word}'")
            except failure as error:
                state = getattr(error, "sqlstate", None) or "08"
                if state.startswith("08") or state in {"57P01", "57P03", "53300"}:
                    raise
                client.refused.append(str(error))
            else:
                client.answered.append(word)
                if answer != word:
                    client.wrong.append(f"{word} got {answer}")
            await asyncio.sleep(_PAUSE_S)
