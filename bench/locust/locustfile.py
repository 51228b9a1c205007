"""Agents as they behave: they think, ask, are refused, wait for a person, come and go.

Run by `python -m bench.locust.run`, or against a gateway of your own with the variables PGHOST,
PGPORT, PGDATABASE, PGUSER and PGPASSWORD set. An expected refusal is a success here; a statement
that is not refused when it should be is a failure.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import gevent  # type: ignore[import-untyped]  # its stubs are a package more
import httpx
import psycopg
from locust import User, between, task

READS = (
    "SELECT name, city FROM sales.people WHERE id = %s",
    "SELECT name, email, phone, ssn FROM sales.people WHERE id = %s",
    "SELECT item, amount FROM sales.orders WHERE person_id = %s ORDER BY placed",
)
REFUSED = {
    "SELECT employee, salary FROM sales.salaries": "PN301",
    "SELECT name FROM sales.people WHERE ssn LIKE '9%'": "PN307",
    "DELETE FROM sales.orders": "PN303",
}
HOLD_S = 2.0
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per approval helps nobody
_numbers = itertools.count(1_000_000)


class Agent(User):
    """What both kinds of agents do."""

    abstract = True
    wait_time = between(0.1, 1.0)
    connection: psycopg.Connection[Any] | None = None

    def connect(self) -> Any:
        return self.measured(
            "connect", lambda: psycopg.connect(autocommit=True, connect_timeout=10)
        )

    def measured(self, name: str, work: Callable[[], Any], expected: str = "") -> Any:
        """Run `work` and report it; `expected` is the id of the refusal that should come."""
        started, result = time.perf_counter(), None
        failure: Exception | None = None
        try:
            result = work()
            if expected:
                failure = AssertionError(f"not refused with {expected}")
        except psycopg.Error as error:
            if not expected or not str(error).startswith(expected):
                failure = error
        self.environment.events.request.fire(
            request_type="sql",
            name=name,
            response_time=(time.perf_counter() - started) * 1e3,
            response_length=0,
            exception=failure,
        )
        return result

    def read(self, connection: psycopg.Connection[Any]) -> None:
        number = next(_numbers) % 60 + 1
        sql = READS[number % len(READS)]
        self.measured("read", lambda: connection.execute(sql.encode(), (number,)).fetchall())

    def be_refused(self, connection: psycopg.Connection[Any]) -> None:
        sql, error = list(REFUSED.items())[next(_numbers) % len(REFUSED)]
        self.measured(f"refused {error}", lambda: connection.execute(sql.encode()), error)


class LongLived(Agent):
    """One connection for the whole life, transactions now and then."""

    weight = 3

    def on_start(self) -> None:
        self.connection = self.connect()

    def on_stop(self) -> None:
        if self.connection is not None:
            self.connection.close()

    @property
    def session(self) -> psycopg.Connection[Any]:
        if self.connection is None or self.connection.closed:
            self.connection = self.connect()
        return self.connection

    @task(20)
    def reads(self) -> None:
        self.read(self.session)

    @task(3)
    def is_refused(self) -> None:
        self.be_refused(self.session)

    @task(2)
    def works_in_a_transaction(self) -> None:
        connection = self.session

        def work() -> None:
            with connection.transaction():
                for number in range(3):
                    connection.execute(READS[0].encode(), (number,)).fetchall()

        self.measured("transaction", work)

    @task(1)
    def is_held(self) -> None:
        """A DELETE that needs a person: approved where a reviewer's token is at hand."""
        connection = self.session
        # A row that does not exist: many agents share the demo's few refunds.
        sql = f"DELETE FROM sales.refunds WHERE id = {next(_numbers)}".encode()
        notices: list[str] = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        person = gevent.spawn_later(HOLD_S / 4, _approve, notices)
        impatience = gevent.spawn_later(HOLD_S, connection.cancel_safe)
        reviewed = "POSTERN_REVIEWER_TOKEN" in os.environ
        name = "held, approved" if reviewed else "held, cancelled"
        expected = "" if reviewed else "PN309"
        try:
            self.measured(name, lambda: connection.execute(sql), expected)
        finally:
            gevent.killall([person, impatience])


class ShortLived(Agent):
    """A new connection for each question, as serverless agents make."""

    weight = 1

    @task(10)
    def asks_once(self) -> None:
        connection = self.connect()
        if connection is not None:
            with connection:
                self.read(connection)

    @task(1)
    def asks_in_vain(self) -> None:
        connection = self.connect()
        if connection is not None:
            with connection:
                self.be_refused(connection)


def _approve(notices: list[str]) -> None:
    """Be the reviewer, for the request that the notice names."""
    token = os.environ.get("POSTERN_REVIEWER_TOKEN")
    if not token or not notices:
        return
    request = notices[0].split()[2]  # "PN401 approval ID is pending, ..."
    httpx.post(
        f"{os.environ['POSTERN_URL']}/v1/approvals/{request}/approve",
        json={"comment": "by the load test"},
        headers={"authorization": f"Bearer {token}"},
        timeout=10,
        trust_env=False,
    )
