"""People and programs of a real OpenID provider: discovery, login, rotation, outage."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.gateway import GatewayProcess
from tests.support.provider import CLIENT_ID, provider, visit
from tests.support.sample import POLICY
from tests.support.stands import EMBEDDED, Stands, own_directory

ADDRESS = re.compile(r"open (\S+)")


@dataclass
class Place:
    """A gateway that trusts the provider, and a home of its own for each login."""

    gateway: GatewayProcess
    issuer: str

    def start(self, home: Path, *arguments: str) -> subprocess.Popen[str]:
        """Run `postern login` as a person in `home` would."""
        return subprocess.Popen(
            [sys.executable, "-m", "gateway.cli.main", "login", "--issuer", self.issuer,
             "--client-id", CLIENT_ID, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **self.environ(home)},
        )  # fmt: skip

    def environ(self, home: Path) -> dict[str, str]:
        base = {"POSTERN_URL": f"http://127.0.0.1:{self.gateway.control_port}"}
        return base | {"XDG_RUNTIME_DIR": str(home), "HOME": str(home)}

    def log_in(self, home: Path, name: str) -> str:
        """Log in by browser; what the command said."""
        with self.start(home, "--no-browser") as command:
            assert command.stderr is not None
            told = command.stderr.readline()
            found = ADDRESS.search(told)
            assert found, told
            page = visit(found[1], name)
            assert "You are logged in" in page.text
            assert command.wait(20) == 0
            return told + command.stderr.read()

    def run(self, home: Path, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", *arguments],
            capture_output=True, text=True, env={**os.environ, **self.environ(home)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def place(stands: Stands) -> Iterator[Place]:
    policy = re.sub(r'"test:(\w+)"', r'"test:\1", "corp:\1"', POLICY)
    with provider() as issuer, own_directory() as directory:
        section = f'[[issuers]]\nid = "corp"\nissuer = "{issuer}"\naudiences = ["{CLIENT_ID}"]\n'
        gateway = GatewayProcess(
            stands.cluster(EMBEDDED), Path(directory), policy=policy, issuers=section
        )
        with gateway:
            yield Place(gateway, issuer)


def test_a_person_logs_in_by_browser(place: Place, tmp_path: Path) -> None:
    """Goal: PKCE against a real provider, then the commands and psql work without a secret."""
    said = place.log_in(tmp_path, "ann")
    kept = tmp_path / "postern" / "token"
    assert kept.stat().st_mode & 0o077 == 0
    first = kept.read_text().strip()
    assert first.startswith("pgt_")
    assert first not in said
    assert "items" in json.loads(place.run(tmp_path, "approvals", "list", "--json"))
    renewed = place.run(tmp_path, "token", "exchange")
    assert kept.read_text().strip() == renewed != first
    url = f"http://127.0.0.1:{place.gateway.control_port}/v1/whoami"
    whoami = httpx.get(url, headers={"authorization": f"Bearer {renewed}"}).json()
    assert (whoami["groups"], whoami["is_agent"]) == (["dba"], False)
    trail = str(place.gateway.audit("-n", "500"))
    assert first not in trail
    assert renewed not in trail


def test_a_device_code_where_there_is_no_browser(place: Place, tmp_path: Path) -> None:
    with place.start(tmp_path, "--device", "--print") as command:
        assert command.stderr is not None
        assert command.stdout is not None
        told = command.stderr.readline()
        found = re.search(r"open (\S+) and enter (\S+)", told)
        assert found, told
        page = visit(found[1], "bot", code=found[2])
        assert page.status_code == 200
        token = command.stdout.read().strip()
        assert command.wait(20) == 0
    assert not (tmp_path / "postern").exists()
    with place.gateway.connect(password=token) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        whoami = connection.execute("show postern.whoami").fetchone()
    assert "bot" in str(whoami)


def test_the_next_login_after_a_rotation_is_good(place: Place, tmp_path: Path) -> None:
    """Goal: no login is refused because the provider signs with a key nobody here has seen."""
    for is_rotated in (False, True):
        if is_rotated:
            # Once: a second time at once would be over the rate at which keys are fetched.
            httpx.post(f"{place.issuer}/rotate")
        place.log_in(tmp_path, "bot")
        token = place.run(tmp_path, "token", "exchange")
        with place.gateway.connect(password=token) as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_another_page_cannot_finish_the_login(place: Place, tmp_path: Path) -> None:
    """Goal: a call back without the state is not heard (login by somebody else)."""
    command = place.start(tmp_path, "--no-browser")
    with command:
        assert command.stderr is not None
        found = ADDRESS.search(command.stderr.readline())
        assert found
        back = httpx.URL(found[1]).params["redirect_uri"]
        for query in ("?code=stolen", "?code=stolen&state=", "?code=stolen&state=guess"):
            assert httpx.get(back + query).status_code == 404
        assert command.poll() is None
        state = httpx.URL(found[1]).params["state"]
        assert httpx.get(back, params={"error": "access_denied", "state": state}).is_success
        assert command.wait(20) == 1
        assert "access_denied" in command.stderr.read()


def test_a_token_of_another_provider_is_refused(place: Place, tmp_path: Path) -> None:
    with provider() as other:
        stranger = Place(place.gateway, other)
        with stranger.start(tmp_path, "--no-browser") as command:
            assert command.stderr is not None
            found = ADDRESS.search(command.stderr.readline())
            assert found
            visit(found[1], "ann")
            assert command.wait(20) == 1
            assert "not accepted" in command.stderr.read()
    with pytest.raises(psycopg.OperationalError, match="PN101"):
        place.gateway.connect(password="pgt_" + "x" * 43)
