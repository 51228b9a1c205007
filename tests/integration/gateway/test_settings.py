"""Settings belong to a session, whichever server connection it gets, and to no other session.

One worker and two server connections. A session is moved to the other connection by a second
session of the same agent that keeps the first one busy.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess
from tests.support.stands import EMBEDDED, Stands, own_directory
from tests.support.wireclient import (
    SYNC,
    WireClient,
    bind,
    errors,
    execute,
    kinds,
    parse,
    query,
    rows,
)

SHOW = "select current_setting('timezone')"


@pytest.fixture(scope="module")
def pair(stands: Stands) -> Iterator[GatewayProcess]:
    with (
        own_directory() as directory,
        GatewayProcess(
            stands.cluster(EMBEDDED), Path(directory), workers=1, sections="[pool]\nsize = 2"
        ) as gateway,
    ):
        yield gateway


@contextmanager
def logged_in(
    gateway: GatewayProcess, who: str = "agent-1", **startup: str
) -> Iterator[WireClient]:
    with WireClient(gateway.port) as client:
        client.login(gateway.mint(who, ["agents"]), **startup)
        yield client


def value(client: WireClient, sql: str = SHOW) -> str:
    ((found,),) = rows(client.ask(query(sql)))
    assert found is not None
    return found.decode()


def backend(client: WireClient) -> str:
    return value(client, "select pg_backend_pid()")


@contextmanager
def elsewhere(gateway: GatewayProcess, client: WireClient) -> Iterator[str]:
    """Have `client` run on another connection than before, for the time of the context."""
    before = backend(client)
    with logged_in(gateway) as one, logged_in(gateway) as two:
        # Both connections are taken, then the one it did not have comes back.
        one.ask(query("begin"))
        two.ask(query("begin"))
        mine, other = (one, two) if backend(one) == before else (two, one)
        assert backend(mine) == before
        other.ask(query("commit"))
        after = backend(client)
        assert after != before
        yield after
        mine.ask(query("commit"))


SET_BY = {
    "simple": [query("set timezone to 'Asia/Tokyo'")],
    "equals": [query("SET TIMEZONE = 'Asia/Tokyo'")],
    "time zone": [query("set time zone 'Asia/Tokyo'")],
    "extended": [parse("set timezone to 'Asia/Tokyo'"), bind(), execute(), SYNC],
    "string of two": [query("select 1; set timezone to 'Asia/Tokyo'")],
    "block": [query("begin"), query("set timezone to 'Asia/Tokyo'"), query("commit")],
    "block in a string": [query("begin; set timezone to 'Asia/Tokyo'; commit; select 1 / 0")],
    "twice": [query("set timezone to 'UTC'"), query("set timezone to 'Asia/Tokyo'")],
    "after a rollback": [
        query("begin; set timezone to 'UTC'; rollback; set timezone to 'Asia/Tokyo'")
    ],
}


def send_all(client: WireClient, parts: list[bytes]) -> None:
    """Each part that owes a ReadyForQuery is waited for."""
    for part in parts:
        client.send(part)
        if part[:1] in {b"Q", b"S"}:
            client.until_ready()


@pytest.mark.parametrize("how", SET_BY)
def test_follows_the_session(pair: GatewayProcess, how: str) -> None:
    with logged_in(pair) as client:
        send_all(client, SET_BY[how])
        assert value(client) == "Asia/Tokyo"
        with elsewhere(pair, client), logged_in(pair) as another:
            assert value(client) == "Asia/Tokyo"
            assert value(another) != "Asia/Tokyo"
            assert value(client) == "Asia/Tokyo"
    with logged_in(pair) as later, logged_in(pair) as last:
        later.ask(query("begin"))
        assert {value(later), value(last)} <= {"GMT", "Etc/UTC", "UTC"}
        later.ask(query("commit"))


NOT_SET_BY = {
    "rolled back": [query("begin; set timezone to 'Asia/Tokyo'; rollback")],
    "failed block": [
        query("begin"), query("set timezone to 'Asia/Tokyo'"), query("select 1 / 0"), query("commit"),
    ],
    "failed string": [query("set timezone to 'Asia/Tokyo'; select 1 / 0")],
    "failed pipeline": [
        parse("set timezone to 'Asia/Tokyo'") + bind() + execute()
        + parse("select 1 / 0") + bind() + execute() + SYNC,
        query("select 1"),
    ],
    "local": [query("begin; set local timezone to 'Asia/Tokyo'; commit")],
    "no such zone": [query("set timezone to 'Asia/Nowhere'")],
    "reset": [query("set timezone to 'Asia/Tokyo'"), query("reset timezone")],
    "default": [query("set timezone to 'Asia/Tokyo'"), query("set timezone to default")],
    "reset all": [query("set timezone to 'Asia/Tokyo'"), query("reset all")],
    "discard all": [query("set timezone to 'Asia/Tokyo'"), query("discard all")],
    "commit of a failed block": [
        query("begin; set timezone to 'Asia/Tokyo'; select 1 / 0"), query("commit"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("how", NOT_SET_BY)
def test_gone_with_its_transaction(pair: GatewayProcess, how: str) -> None:
    """The startup packet's value is what is left, here and on the other connection."""
    with logged_in(pair, TimeZone="Europe/Oslo") as client:
        for part in NOT_SET_BY[how]:
            client.ask(part)
        assert value(client) == "Europe/Oslo"
        with elsewhere(pair, client):
            assert value(client) == "Europe/Oslo"
        assert value(client) == "Europe/Oslo"


def test_reset_that_is_rolled_back(pair: GatewayProcess) -> None:
    for form in ("reset timezone", "reset all"):
        with logged_in(pair, TimeZone="Europe/Oslo") as client:
            client.ask(query("set timezone to 'Asia/Tokyo'"))
            client.ask(query(f"begin; {form}; rollback"))
            assert value(client) == "Asia/Tokyo"
            with elsewhere(pair, client):
                assert value(client) == "Asia/Tokyo"
        with logged_in(pair) as one, logged_in(pair) as two:
            one.ask(query("begin"))
            assert "Asia/Tokyo" not in {value(one), value(two)}


def test_savepoints_keep_the_connection(pair: GatewayProcess) -> None:
    """What goes back to a savepoint is PostgreSQL's to know: the session stays where it is."""
    with logged_in(pair) as client:
        client.ask(query("begin; set timezone to 'Asia/Tokyo'"))
        client.ask(query("savepoint a; set timezone to 'UTC'"))
        client.ask(query("rollback to a"))
        client.ask(query("commit"))
        assert value(client) == "Asia/Tokyo"
        mine = backend(client)
        with logged_in(pair) as other:
            other.ask(query("begin"))
            assert backend(other) != mine
            assert backend(client) == mine
            assert value(client) == "Asia/Tokyo"


def test_several_settings_in_one_write(pair: GatewayProcess) -> None:
    with logged_in(pair) as client:
        wanted = {"timezone": "Asia/Tokyo", "extra_float_digits": "2", "application_name": "a'b;--"}
        for name, setting in wanted.items():
            quoted = setting.replace("'", "''")
            client.ask(query(f"set {name} to '{quoted}'"))
        with elsewhere(pair, client):
            for name, setting in wanted.items():
                assert value(client, f"select current_setting('{name}')") == setting


def test_two_sessions_of_one_agent_take_turns(pair: GatewayProcess) -> None:
    """On few connections, each with settings of its own, interleaved."""
    zones = ["Asia/Tokyo", "Europe/Oslo", "America/Lima", "Africa/Cairo"]
    with logged_in(pair) as a, logged_in(pair) as b, logged_in(pair) as c, logged_in(pair) as d:
        clients = [a, b, c, d]
        for client, zone in zip(clients, zones, strict=True):
            client.ask(query(f"set timezone to '{zone}'"))
        for order in itertools.permutations(range(4)):
            for number in order:
                assert value(clients[number]) == zones[number]


def test_pipelined_behind_its_use(pair: GatewayProcess) -> None:
    with logged_in(pair) as client:
        client.send(
            parse("set timezone to 'Asia/Tokyo'"), bind(), execute(), SYNC,
            parse(SHOW), bind(), execute(), SYNC,
            parse("reset timezone"), bind(), execute(), SYNC,
            parse(SHOW), bind(), execute(), SYNC,
        )  # fmt: skip
        assert kinds(client.until_ready()) == "12CSZ"
        assert rows(client.until_ready()) == [[b"Asia/Tokyo"]]
        client.until_ready()
        (after,) = rows(client.until_ready())
        assert after != [b"Asia/Tokyo"]


def test_what_may_not_be_set_is_not(pair: GatewayProcess) -> None:
    """Following settings opens no door: the list of what may be set is as it was."""
    with logged_in(pair) as client:
        for sql in (
            "set search_path to evil",
            "set role postgres",
            "set standard_conforming_strings to off",
            "set client_encoding to 'LATIN1'",
            "set timezone to 'UTC'; set search_path to evil",
        ):
            (error,) = errors(client.ask(query(sql)))
            assert error["M"].startswith("PN3"), sql
