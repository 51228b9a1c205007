"""Tokens bound to a client certificate: good with it, and stolen ones for nothing."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.certs import Certificates, make_certificates
from tests.support.gateway import GatewayProcess
from tests.support.stands import EMBEDDED, Stands, own_directory


@dataclass
class Bound:
    """A gateway that takes client certificates, and two of them."""

    gateway: GatewayProcess
    own: Certificates
    other: Certificates

    def mint(self, **changes: Any) -> str:
        der = ssl.PEM_cert_to_DER_cert(self.own.certificate.read_text())
        digest = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
        extra = {"cnf": {"x5t#S256": digest}} | changes
        return self.gateway.issuer().mint("robot", ["agents"], 600, extra)

    def query(self, token: str, shown: Certificates | None, **options: Any) -> object:
        given: dict[str, Any] = {"sslmode": "require"} | options
        if shown is not None:
            given |= {"sslcert": str(shown.certificate), "sslkey": str(shown.key)}
        with self.gateway.connect(password=token, **given) as connection:
            return connection.execute("select 1").fetchone()


@pytest.fixture(scope="module")
def bound(stands: Stands) -> Iterator[Bound]:
    with own_directory() as name:
        directory = Path(name)
        own, other = (make_certificates(directory / part) for part in ("a", "b"))
        authorities = directory / "authorities.pem"
        authorities.write_text(own.authority.read_text() + other.authority.read_text())
        gateway = GatewayProcess(
            stands.cluster(EMBEDDED),
            directory,
            extra=f'tls_cert = "{own.certificate}"\ntls_key = "{own.key}"\n'
            f'tls_client_ca = "{authorities}"',
        )
        with gateway:
            yield Bound(gateway, own, other)


def test_it_is_good_with_its_certificate_only(bound: Bound) -> None:
    token = bound.mint()
    assert bound.query(token, bound.own) == (1,)
    for shown, options in ((bound.other, {}), (None, {}), (None, {"sslmode": "disable"})):
        with pytest.raises(psycopg.OperationalError, match="PN101"):
            bound.query(token, shown, **options)
    reasons = {record["reason"] for record in bound.gateway.audit("--error", "PN101")}
    assert {
        "bound to a client certificate, and another was shown",
        "bound to a client certificate, and none was shown",
    } <= reasons


def test_a_certificate_alone_changes_nothing(bound: Bound) -> None:
    """Goal: other tokens are good with and without; a certificate is no identity."""
    free = bound.gateway.mint("agent-1", ["agents"])
    assert bound.query(free, bound.other) == bound.query(free, None) == (1,)
    with pytest.raises(psycopg.OperationalError, match="PN101"):
        bound.query("no.token.here", bound.own)


def test_what_it_is_exchanged_for_is_bound_as_well(bound: Bound) -> None:
    base = f"http://127.0.0.1:{bound.gateway.control_port}"
    answer = httpx.post(
        f"{base}/v1/tokens/exchange",
        data={
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": bound.mint(),
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        },
    )
    token = answer.json()["access_token"]
    assert bound.query(token, bound.own) == (1,)
    with pytest.raises(psycopg.OperationalError, match="PN101"):
        bound.query(token, None)
    headers = {"authorization": f"Bearer {token}"}
    assert httpx.get(f"{base}/v1/whoami", headers=headers).status_code == 401
