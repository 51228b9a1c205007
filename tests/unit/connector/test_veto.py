"""The connector's own rules, without a gateway or a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.connector.keys import parse_join_token
from gateway.connector.settings import load_connector
from gateway.connector.trail import ConnectorTrail, TrailUnwritable
from gateway.connector.veto import Rate, Veto
from gateway.errors import ConfigError
from gateway.ipc.connector_wire import WireError, build_greeting, parse_greeting

CONFIG = """
gateways = ["gw:6435"]
opens_per_s = 2
[targets.orders]
host = "/run/postgresql"
database = "orders"
user = "postern"
roles = ["pn_read"]
streams = 3
"""


def settings(tmp_path: Path, text: str = CONFIG) -> Veto:
    (tmp_path / "c.toml").write_text(text)
    return Veto(load_connector(tmp_path / "c.toml"))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"target": "orders", "role": "pn_read", "level": "read"}, ""),
        ({"target": "orders", "role": "postern", "level": "write"}, ""),
        ({"target": "payroll", "role": "pn_read", "level": "read"}, "target not served"),
        ({"target": "orders", "role": "pn_write", "level": "write"}, "role not served"),
        ({"target": "orders", "role": "", "level": "read"}, "role not served"),
        ({"target": "orders", "role": ["pn_read"], "level": "read"}, "role not served"),
        ({"target": "orders", "role": "pn_read", "level": "root"}, "unknown level"),
        ({}, "target not served"),
    ],
)
def test_what_is_not_listed_is_refused(tmp_path: Path, asked: dict[str, object], why: str) -> None:
    assert settings(tmp_path).judge(asked, {}) == why


def test_streams_are_bounded(tmp_path: Path) -> None:
    asked = {"target": "orders", "role": "pn_read", "level": "read"}
    assert settings(tmp_path).judge(asked, {"orders": 3}) == "too many connections"


def test_rate_is_bounded_and_recovers(tmp_path: Path) -> None:
    now = [0.0]
    rate = Rate(2, lambda: now[0])
    assert [rate.take() for _ in range(11)] == [True] * 10 + [False]
    now[0] = 1.0
    assert [rate.take() for _ in range(3)] == [True, True, False]


def test_unlisted_gateways_are_refused(tmp_path: Path) -> None:
    listed = settings(tmp_path, f'allow_gateways = ["{"a" * 64}"]\n{CONFIG}')
    assert listed.refuses_gateway("b" * 64)
    assert not listed.refuses_gateway("a" * 64)
    assert not settings(tmp_path).refuses_gateway("b" * 64)


def test_nothing_is_handed_out_unrecorded(tmp_path: Path) -> None:
    trail = ConnectorTrail(tmp_path / "audit.log")
    trail.record("opened", target="orders")
    assert b'"event":"opened"' in (tmp_path / "audit.log").read_bytes()
    (tmp_path / "audit.log").unlink()
    (tmp_path / "audit.log").symlink_to("/dev/null")
    with pytest.raises(TrailUnwritable):
        trail.record("opened", target="orders")


@pytest.mark.parametrize(
    "text",
    [
        "",
        'gateways = ["gw"]',
        CONFIG.replace("gw:6435", "gw"),
        CONFIG + "tls_cert = '/etc/hostname'",
        CONFIG + "rolls = ['x']",
        'gateways = ["gw:1"]',
    ],
)
def test_unusable_settings_are_errors(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        settings(tmp_path, text)


@pytest.mark.parametrize("text", ["", "pnj_x.y", "pnj_" + "a" * 43, "a." + "0" * 64])
def test_what_is_no_join_token_is_not_sent(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_join_token(text)


def test_greetings_are_exact() -> None:
    assert parse_greeting(build_greeting(None)) is None
    assert parse_greeting(build_greeting(7)) == 7
    for wrong in (b"", b"PNC1", b"PNC1C\0\1\0", b"PNC1D\0\1\1", b"PNC1X\0\0\0", b"PNC2D\0\1\0"):
        with pytest.raises(WireError):
            parse_greeting(wrong)
