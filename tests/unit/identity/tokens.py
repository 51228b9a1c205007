"""Keys, claims and tokens, good and bad, for the tests of the verifier."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from gateway.clock import ManualClock
from gateway.config import Issuer
from gateway.errors import TokenInvalid
from gateway.identity.keys import KeyStore
from gateway.identity.verify import Verifier
from gateway.protocol.messages import build_error

NOW = 1_800_000_000.0
ISS = "https://idp.example.com/"

RSA = rsa.generate_private_key(65537, 2048)
RSA_WEAK = rsa.generate_private_key(65537, 1024)
RSA_OTHER = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    kinds: dict[Any, Any] = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    kind = next(kind for base, kind in kinds.items() if isinstance(key, base))
    member: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    member.pop("key_ops", None)
    return member | ({} if kid is None else {"kid": kid}) | more


KEYS = [
    jwk(RSA, "rsa"),
    jwk(EC, "ec"),
    jwk(EC384, "ec384"),
    jwk(ED, "ed"),
    jwk(RSA_WEAK, "weak"),
    jwk(RSA_OTHER, "enc", use="enc"),
    jwk(RSA_OTHER, "wrap", key_ops=["wrapKey"]),
    jwk(RSA_OTHER, "ps", alg="PS256"),
    jwk(RSA, "twin"),
    jwk(RSA_OTHER, "twin"),
    {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "oct"},
    {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
    {"kty": ["RSA"], "kid": "broken2"},
    "nonsense",
]


def make_issuer(**changes: Any) -> Issuer:
    base = Issuer(
        id="corp",
        kind="oidc",
        issuer=ISS,
        audiences=("postern", "postern-dev"),
        algorithms=("RS256", "ES256", "EdDSA"),
        groups_claim="groups",
        jwks_file=None,
        authorized_parties=(),
        agent_claim="agent",
        run_claim="run_id",
        required_claims={},
        max_age_s=86_400.0,
        leeway_s=30.0,
    )
    return replace(base, **changes)


class World:
    """One data directory, a clock that stands still, and the verifier over them."""

    def __init__(self, data_dir: Path, issuer: Issuer, keys: list[Any] | None = None) -> None:
        self.clock = ManualClock(wall=NOW)
        self.path = data_dir / "keys" / f"{issuer.id}.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.write(KEYS if keys is None else keys)
        self.store = KeyStore([issuer], data_dir, self.clock)
        self.verifier = Verifier([issuer], self.store, self.clock)

    def write(self, keys: list[Any], fetched_at: float = NOW) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"fetched_at": fetched_at, "keys": keys}))
        fresh.replace(self.path)


def payload(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": ISS,
        "sub": "agent-7",
        "aud": "postern",
        "iat": int(NOW) - 10,
        "exp": int(NOW) + 600,
        "groups": ["a", "b"],
    }
    return {name: value for name, value in (claims | changes).items() if value is not ...}


def token(
    claims: dict[str, Any] | None = None,
    key: Any = RSA,
    alg: str = "RS256",
    kid: Any = "rsa",
    **header: Any,
) -> str:
    headers = header | ({} if kid is None else {"kid": kid})
    return jwt.encode(payload() if claims is None else claims, key, algorithm=alg, headers=headers)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: str | bytes, body: str | bytes) -> str:
    """Sign arbitrary bytes as header and payload with the good RSA key."""
    parts = [part.encode() if isinstance(part, str) else part for part in (header, body)]
    signing = f"{b64(parts[0])}.{b64(parts[1])}"
    return f"{signing}.{b64(RSA.sign(signing.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


HEADER = '{"alg":"RS256","kid":"rsa"}'
BODY = json.dumps(payload())


def check_refused(world: World, text: str) -> None:
    for _ in range(2):  # a refusal must not be remembered as a success
        with pytest.raises(TokenInvalid) as caught:
            world.verifier.verify(text)
        assert caught.value.reason
        assert not text or text not in caught.value.reason
        assert build_error(caught.value) == build_error(TokenInvalid())
