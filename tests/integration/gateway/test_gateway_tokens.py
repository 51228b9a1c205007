"""Short gateway tokens, from the exchange to the session, as an agent uses them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.stands import EMBEDDED, Stands, own_directory

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"


@pytest.fixture(scope="module")
def own(stands: Stands) -> Iterator[GatewayProcess]:
    with (
        own_directory() as directory,
        GatewayProcess(stands.cluster(EMBEDDED), Path(directory)) as gateway,
    ):
        yield gateway


def exchange(gateway: GatewayProcess, token: str, **fields: str) -> httpx.Response:
    given = {"grant_type": GRANT, "subject_token": token, "subject_token_type": JWT}
    url = f"http://127.0.0.1:{gateway.control_port}/v1/tokens/exchange"
    return httpx.post(url, data=given | fields, timeout=10)


def exchanged(gateway: GatewayProcess, token: str, **fields: str) -> str:
    answer = exchange(gateway, token, **fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def refused(gateway: GatewayProcess, token: str) -> str:
    with pytest.raises(psycopg.OperationalError) as failure:
        gateway.connect(password=token)
    return str(failure.value)


def query(gateway: GatewayProcess, token: str, sql: str = "select 1", **options: Any) -> Any:
    with gateway.connect(password=token, **options) as connection:
        return connection.execute(sql.encode()).fetchone()


def test_the_command_prints_a_password(own: GatewayProcess, tmp_path: Path) -> None:
    """Goal: `PGPASSWORD=$(postern token exchange)`. The token lies in a mounted file."""
    mounted = tmp_path / "token"
    mounted.write_text(own.mint("agent-1", ["agents"]) + "\n")
    environ: dict[str, Any] = {
        "POSTERN_URL": f"http://127.0.0.1:{own.control_port}",
        "POSTERN_TOKEN_FILE": str(mounted),
    }
    token = own.cli("token", "exchange", **environ).strip()
    assert len(token) < 200
    assert own.run("psql", "-Atc", "select 42", PGPASSWORD=token).stdout == "42\n"
    mounted.write_text("not.a.token")
    assert "not accepted" in own.cli("token", "exchange", check=False, **environ)


def test_the_session_is_the_subjects(own: GatewayProcess) -> None:
    token = exchanged(own, own.mint("agent-7", ["agents"]))
    assert "agent-7" in str(query(own, token, "show postern.whoami"))
    opened = own.audit("--kind", "session.opened", "--subject", "*agent-7")
    assert opened
    assert token not in str(own.audit("--subject", "*agent-7"))
    assert token not in own.log


def test_narrowed_to_a_level_and_a_target(own: GatewayProcess) -> None:
    parent = own.mint("writer", ["trusted"])
    update = "update sales.refunds set note = note where false returning 1"
    query(own, exchanged(own, parent), update)
    reading = exchanged(own, parent, scope="read")
    for user in ("agent", "write"):  # asking for more by user name changes nothing
        with pytest.raises(psycopg.Error, match=r"PN30[13]"):
            query(own, reading, update, user=user)
    assert "PN103" in refused(own, exchanged(own, parent, audience="elsewhere"))
    assert query(own, exchanged(own, parent, audience="orders")) == (1,)
    answer = exchange(own, reading, scope="write")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    url = f"http://127.0.0.1:{own.control_port}/v1/whoami"
    for token, status in ((reading, 401), (exchanged(own, parent), 200)):
        headers = {"authorization": f"Bearer {token}"}
        assert httpx.get(url, headers=headers).status_code == status


def test_renewed_until_its_parent_ends(own: GatewayProcess) -> None:
    parent = own.issuer().mint("brief", ["agents"], 6)
    first = exchanged(own, parent)
    second = exchange(own, first)
    assert second.json()["expires_in"] <= 6
    token = second.json()["access_token"]
    with own.connect(password=token) as connection:
        assert connection.execute("select 1").fetchone() == (1,)

        def is_over() -> bool:
            try:
                connection.execute("select 1")
            except psycopg.OperationalError:
                return True
            return False

        wait_until(is_over, 8, "the session ends with the token")
    assert "PN101" in refused(own, token)
    assert exchange(own, token).json()["error"] == "invalid_request"


@pytest.mark.parametrize("which", ["parent", "itself"])
def test_it_dies_with_its_parent_and_by_its_holder(own: GatewayProcess, which: str) -> None:
    parent = own.mint(f"mortal-{which}", ["agents"])
    token = exchanged(own, parent)
    assert query(own, token) == (1,)
    url = f"http://127.0.0.1:{own.control_port}/v1/tokens/revoke"
    assert httpx.post(url, data={"token": parent if which == "parent" else token}).json() == {}
    assert "PN202" in refused(own, token)
    if which == "itself":
        assert query(own, parent) == (1,)
    assert httpx.post(url, data={"token": "never.was.one"}).status_code == 200


@pytest.mark.parametrize("way", ["claim", "exchange"])
def test_an_agent_for_a_person_has_what_both_have(own: GatewayProcess, way: str) -> None:
    """Goal: delegation, by `act` in the token or by an actor token at the exchange."""
    update = "update sales.refunds set note = note where false returning 1"
    email = "select email from sales.customers order by id limit 1"
    person = own.mint("ann", ["trusted"])
    query(own, person, update)
    plain = query(own, person, email)
    if way == "claim":
        acting = {"act": {"sub": "bot", "groups": ["analysts"]}}
        token = own.issuer().mint("ann", ["trusted"], 600, acting)
    else:
        bot = own.mint("bot", ["analysts"])
        token = exchanged(own, person, actor_token=bot, actor_token_type=JWT)
    assert query(own, token, email) != plain, "what is masked for the agent is masked"
    with pytest.raises(psycopg.Error, match=r"PN30[13]"):
        query(own, token, update)
    (opened, *_) = own.audit("--kind", "session.opened", "--subject", "*ann")
    assert (opened["actor"], opened["agent"]) == ("bot", "bot")
    nobody = own.issuer().mint("ann", ["trusted"], 600, {"act": {"sub": "bot"}})
    assert "PN103" in refused(own, nobody)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"requested_token_type": JWT}, "invalid_request"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": "read write"}, "invalid_scope"),
        ({"audience": "x" * 64}, "invalid_target"),
        ({"subject": "root"}, "invalid_request"),
        ({"subject_token": ""}, "invalid_request"),
        ({"actor_token": "x.y.z"}, "invalid_request"),
        ({"actor_token": "x.y.z", "actor_token_type": JWT}, "invalid_request"),
    ],
)
def test_what_is_refused(own: GatewayProcess, fields: dict[str, str], error: str) -> None:
    answer = exchange(own, own.mint("agent-1", ["agents"]), **fields)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert set(answer.json()) == {"error", "error_description"}


def test_guessed_tokens_are_refused_with_the_one_text(own: GatewayProcess) -> None:
    guessed = {refused(own, token).partition("PN101")[2] for token in (
        "pgt_" + "A" * 43, "pgt_x", "pgt_", "a.b.c", "x",
    )}  # fmt: skip
    assert len(guessed) == 1


def test_without_control_known_tokens_go_on_and_others_fail_fast(stands: Stands) -> None:
    """Goal: fail closed. Method: stop control, log in with a token the worker knows, and not."""
    with (
        own_directory() as directory,
        GatewayProcess(stands.cluster(EMBEDDED), Path(directory), workers=1) as gateway,
    ):
        parent = gateway.mint("agent-1", ["agents"])
        known, unknown = exchanged(gateway, parent), exchanged(gateway, parent)
        assert query(gateway, known) == (1,)
        (control,) = gateway.pids("control")
        os.kill(control, signal.SIGSTOP)
        try:
            assert query(gateway, known) == (1,)
            started = time.monotonic()
            assert "PN107" in refused(gateway, unknown)
            assert time.monotonic() - started < 4
        finally:
            os.kill(control, signal.SIGCONT)
        assert query(gateway, unknown) == (1,)
