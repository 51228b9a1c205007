"""Vault's HTTP API as far as it is used, answered by a small server of our own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Credential, Roles, Target
from gateway.errors import ConfigError
from gateway.upstream import vault
from gateway.upstream.logins import Logins

TOKEN = "hvs.test-token"


@dataclass
class FakeVault:
    """Answers reads and renewals, and remembers what it was asked."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    renewal: tuple[int, Any] = (400, {"errors": ["lease not found"]})
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    address: str = ""

    @property
    def environ(self) -> dict[str, str]:
        return {"VAULT_ADDR": self.address, "VAULT_TOKEN": TOKEN}


@pytest.fixture
def fake() -> Iterator[FakeVault]:
    state = FakeVault()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(("GET", self.path, None))
            self._answer(*state.answers.get(self.path, (404, {"errors": []})))

        def do_PUT(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.asked.append(("PUT", self.path, body))
            self._answer(*state.renewal)

        def _answer(self, status: int, value: Any) -> None:
            if self.headers["x-vault-token"] != TOKEN:
                status, value = 403, {"errors": ["permission denied"]}
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def target(path: str, **more: Any) -> Target:
    return Target(
        name="orders", host="db", database="orders", user="fixed", tls="disable",
        credential=Credential("vault", path, **more), roles=Roles(read=None, write=None, admin=None),
    )  # fmt: skip


def leased(password: str, user: str = "v-orders-1", seconds: int = 3600) -> tuple[int, Any]:
    data = {"username": user, "password": password}
    return 200, {"lease_id": f"database/creds/x/{user}", "lease_duration": seconds, "data": data}


def test_key_value_secrets_of_both_versions(fake: FakeVault) -> None:
    fake.answers["/v1/secret/orders"] = 200, {"data": {"password": "one"}, "lease_duration": 9}
    fake.answers["/v1/kv/data/orders"] = (
        200,
        {"data": {"data": {"pw": "two", "username": "no lease, no user"}, "metadata": {}}},
    )
    assert Logins().resolve(target("secret/orders"), fake.environ)[1] == b"one"
    found, secret = Logins().resolve(target("kv/data/orders", field="pw"), fake.environ)
    assert (found.user, secret) == ("fixed", b"two")


def test_what_is_kept_has_a_time_to_live(fake: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: one request per TTL, a fresh one after it and after a login that failed."""
    fake.answers["/v1/kv/x"] = 200, {"data": {"password": "one"}}
    logins, one = Logins(), target("kv/x", ttl_s=100.0)
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in range(3):
        logins.resolve(one, fake.environ)
    assert len(fake.asked) == 1
    fake.answers["/v1/kv/x"] = 200, {"data": {"password": "two"}}
    assert logins.resolve(one, fake.environ)[1] == b"one"
    logins.forget(one.credential)
    assert logins.resolve(one, fake.environ)[1] == b"two"
    now[0] += 101
    logins.resolve(one, fake.environ)
    assert len(fake.asked) == 3


def test_a_lease_is_renewed_and_then_replaced(
    fake: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: the same role while Vault gives it time, a new one when it does not."""
    fake.answers["/v1/database/creds/x"] = leased("one", seconds=90)
    logins, one = Logins(), target("database/creds/x")
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert logins.resolve(one, fake.environ)[0].user == "v-orders-1"
    fake.renewal = 200, {"lease_duration": 90}
    now[0] += 61
    found, secret = logins.resolve(one, fake.environ)
    assert (found.user, secret) == ("v-orders-1", b"one")
    assert fake.asked[-1] == (
        "PUT",
        "/v1/sys/leases/renew",
        {"lease_id": "database/creds/x/v-orders-1"},
    )
    fake.renewal = 200, {"lease_duration": 5}  # near its longest time
    fake.answers["/v1/database/creds/x"] = leased("two", user="v-orders-2")
    now[0] += 61
    found, secret = logins.resolve(one, fake.environ)
    assert (found.user, secret) == ("v-orders-2", b"two")


def test_a_lease_outlives_an_outage_of_vault(
    fake: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answers["/v1/database/creds/x"] = leased("one", seconds=90)
    logins, one = Logins(), target("database/creds/x")
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    logins.resolve(one, fake.environ)
    away = {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_TOKEN": TOKEN}
    now[0] += 61
    assert logins.resolve(one, away)[1] == b"one"
    now[0] += 30
    with pytest.raises(ConfigError):
        logins.resolve(one, away)


@pytest.mark.parametrize(
    "answer",
    [
        (403, {"errors": ["denied topsecret"]}),
        (200, b"topsecret no json"),
        (200, {"data": {"other": "topsecret"}}),
        (200, {"data": {"password": 7, "x": "topsecret"}}),
        (200, {"data": {"password": "topsecret\0"}}),
        (200, {"data": {"password": "topsecret" * 100_000}}),
        (200, ["topsecret"]),
        (302, {"data": {"password": "topsecret"}}),
    ],
)
def test_failures_name_the_path_and_never_the_answer(fake: FakeVault, answer: Any) -> None:
    fake.answers["/v1/kv/x"] = answer
    with pytest.raises(ConfigError) as caught:
        Logins().resolve(target("kv/x"), fake.environ)
    assert "topsecret" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"VAULT_ADDR": "http://vault.internal:8200", "VAULT_TOKEN": TOKEN},
        {"VAULT_ADDR": "https://127.0.0.1:9"},
        {"VAULT_ADDR": "https://127.0.0.1:9", "VAULT_TOKEN": "a\r\nx: y"},
        {"VAULT_ADDR": "https://127.0.0.1:9", "VAULT_TOKEN_FILE": "/nonexistent"},
        {"VAULT_ADDR": "https://127.0.0.1:9", "VAULT_TOKEN": TOKEN, "VAULT_CACERT": "/dev/null"},
    ],
)
def test_a_token_goes_to_a_proven_vault_only(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        Logins().resolve(target("kv/x"), environ)


def test_the_token_may_come_from_an_agents_file(fake: FakeVault, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    fake.answers["/v1/kv/x"] = 200, {"data": {"password": "one"}}
    environ = {"VAULT_ADDR": fake.address, "VAULT_TOKEN_FILE": str(tmp_path / "token")}
    assert Logins().resolve(target("kv/x"), environ)[1] == b"one"


def test_a_secret_does_not_show_in_text() -> None:
    shown = repr(vault.Leased(b"topsecret", 1.0, "user", "lease-topsecret"))
    assert "topsecret" not in shown


def test_a_command_runs_once_per_time_to_live(tmp_path: Path) -> None:
    """Goal: the recipe for AWS RDS tokens: `command` with a `ttl` below the token's 15 minutes."""
    script = tmp_path / "token.sh"
    script.write_text(f"#!/bin/sh\necho run >> {tmp_path}/runs\ncat {tmp_path}/value\n")
    script.chmod(0o755)
    (tmp_path / "value").write_text("first")
    one = target("")
    one = Target(
        name="orders", host="db", database="orders", user="fixed", tls="disable",
        credential=Credential("command", str(script), ttl_s=600.0), roles=one.roles,
    )  # fmt: skip
    logins = Logins()
    assert [logins.resolve(one, {})[1] for _ in range(2)] == [b"first", b"first"]
    (tmp_path / "value").write_text("second")
    logins.forget(one.credential)
    assert logins.resolve(one, {})[1] == b"second"
    assert (tmp_path / "runs").read_text().count("run") == 2


def test_a_file_is_read_for_every_login(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("one\n")
    one = target("")
    one = Target(
        name="orders", host="db", database="orders", user="fixed", tls="disable",
        credential=Credential("file", str(tmp_path / "pw")), roles=one.roles,
    )  # fmt: skip
    assert Logins().resolve(one, {})[1] == b"one"
    (tmp_path / "pw").write_text("two\n")
    assert Logins().resolve(one, {})[1] == b"two"
