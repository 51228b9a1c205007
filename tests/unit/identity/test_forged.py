"""Every family of forged and unfit token, none of which gets in."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.errors import TokenExpired
from gateway.identity.verify import UnknownKey
from tests.unit.identity.tokens import (
    BODY,
    EC,
    EC384,
    ED,
    HEADER,
    ISS,
    NOW,
    RSA,
    RSA_OTHER,
    RSA_WEAK,
    World,
    b64,
    check_refused,
    payload,
    raw,
    token,
)

TIMES: list[Any] = [None, True, "soon", str(int(NOW) + 60), [], {}, -1, 0, 2**63, 10**300]
TEXTS: list[Any] = [None, "", 7, ["x"], {}, "a\0b", "a\nb", "\u202eevil", "x" * 256]
AUDIENCES: list[Any] = [
    None,
    "",
    "other",
    [],
    ["other"],
    {},
    7,
    ["postern", 7],
    "postern ",
    "POSTERN",
]
ISSUERS: list[Any] = [None, "", ISS[:-1], ISS + "/", ISS.upper(), [ISS], 7, "https://evil.example"]
GROUPS: list[Any] = [7, {}, {"a": 1}, None, [7], [["a"]], ["a", None], [""], ["a\nb"], "", True]

CLAIM_CASES: dict[str, dict[str, Any]] = {
    **{f"{name} missing": {name: ...} for name in ("iss", "sub", "aud", "exp", "iat")},
    **{
        f"{name} {number}": {name: value}
        for name in ("exp", "iat", "nbf")
        for number, value in enumerate(TIMES)
    },
    **{
        f"{name} {number}": {name: value}
        for name in ("sub", "jti", "agent", "run_id")
        for number, value in enumerate(TEXTS)
    },
    **{f"aud {number}": {"aud": value} for number, value in enumerate(AUDIENCES)},
    **{f"iss {number}": {"iss": value} for number, value in enumerate(ISSUERS)},
    **{f"groups {number}": {"groups": value} for number, value in enumerate(GROUPS)},
    "501 groups": {"groups": [f"g{n}" for n in range(501)]},
    "overage, names": {"groups": ..., "_claim_names": {"groups": "src1"}},
    "overage, names of the wrong type": {"_claim_names": ["groups"]},
    "overage, flag": {"groups": ..., "hasgroups": True},
    "overage, flag as text": {"groups": ..., "hasgroups": "true"},
    "two audiences without azp": {"aud": ["postern", "other"]},
    "azp of the wrong type": {"aud": ["postern", "other"], "azp": 7},
    "iat in the future": {"iat": NOW + 31},
    "not yet valid": {"nbf": NOW + 31},
    "bound to a key": {"cnf": {"jkt": "x"}},
    "bound to a key and a certificate": {"cnf": {"x5t#S256": "A" * 43, "jkt": "x"}},
    "bound to nothing": {"cnf": {}},
    "bound to a short thumbprint": {"cnf": {"x5t#S256": "A" * 42}},
    "bound to a padded thumbprint": {"cnf": {"x5t#S256": "A" * 43 + "="}},
    "bound to a number": {"cnf": {"x5t#S256": 7}},
    "cnf of the wrong type": {"cnf": "A" * 43},
    "act of the wrong type": {"act": "agent"},
    "act without sub": {"act": {}},
    "act with an empty sub": {"act": {"sub": ""}},
    "act with sub of the wrong type": {"act": {"sub": ["agent"]}},
    "act of another issuer": {"act": {"sub": "agent", "iss": "https://other"}},
    "act of an actor's actor": {"act": {"sub": "agent", "act": {"sub": "another"}}},
    "act with groups of the wrong type": {"act": {"sub": "agent", "groups": {"a": 1}}},
    "act with overage": {"act": {"sub": "agent", "hasgroups": True}},
}


@pytest.mark.parametrize("changes", CLAIM_CASES.values(), ids=CLAIM_CASES.keys())
def test_claims(world: World, changes: dict[str, Any]) -> None:
    """Goal: each claim missing, wrong or of the wrong type is refused, signature or not."""
    body = json.dumps(payload(**changes))
    check_refused(world, raw(HEADER, body))


EXPIRY_CASES = {
    "now": {"exp": NOW},
    "by 1 s": {"exp": NOW - 1},
    "long ago": {"exp": 1},
    "over max_age": {"iat": NOW - 86_401},
}


@pytest.mark.parametrize("changes", EXPIRY_CASES.values(), ids=EXPIRY_CASES.keys())
def test_expired(world: World, changes: dict[str, Any]) -> None:
    """Goal: expiry has its own class for the audit and the same words for the client."""
    with pytest.raises(TokenExpired):
        world.verifier.verify(token(payload(**changes)))


def hs256(key: bytes, kid: str = "rsa") -> str:
    signing = f"{b64(json.dumps({'alg': 'HS256', 'kid': kid}).encode())}.{b64(BODY.encode())}"
    return f"{signing}.{b64(hmac.digest(key, signing.encode(), hashlib.sha256))}"


PUBLIC_PEM = RSA.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
PUBLIC_DER = RSA.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
GOOD = token()
H, P, S = GOOD.split(".")

FORGED: dict[str, str] = {
    "empty": "",
    "word": "password",
    "two parts": f"{H}.{P}",
    "four parts": f"{GOOD}.x",
    "five parts, as JWE": "a.b.c.d.e",
    "empty signature": f"{H}.{P}.",
    "no header": f".{P}.{S}",
    "space after": GOOD + " ",
    "newline after": GOOD + "\n",
    "NUL after": GOOD + "\0",
    "non-ASCII": GOOD + "é",
    "surrogate": GOOD + "\udcff",
    "padding": f"{H}=.{P}.{S}",
    "bearer prefix": f"Bearer {GOOD}",
    "too long": "a." + "b" * 20_000 + ".c",
    "signature of another key": token(key=RSA_OTHER),
    "signature flipped": f"{H}.{P}.{'A' if S[0] != 'A' else 'B'}{S[1:]}",
    "signature cut": f"{H}.{P}.{S[:-4]}",
    "payload of another": f"{H}.{b64(json.dumps(payload(sub='root')).encode())}.{S}",
    "alg none": b64(b'{"alg":"none"}') + f".{P}.x",
    "alg None": b64(b'{"alg":"None","kid":"rsa"}') + f".{P}.{S}",
    "alg nOnE": b64(b'{"alg":"nOnE","kid":"rsa"}') + f".{P}.{S}",
    "alg missing": raw('{"kid":"rsa"}', BODY),
    "alg null": raw('{"alg":null,"kid":"rsa"}', BODY),
    "alg list": raw('{"alg":["RS256"],"kid":"rsa"}', BODY),
    "alg lower case": raw('{"alg":"rs256","kid":"rsa"}', BODY),
    "alg not allowed, RS512": token(alg="RS512"),
    "alg not allowed, PS256": token(alg="PS256"),
    "alg not allowed, ES384": token(key=EC384, alg="ES384", kid="ec384"),
    "HMAC with the public key as PEM": hs256(PUBLIC_PEM),
    "HMAC with the public key as DER": hs256(PUBLIC_DER),
    "HMAC with a symmetric key of the set": hs256(b"secretsecretsecretsecretsecret", "oct"),
    "HMAC with nothing": hs256(b""),
    "RS256 with the EC key's id": token(kid="ec"),
    "ES256 with the RSA key's id": token(key=EC, alg="ES256", kid="rsa"),
    "EdDSA with the RSA key's id": token(key=ED, alg="EdDSA", kid="rsa"),
    "kid of a key for another algorithm": token(key=RSA_OTHER, kid="ps"),
    "kid that two keys share": token(kid="twin"),
    "kid missing among several keys": token(kid=None),
    "kid is a number": raw('{"alg":"RS256","kid":7}', BODY),
    "kid is a list": raw('{"alg":"RS256","kid":["rsa"]}', BODY),
    "kid is empty": raw('{"alg":"RS256","kid":""}', BODY),
    "kid is a path": raw('{"alg":"RS256","kid":"' + "../" * 100 + '"}', BODY),
    "critical extension": raw('{"alg":"RS256","kid":"rsa","crit":["exp"],"exp":1}', BODY),
    "unencoded payload": raw('{"alg":"RS256","kid":"rsa","b64":false}', BODY),
    "compressed": raw('{"alg":"RS256","kid":"rsa","zip":"DEF"}', BODY),
    "logout token": token(typ="logout+jwt"),
    "security event": token(typ="secevent+jwt"),
    "proof": token(typ="dpop+jwt"),
    "typ is a number": raw('{"alg":"RS256","kid":"rsa","typ":7}', BODY),
    "duplicate alg": raw('{"alg":"RS256","alg":"none","kid":"rsa"}', BODY),
    "duplicate sub": raw(HEADER, BODY[:-1] + ',"sub":"root"}'),
    "duplicate nested": raw(HEADER, BODY[:-1] + ',"x":{"a":1,"a":2}}'),
    "header is a list": raw("[]", BODY),
    "payload is a list": raw(HEADER, f"[{BODY}]"),
    "payload is text": raw(HEADER, '"x"'),
    "payload is empty": raw(HEADER, " "),
    "payload is UTF-16": raw(HEADER, BODY.encode("utf-16")),
    "payload is not UTF-8": raw(HEADER, BODY.encode()[:-1] + b',"x":"\xff"}'),
    "payload with a byte order mark": raw(HEADER, b"\xef\xbb\xbf" + BODY.encode()),
    "NaN": raw(HEADER, BODY[:-1] + ',"nbf":NaN}'),
    "Infinity": raw(HEADER, BODY.replace(str(int(NOW) + 600), "Infinity")),
    "1e999": raw(HEADER, BODY.replace(str(int(NOW) + 600), "1e999")),
    "a number of 5,000 digits": raw(HEADER, BODY[:-1] + ',"x":' + "9" * 5_000 + "}"),
    "nested 5,000 deep": raw(HEADER, BODY[:-1] + ',"x":' + "[" * 5_000 + "]" * 5_000 + "}"),
    "escaped surrogate": raw(HEADER, BODY.replace("agent-7", "\\ud800")),
}


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED.keys())
def test_forged(world: World, text: str) -> None:
    """Goal: refused with one text on the wire and a reason in the audit, never a crash."""
    check_refused(world, text)


def test_there_are_enough_cases() -> None:
    """Goal: the table keeps its breadth."""
    assert len(CLAIM_CASES) + len(FORGED) + len(EXPIRY_CASES) >= 120


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits")
@pytest.mark.parametrize(
    ("key", "kid"), [(RSA_WEAK, "weak"), (RSA_OTHER, "enc"), (RSA_OTHER, "wrap"), (RSA, "broken")]
)
def test_unfit_keys_are_as_good_as_unknown(world: World, key: Any, kid: str) -> None:
    """Goal: weak keys and keys for other purposes are not loaded; the rest of the set is."""
    with pytest.raises(UnknownKey):
        world.verifier.verify(token(key=key, kid=kid))
