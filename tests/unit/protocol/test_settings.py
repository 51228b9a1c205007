"""Startup settings: applied, left out, or refused by name."""

from __future__ import annotations

import pytest

from gateway.errors import ClientError, ProtocolViolation
from gateway.protocol.options import parse_options
from gateway.protocol.settings import StartupRefused, screen_startup


def screened(**params: str) -> dict[str, str]:
    return screen_startup({"user": "u", **params}).settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("   ", {}),
        ("-c a=b", {"a": "b"}),
        ("-ca=b", {"a": "b"}),
        ("--a=b", {"a": "b"}),
        ("--foo-bar=1", {"foo_bar": "1"}),
        ("-c foo-bar=1", {"foo_bar": "1"}),
        (r"-c a=b\ c", {"a": "b c"}),
        (r"-c a=b\\c", {"a": r"b\c"}),
        ("-c a=b+c", {"a": "b+c"}),
        ("-c a=", {"a": ""}),
        ("-c a=b=c", {"a": "b=c"}),
        ("-c\ta=1\n-c b=2", {"a": "1", "b": "2"}),
        ("-c a=1 -c A=2", {"A": "2"}),
        ("-c a=1\\", {"a": "1"}),
    ],
)
def test_options_grammar(text: str, expected: dict[str, str]) -> None:
    """Goal: the words of PostgreSQL's own option splitter."""
    assert parse_options(text) == expected


@pytest.mark.parametrize(
    "text",
    ["-c", "-c a", "-c =b", "--", "--a", "--=b", "a=b", "-d 5", "-s", "-O", "-c a=b -x", "\\"],
)
def test_options_that_are_no_settings(text: str) -> None:
    """Goal: other switches of the server's command line never pass."""
    with pytest.raises(ProtocolViolation):
        parse_options(text)


def test_what_drivers_send_connects() -> None:
    """Goal: libpq, JDBC, asyncpg, node-postgres, psycopg, Npgsql connect unchanged."""
    assert screened(client_encoding="'utf-8'", application_name="") == {"application_name": ""}
    assert screened(client_encoding="UTF8", DateStyle="ISO", extra_float_digits="3") == {
        "extra_float_digits": "3"
    }
    assert screened(TimeZone="Europe/Berlin") == {"TimeZone": "Europe/Berlin"}
    assert screened(options="-c statement_timeout=5s -c geqo=off -c jit=off") == {
        "statement_timeout": "5000ms"
    }
    assert screened(replication="off", intervalstyle="postgres", Bytea_Output="hex") == {}


def test_database_defaults_to_the_user() -> None:
    """Goal: as in PostgreSQL; and tuning settings are reported as left out."""
    result = screen_startup({"user": "orders", "options": "-c enable_seqscan=off"})
    assert (result.database, result.user) == ("orders", "orders")
    assert result.ignored == ("enable_seqscan",)
    assert screen_startup({"user": "read", "database": "orders"}).database == "orders"


def test_the_packet_wins_over_options() -> None:
    """Goal: precedence as in the server, names folded."""
    assert screened(options="-c timezone=UTC", TimeZone="CET") == {"TimeZone": "CET"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("search_path", "sales"),
        ("role", "postgres"),
        ("session_authorization", "postgres"),
        ("ROLE", "postgres"),
        ("row_security", "off"),
        ("session_replication_role", "replica"),
        ("standard_conforming_strings", "off"),
        ("client_encoding", "LATIN1"),
        ("client_encoding", "SQL_ASCII"),
        ("client_encoding", "SJIS"),
        ("client_encoding", ""),
        ("DateStyle", "SQL"),
        ("datestyle", "ISO, MDY, DMY"),
        ("DateStyle", "German"),
        ("DateStyle", ""),
        ("IntervalStyle", "iso_8601"),
        ("bytea_output", "escape"),
        ("backslash_quote", "on"),
        ("client_min_messages", "debug5"),
        ("log_statement", "none"),
        ("work_mem", "10GB"),
        ("postern.reason", "x"),
        ("a.b", "c"),
        ("plan_cache_mode", "force_generic_plan"),
        ("TimeZone", "../../etc/passwd"),
        ("TimeZone", "/etc/passwd"),
        ("TimeZone", "UTC'; select 1"),
        ("TimeZone", ""),
        ("extra_float_digits", "99"),
        ("extra_float_digits", "1; x"),
        ("statement_timeout", "-1"),
        ("statement_timeout", "1 week"),
        ("statement_timeout", "99999999999"),
        ("statement_timeout", "25d"),
        ("default_transaction_read_only", "perhaps"),
        ("default_transaction_isolation", "chaos"),
        ("unheard_of", "1"),
        ("enable_seqscan; drop", "1"),
        ("replication", "database"),
        ("replication", "true"),
        ("replication", "on"),
        ("replication", "1"),
        ("replication", "yes"),
        ("replication", "T"),
        ("replication", "DATABASE"),
        ("replication", ""),
        ("replication", "maybe"),
        ("Replication", "database"),
    ],
)
def test_refused_settings(name: str, value: str) -> None:
    """Goal: FATAL 42501 naming the setting, on its own and inside `options`."""
    escaped = value.replace("\\", "\\\\").replace(" ", "\\ ")
    for params in ({name: value}, {"options": f"-c {name.replace(' ', chr(92) + ' ')}={escaped}"}):
        with pytest.raises(StartupRefused) as caught:
            screen_startup({"user": "u", **params})
        error: ClientError = caught.value
        assert (error.severity, error.sqlstate, error.id) == ("FATAL", "42501", "PN301")
        assert name.lower().split(";")[0] in error.text().lower()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ISO", None),
        ("iso", None),
        ("ISO, MDY", "ISO, MDY"),
        ("ISO,DMY", "ISO, DMY"),
        ("ymd", "ISO, YMD"),
        ("European", "ISO, DMY"),
    ],
)
def test_date_styles(value: str, expected: str | None) -> None:
    """Goal: only ISO output; the order of day and month may be chosen."""
    assert screened(DateStyle=value).get("DateStyle") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", None), ("5000", "5000ms"), ("2min", "120000ms"), (" 1 h ", "3600000ms"), ("1us", "1ms")],
)
def test_timeouts(value: str, expected: str | None) -> None:
    """Goal: units are resolved; zero asks for nothing and never lifts a limit."""
    assert screened(statement_timeout=value).get("statement_timeout") == expected


def test_application_name_is_harmless() -> None:
    """Goal: control characters and length are cut, as the server does."""
    name = screened(application_name="a\n\x1b[31m" + "é" * 100)["application_name"]
    assert name.isascii()
    assert name.isprintable()
    assert len(name) == 63


def test_read_only_may_be_asked_for_and_not_lifted() -> None:
    """Goal: `on` is applied; `off` is not, so a pinned `on` stays."""
    assert screened(default_transaction_read_only="TRUE") == {"default_transaction_read_only": "on"}
    assert screened(default_transaction_read_only="off") == {}
