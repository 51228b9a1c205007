"""SASL OAUTHBEARER with a real libpq 18, beside passwords on the same port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.gateway import GatewayProcess
from tests.support.libpq_oauth import bearer_token
from tests.support.stands import EMBEDDED, Stands, own_directory

ISSUER = "https://idp.example.com"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
OAUTH = "-c postern.auth=oauth"


@pytest.fixture(scope="module")
def own(stands: Stands) -> Iterator[GatewayProcess]:
    """A gateway that sends clients to an issuer, and takes the local issuer's tokens."""
    with own_directory() as directory:
        (Path(directory) / "keys.json").write_text('{"keys": []}')
        gateway = GatewayProcess(
            stands.cluster(EMBEDDED),
            Path(directory),
            extra='oauth_scope = "openid groups"',
            issuers=f'[[issuers]]\nid = "corp"\nissuer = "{ISSUER}"\njwks_file = "keys.json"\n',
        )
        with gateway:
            yield gateway


def connect(gateway: GatewayProcess, **options: Any) -> psycopg.Connection[Any]:
    given: dict[str, Any] = {"options": OAUTH, "oauth_issuer": ISSUER, "oauth_client_id": "psql"}
    return psycopg.connect(gateway.dsn(), autocommit=True, connect_timeout=10, **given | options)


def test_libpq_finds_the_issuer_and_presents_a_token(own: GatewayProcess) -> None:
    """Goal: the whole exchange. libpq first asks where to get a token, then comes back."""
    with bearer_token(own.mint("agent-9", ["agents"])) as asked, connect(own) as connection:
        assert connection.execute("select 42").fetchone() == (42,)
        whoami = connection.execute("show postern.whoami").fetchone()
    assert "agent-9" in str(whoami)
    assert asked.requests
    assert set(asked.requests) == {(DISCOVERY, "openid groups")}
    assert asked.token not in own.log


def test_with_the_discovery_address_there_is_one_connection(own: GatewayProcess) -> None:
    with (
        bearer_token(own.mint("agent-9", ["agents"])) as asked,
        connect(own, oauth_issuer=DISCOVERY, oauth_scope="openid") as connection,
    ):
        assert connection.execute("select 42").fetchone() == (42,)
    assert len(asked.requests) == 1


def test_a_bad_token_is_refused_with_the_one_text(own: GatewayProcess) -> None:
    texts = []
    for token in ("not.a.token", own.mint("agent-9", ["agents"])[:-3] + "AAA", "x" * 17_000):
        with bearer_token(token), pytest.raises(psycopg.OperationalError) as failure:
            connect(own, oauth_issuer=DISCOVERY)
        texts.append(str(failure.value))
    assert "PN101" in texts[0]
    assert texts[0] == texts[1]
    reasons = {record["reason"] for record in own.audit("--error", "PN101")}
    assert any("Signature" in reason for reason in reasons), reasons
    assert any("JSON" in reason for reason in reasons), reasons


def test_other_drivers_keep_the_password(own: GatewayProcess) -> None:
    """Goal: nobody is offered OAUTHBEARER who did not ask for it."""
    with bearer_token("unused") as asked, own.connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        assert connection.pgconn.used_password
    assert asked.requests == []
    with pytest.raises(psycopg.OperationalError, match="OAuth"):
        own.connect(options=OAUTH)  # has a password and no oauth_issuer: libpq refuses by itself
    with pytest.raises(psycopg.OperationalError, match=r"postern\.auth"):
        own.connect(options="-c postern.auth=kerberos")


def test_the_operator_may_make_it_the_default(stands: Stands) -> None:
    with own_directory() as directory:
        gateway = GatewayProcess(stands.cluster(EMBEDDED), Path(directory), extra='auth = "oauth"')
        gateway.environ["PGOPTIONS"] = ""
        gateway.ready_options = {"options": "-c postern.auth=password"}
        with gateway, bearer_token(gateway.mint("agent-9", ["agents"])):
            with connect(gateway, options="", oauth_issuer=DISCOVERY) as connection:
                assert connection.execute("select 1").fetchone() == (1,)
            with gateway.connect(options="-c postern.auth=password") as connection:
                assert connection.execute("select 1").fetchone() == (1,)
