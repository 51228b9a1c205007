"""Keys from a real issuer over HTTP, and what a broken or hostile one must not achieve."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config import Issuer
from gateway.errors import TokenInvalid
from gateway.identity.keys import KeyStore, keys_path
from gateway.identity.provider_http import ProviderError
from gateway.identity.refresh import fetch_keys, refresh_keys
from gateway.identity.verify import UnknownKey, Verifier
from gateway.limits import JWKS_BYTES_MAX


class Idp:
    """An identity provider: a discovery document, a key set, and a signing key."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/realm"
        self.discovery: dict[str, Any] = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        self.keys: list[Any] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.delay_s = 0.0
        self.rotate("k1")

    def rotate(self, kid: str) -> None:
        self.kid, self.key = kid, ec.generate_private_key(ec.SECP256R1())
        member: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(
            self.key.public_key(), as_dict=True
        )
        self.keys = [{**member, "kid": kid, "use": "sig", "alg": "ES256"}]

    def token(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "sub": "a", "aud": "postern", "iat": now, "exp": now + 60}
        return jwt.encode(claims | changes, self.key, algorithm="ES256", headers={"kid": self.kid})

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        time.sleep(self.delay_s)
        if path in self.answers:
            return self.answers[path]
        if path == "/realm/.well-known/openid-configuration":
            return 200, {}, json.dumps(self.discovery).encode()
        if path == "/realm/keys":
            return 200, {}, json.dumps({"keys": self.keys}).encode()
        return 404, {}, b"{}"


@pytest.fixture
def idp() -> Iterator[Idp]:
    """A running identity provider on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = provider.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep test output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider = Idp(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield provider
        server.shutdown()
        thread.join()


def make_issuer(idp: Idp, **changes: Any) -> Issuer:
    base = Issuer(
        id="corp",
        kind="oidc",
        issuer=idp.url,
        audiences=("postern",),
        algorithms=("RS256", "ES256"),
        groups_claim="groups",
        jwks_file=None,
        authorized_parties=(),
        agent_claim="agent",
        run_claim="run_id",
        required_claims={},
        max_age_s=3600.0,
        leeway_s=30.0,
    )
    return replace(base, **changes)


def test_login_and_rotation(idp: Idp, tmp_path: Path) -> None:
    """Goal: discovery, verification, and a rotation that one refresh heals."""
    issuer = make_issuer(idp)
    verifier = Verifier([issuer], KeyStore([issuer], tmp_path))
    with pytest.raises(UnknownKey):
        verifier.verify(idp.token())
    asyncio.run(refresh_keys(issuer, tmp_path))
    assert verifier.verify(idp.token(groups="g")).groups == ("corp:g",)
    before = idp.token()
    idp.rotate("k2")
    with pytest.raises(UnknownKey):
        verifier.verify(idp.token())
    asyncio.run(refresh_keys(issuer, tmp_path))
    verifier.verify(idp.token())
    with pytest.raises(UnknownKey):
        verifier.verify(before)
    with pytest.raises(TokenInvalid):
        verifier.verify(idp.token(aud="else"))


BAD_DISCOVERY: dict[str, dict[str, Any]] = {
    "another issuer": {"issuer": "https://evil.example"},
    "no issuer": {"issuer": None},
    "issuer with a slash more": {"issuer": "{url}/"},
    "no jwks_uri": {"jwks_uri": None},
    "jwks_uri is a list": {"jwks_uri": ["x"]},
    "jwks_uri over plain http elsewhere": {"jwks_uri": "http://keys.example/keys"},
    "jwks_uri is a file": {"jwks_uri": "file:///etc/passwd"},
    "jwks_uri with a user": {"jwks_uri": "http://u:p@127.0.0.1/keys"},
    "jwks_uri is nonsense": {"jwks_uri": "http://[::1"},
    "jwks_uri without host": {"jwks_uri": "https:///keys"},
}


@pytest.mark.parametrize("changes", BAD_DISCOVERY.values(), ids=BAD_DISCOVERY.keys())
def test_bad_discovery(idp: Idp, changes: dict[str, Any]) -> None:
    """Goal: the document must name our issuer and keys at a place we may trust."""
    for name, value in changes.items():
        text = value.replace("{url}", idp.url) if isinstance(value, str) else value
        idp.discovery[name] = text
    with pytest.raises(ProviderError):
        asyncio.run(fetch_keys(make_issuer(idp)))


BAD_KEYS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "not found": (404, {}, b"{}"),
    "server error": (500, {}, b"oops"),
    "redirect": (302, {"Location": "https://evil.example/"}, b""),
    "not JSON": (200, {}, b"<html>"),
    "a list": (200, {}, b"[]"),
    "no keys": (200, {}, b"{}"),
    "empty set": (200, {}, b'{"keys":[]}'),
    "nonsense keys": (200, {}, b'{"keys":[1,"x",{},{"kty":[]},{"kty":"EC","crv":{}}]}'),
    "symmetric keys only": (200, {}, b'{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'),
    "too many keys": (200, {}, json.dumps({"keys": [{}] * 101}).encode()),
    "duplicate member": (200, {}, b'{"keys":[],"keys":[]}'),
    "deep": (200, {}, b'{"keys":' + b"[" * 100_000),
    "huge": (200, {}, b" " * (JWKS_BYTES_MAX + 1)),
    "compressed bomb": (200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(50_000_000))),
}


@pytest.mark.parametrize("answer", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_bad_key_set_leaves_the_old_one(
    idp: Idp, tmp_path: Path, answer: tuple[int, dict[str, str], bytes]
) -> None:
    """Goal: garbage never replaces keys that work."""
    issuer = make_issuer(idp)
    asyncio.run(refresh_keys(issuer, tmp_path))
    before = keys_path(tmp_path, issuer).read_bytes()
    idp.answers["/realm/keys"] = answer
    with pytest.raises(ProviderError):
        asyncio.run(refresh_keys(issuer, tmp_path))
    assert keys_path(tmp_path, issuer).read_bytes() == before
    assert [path.name for path in keys_path(tmp_path, issuer).parent.iterdir()] == ["corp.json"]
    Verifier([issuer], KeyStore([issuer], tmp_path)).verify(idp.token())


def test_slow_and_dead_issuers(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a fetch ends within its bound whatever the issuer does."""
    monkeypatch.setattr("gateway.identity.provider_http.JWKS_FETCH_TIMEOUT_S", 0.3)
    idp.delay_s = 0.25  # each answer in time, both together not
    start = time.monotonic()
    with pytest.raises(ProviderError, match="no answer"):
        asyncio.run(fetch_keys(make_issuer(idp)))
    assert time.monotonic() - start < 2
    with pytest.raises(ProviderError):
        asyncio.run(fetch_keys(make_issuer(idp, issuer="http://127.0.0.1:1/realm")))


def test_plain_http_is_for_loopback_only(idp: Idp) -> None:
    """Goal: keys are never taken from an unencrypted remote issuer."""
    with pytest.raises(ProviderError, match="https"):
        asyncio.run(fetch_keys(make_issuer(idp, issuer="http://idp.example.com")))
