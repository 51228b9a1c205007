"""Sessions and statements of one principal, over all workers; and what survives a crash."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.wireclient import SYNC, WireClient, bind, errors, execute, parse


def _open_all(stack: ExitStack, limited: GatewayProcess, subject: str, count: int) -> list[Any]:
    return [
        stack.enter_context(limited.connect(["sessions"], subject=subject)) for _ in range(count)
    ]


def test_sessions(limited: GatewayProcess) -> None:
    """Goal: 3 sessions, whichever workers take them; the 4th is told why. Others are not meant."""
    with ExitStack() as stack:
        first, *_ = _open_all(stack, limited, "one", 3)
        for _ in range(4):
            with pytest.raises(psycopg.OperationalError) as caught:
                limited.connect(["sessions"], subject="one")
            assert "PN106 this identity has 3 sessions open" in str(caught.value)
            assert 'rule "few-sessions"' in str(caught.value)
        _open_all(stack, limited, "another", 3)
        first.close()
        wait_until(lambda: _can_connect(stack, limited, "one"), 5, "a place becomes free")


def _can_connect(stack: ExitStack, limited: GatewayProcess, subject: str) -> bool:
    try:
        _open_all(stack, limited, subject, 1)
    except psycopg.OperationalError:
        return False
    return True


def test_a_killed_worker_frees_its_sessions(limited: GatewayProcess) -> None:
    with ExitStack() as stack:
        _open_all(stack, limited, "killed", 3)
        for pid in limited.pids("worker"):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: _can_connect(stack, limited, "killed"), 20, "the workers are back")


def test_statements_of_a_window(limited: GatewayProcess) -> None:
    """Goal: exactly 20 statements an hour, over sessions, workers and protocols."""
    ran = refused = 0
    for session in range(6):
        with WireClient(limited.port) as wire:
            wire.login(limited.mint("counted", ["windows"]))
            for number in range(5):
                if (session + number) % 2:
                    wire.send(parse("select 1"), bind(), execute(), SYNC)
                else:
                    wire.send(b"Q\0\0\0\x0dselect 1\0")
                failed = errors(wire.until_ready())
                if failed:
                    assert failed[0]["C"] == "53400"
                    assert failed[0]["M"].startswith("PN504 20 statements per 1h are used up")
                    assert "the next window begins at 20" in failed[0]["M"]
                    refused += 1
                else:
                    ran += 1
    assert (ran, refused) == (20, 10)


def test_asking_is_not_counted(limited: GatewayProcess) -> None:
    """An agent may ask for its rights and its budget when it has none left."""
    with limited.connect(["windows"], subject="asking") as connection:
        for _ in range(30):
            connection.execute("show postern.limits")
        for _ in range(20):
            connection.execute("select 1")
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded, match="PN504"):
            connection.execute("select 1")
        connection.execute("show postern.limits")


def test_refused_statements_are_not_counted(limited: GatewayProcess) -> None:
    with limited.connect(["windows"], subject="refused") as connection:
        for _ in range(5):
            with pytest.raises(psycopg.Error, match="PN30"):
                connection.execute("select * from hr.people")
        for _ in range(20):
            connection.execute("select 1")


def test_a_portal_counts_once(limited: GatewayProcess) -> None:
    with WireClient(limited.port) as wire:
        wire.login(limited.mint("portal", ["windows"]))
        sql = "select i from generate_series(1, 100) i"
        wire.send(parse(sql), bind(), *[execute(rows=1)] * 30, SYNC)
        assert errors(wire.until_ready()) == []
