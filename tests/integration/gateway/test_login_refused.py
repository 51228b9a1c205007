"""Who is not let in: one text for every bad token, the reason in the audit, no server touched."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.stands import Stand

Claims = dict[str, Any]


def _claims(**changed: Any) -> Claims:
    now = int(time.time())
    given = {
        "iss": "https://issuer.test", "aud": "postern", "sub": "mallory", "iat": now,
        "exp": now + 600, "groups": ["agents"], "jti": f"j{time.monotonic_ns()}",
    }  # fmt: skip
    return {name: value for name, value in (given | changed).items() if value is not None}


def _key(gateway: GatewayProcess) -> tuple[Ed25519PrivateKey, str]:
    gateway.issuer().mint("warm", [], 60)
    pem = (gateway.data_dir / "issuers" / "test.pem").read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, Ed25519PrivateKey)
    keys = json.loads((gateway.data_dir / "keys" / "test.json").read_text())
    return key, keys["keys"][0]["kid"]


def _signed(gateway: GatewayProcess, claims: Claims, **headers: Any) -> str:
    key, kid = _key(gateway)
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": kid} | headers)


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unsigned(gateway: GatewayProcess, algorithm: str, signature: str = "") -> str:
    header = json.dumps({"alg": algorithm, "typ": "JWT", "kid": _key(gateway)[1]})
    return f"{_b64(header.encode())}.{_b64(json.dumps(_claims()).encode())}.{signature}"


def _hmac_with_public_key(gateway: GatewayProcess) -> str:
    public = _key(gateway)[0].public_key().public_bytes_raw()
    return jwt.encode(_claims(), public, algorithm="HS256", headers={"kid": _key(gateway)[1]})


def _tampered(gateway: GatewayProcess) -> str:
    header, _, signature = _signed(gateway, _claims()).split(".")
    other = json.dumps(_claims(groups=["trusted"])).encode()
    return f"{header}.{_b64(other)}.{signature}"


def _bit_flipped(gateway: GatewayProcess) -> str:
    token = _signed(gateway, _claims())
    return token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]


def _other_key(gateway: GatewayProcess) -> str:
    stranger = Ed25519PrivateKey.generate()
    return jwt.encode(_claims(), stranger, algorithm="EdDSA", headers={"kid": _key(gateway)[1]})


def _own_key_in_header(gateway: GatewayProcess) -> str:
    stranger = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _b64(stranger.public_key().public_bytes_raw())}
    return jwt.encode(_claims(), stranger, algorithm="EdDSA", headers={"jwk": jwk, "kid": "own"})


BAD_TOKENS: dict[str, Callable[[GatewayProcess], str]] = {
    "garbage": lambda _: "garbage",
    "dots": lambda _: "a.b.c",
    "database password": lambda _: "secret of the login role",
    "not ascii": lambda _: "t\u00f6ken",
    "huge": lambda _: "x" * 15_000,
    "wrong audience": lambda g: _signed(g, _claims(aud="someone-else")),
    "no audience": lambda g: _signed(g, _claims(aud=None)),
    "expired": lambda g: _signed(g, _claims(iat=1_700_000_000, exp=1_700_000_600)),
    "no expiry": lambda g: _signed(g, _claims(exp=None)),
    "not yet valid": lambda g: _signed(g, _claims(nbf=int(time.time()) + 3000)),
    "issued in the future": lambda g: _signed(g, _claims(iat=int(time.time()) + 3000)),
    "unknown issuer": lambda g: _signed(g, _claims(iss="https://evil.test")),
    "issuer with a slash": lambda g: _signed(g, _claims(iss="https://issuer.test/")),
    "no subject": lambda g: _signed(g, _claims(sub=None)),
    "empty subject": lambda g: _signed(g, _claims(sub="")),
    "unknown kid": lambda g: _signed(g, _claims(), kid="nobody"),
    "alg none": lambda g: _unsigned(g, "none"),
    "alg none with a signature": lambda g: _unsigned(g, "none", "c2lnbmF0dXJl"),
    "alg None": lambda g: _unsigned(g, "nOnE"),
    "alg EdDSA without signature": lambda g: _unsigned(g, "EdDSA"),
    "hmac with the public key": _hmac_with_public_key,
    "claims changed": _tampered,
    "signature changed": _bit_flipped,
    "other key": _other_key,
    "own key in the header": _own_key_in_header,
    "groups not a list": lambda g: _signed(g, _claims(groups={"a": 1})),
}


def _refusal(gateway: GatewayProcess, password: str, **options: Any) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        gateway.connect(password=password, **options)
    return str(caught.value)


def _connections(stand: Stand) -> int:
    return stand.settled_log().count("connection authorized: user=pn_login")


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_bad_token(stand: Stand, name: str) -> None:
    gateway = stand.gateway
    text = _refusal(gateway, BAD_TOKENS[name](gateway))
    expected = _refusal(gateway, "not a token")
    assert "FATAL:  PN101 " in text or "FATAL:  PN102 " in text
    message = text.split("FATAL:")[1]
    assert message == expected.split("FATAL:")[1]


def test_no_password_at_all(stand: Stand) -> None:
    """Libpq refuses to send an empty password by itself, so bytes."""
    from tests.support.wireclient import WireClient, errors, message, startup

    with WireClient(stand.gateway.port) as client:
        client.send(startup({"user": "agent", "database": "orders"}))
        client.expect("R")
        client.send(message("p", b"\0"))
        answer = client.until_end()
    assert [(e["S"], e["C"]) for e in errors(answer)] == [("FATAL", "28P01")]


def test_reasons_are_in_the_audit(stand: Stand) -> None:
    """What the client is not told, the auditor is: each kind of failure by its own words."""
    gateway = stand.gateway
    asked = [
        "garbage", "wrong audience", "expired", "unknown issuer", "alg none",
        "alg none with a signature", "other key",
    ]  # fmt: skip
    for name in asked:
        _refusal(gateway, BAD_TOKENS[name](gateway), application_name="reasons")

    def reasons() -> set[str]:
        found = gateway.audit("--kind", "session.refused", "--limit", "1000")
        return {str(record.get("reason", "")) for record in found}

    def complete() -> bool:
        seen = " ".join(reasons()).lower()
        return all(word in seen for word in words)

    words = ["compact form", "audience", "expired", "issuer", "alg", "signature"]
    wait_until(complete, 10, "every reason is recorded")
    assert "" not in reasons()
    with_token = [r for r in gateway.audit("--kind", "session.refused") if "eyJ" in str(r)]
    assert with_token == []


def test_nothing_reaches_the_server(stand: Stand) -> None:
    """Goal: no bad token costs a server connection. Method: the server logs every login."""
    with stand.gateway.connect() as connection:
        connection.execute("select 1")
    before = _connections(stand)
    assert before > 0
    for name in ("garbage", "wrong audience", "alg none") * 4:
        _refusal(stand.gateway, BAD_TOKENS[name](stand.gateway))
    # Of twelve, none; one that the session before has asked for may still have come.
    assert _connections(stand) - before <= 1


@pytest.mark.parametrize("database", ["nowhere", "postgres", "template1", 'o"r', "orders2"])
def test_other_target(gateway: GatewayProcess, database: str) -> None:
    token = gateway.mint("agent-1", ["agents"])
    text = _refusal(gateway, token, dbname=database)
    assert "FATAL:  PN103 " in text
    own = _refusal(gateway, gateway.mint("stranger", ["nobody"]))
    assert text.split("FATAL:")[1].split("DETAIL")[0] == own.split("FATAL:")[1].split("DETAIL")[0]


def test_no_grant_is_28000(gateway: GatewayProcess) -> None:
    from tests.support.wireclient import WireClient, errors, message, startup

    for groups, database in (([], "orders"), (["nobody"], "orders"), (["agents"], "nowhere")):
        with WireClient(gateway.port) as client:
            client.send(startup({"user": "agent", "database": database}))
            client.expect("R")
            client.send(message("p", gateway.mint("stranger", groups).encode() + b"\0"))
            answer = client.until_end()
        assert [(e["S"], e["C"]) for e in errors(answer)] == [("FATAL", "28000")]


@pytest.mark.parametrize(
    "options",
    [
        "-c standard_conforming_strings=off",
        "-c search_path=hr",
        "-c session_authorization=postgres",
        "-c role=pn_admin",
        "-c row_security=off",
        "-c session_preload_libraries=evil",
        "-c log_statement=none",
    ],
)
def test_startup_option_that_changes_meaning(gateway: GatewayProcess, options: str) -> None:
    text = _refusal(gateway, gateway.mint("agent-1", ["agents"]), options=options)
    assert "FATAL:  PN" in text


def test_client_encoding_other_than_utf8(gateway: GatewayProcess) -> None:
    text = _refusal(gateway, gateway.mint("agent-1", ["agents"]), client_encoding="LATIN1")
    assert "FATAL:  PN" in text


def test_replication_refused(gateway: GatewayProcess) -> None:
    text = _refusal(gateway, gateway.mint("agent-1", ["agents"]), replication="database")
    assert "FATAL:  PN" in text


def test_session_ends_with_its_token(gateway: GatewayProcess) -> None:
    """A running statement is cancelled, the session gets 57P01 within a second of `exp`."""
    token = gateway.issuer().mint("short", ["agents"], 2)
    with gateway.connect(password=token) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        start = time.monotonic()
        with pytest.raises(psycopg.OperationalError) as caught:
            connection.execute(
                "select count(*) from sales.orders a, sales.orders b, sales.orders c,"
                " sales.orders d where a.amount + b.amount + c.amount = d.amount"
            )
        assert time.monotonic() - start < 4
    assert "PN201" in str(caught.value)
    assert caught.value.sqlstate == "57P01"
