"""Tokens: what is accepted, and every family of forgery that is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from gateway.clock import ManualClock
from gateway.config import Issuer
from gateway.errors import TokenExpired, TokenInvalid
from gateway.identity.keys import KeyStore
from gateway.identity.verify import UnknownKey, Verifier
from gateway.limits import JWKS_STALE_S_MAX, TOKEN_CACHE_ENTRIES_MAX
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


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, make_issuer())


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


# --- accepted -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "alg", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")]
)
def test_good_tokens(world: World, key: Any, alg: str, kid: str) -> None:
    """Goal: each allowed algorithm with its key; the principal is issuer and subject."""
    principal = world.verifier.verify(token(key=key, alg=alg, kid=kid))
    assert principal.issuer_id == "corp"
    assert principal.issuer == ISS
    assert principal.subject == "agent-7"
    assert principal.groups == ("corp:a", "corp:b")
    assert principal.expires_at == NOW + 600
    assert principal.token_id is None
    assert principal.agent is None


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["postern"]},
        {"aud": ["other", "postern"], "azp": "client"},
        {"aud": ["other", "postern-dev"], "client_id": "client"},
        {"nbf": NOW},
        {"nbf": NOW + 29},
        {"iat": NOW + 29},
        {"iat": NOW - 86_399.5},
        {"exp": NOW + 0.5},
        {"jti": "x", "agent": "a", "run_id": "r"},
        {"groups": ...},
        {"groups": []},
        {"groups": "one"},
        {"groups": [f"g{n}" for n in range(500)]},
        {"hasgroups": False},
        {"_claim_names": {"address": "src1"}},
        {"unheard_of": {"deep": [1, 2]}},
        {"sub": "x" * 255},
    ],
)
def test_accepted_variants(world: World, changes: dict[str, Any]) -> None:
    """Goal: what real issuers send passes."""
    world.verifier.verify(token(payload(**changes)))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "at+jwt"},
        {"typ": "JWT"},
        {"typ": "application/at+jwt"},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"jwk": jwk(RSA_OTHER, "rsa")},
        {"x5c": ["AAAA"]},
    ],
)
def test_key_hints_in_the_header_are_ignored(world: World, header: dict[str, Any]) -> None:
    """Goal: the header's own keys change nothing, for a good token and for a forged one."""
    world.verifier.verify(token(**header))
    with pytest.raises(TokenInvalid):
        world.verifier.verify(token(key=RSA_OTHER, **header))


def test_16_kb_token(world: World) -> None:
    """Goal: tokens as large as the limit work, one byte more does not."""
    world.verifier.verify(token(payload(blob="x" * 11_000)))
    check_refused(world, token(payload(blob="x" * 12_400)))


# --- refused --------------------------------------------------------------------------------

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
    "delegated": {"act": {"sub": "agent"}},
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


def check_refused(world: World, text: str) -> None:
    for _ in range(2):  # a refusal must not be remembered as a success
        with pytest.raises(TokenInvalid) as caught:
            world.verifier.verify(text)
        assert caught.value.reason
        assert not text or text not in caught.value.reason
        assert build_error(caught.value) == build_error(TokenInvalid())


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


# --- keys -----------------------------------------------------------------------------------


def test_unknown_kid_then_rotation(world: World) -> None:
    """Goal: a new key is asked for, found once the file changed, and the old one is gone."""
    fresh = rsa.generate_private_key(65537, 2048)
    text = token(key=fresh, kid="next")
    with pytest.raises(UnknownKey) as caught:
        world.verifier.verify(text)
    assert (caught.value.issuer_id, caught.value.kid) == ("corp", "next")
    old = token()
    world.verifier.verify(old)
    world.write([jwk(fresh, "next")])
    world.verifier.verify(text)  # found without being told: the file changed
    with pytest.raises(UnknownKey):
        world.verifier.verify(old)  # remembered, but its key was withdrawn


def test_refetching_the_same_keys_keeps_the_cache(world: World) -> None:
    """Goal: a routine refresh does not make every token be verified again."""
    world.verifier.verify(token())
    generation = world.store.generation
    world.write(KEYS, fetched_at=NOW + 300)
    world.verifier.reload()
    assert world.store.generation == generation


def test_remembered_token_ends_in_time(world: World) -> None:
    """Goal: the cache ends at exp and at max_age."""
    text = token(payload(exp=int(NOW) + 100))
    old = token(payload(iat=int(NOW) - 86_300, exp=int(NOW) + 10_000))
    world.verifier.verify(text)
    world.verifier.verify(old)
    world.clock.advance(99.9)
    world.verifier.verify(text)
    world.clock.advance(0.2)
    for expired in (text, old):
        with pytest.raises(TokenExpired):
            world.verifier.verify(expired)


def test_cache_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: many different tokens do not grow the worker."""
    assert TOKEN_CACHE_ENTRIES_MAX <= 100_000
    monkeypatch.setattr("gateway.identity.verify.TOKEN_CACHE_ENTRIES_MAX", 3)
    for number in range(6):
        world.verifier.verify(token(payload(jti=str(number))))
    assert len(world.verifier._known) == 3


def test_stale_keys(tmp_path: Path) -> None:
    """Goal: an issuer that is down is trusted for a day, not for ever, remembered or not."""
    world = World(tmp_path, make_issuer(max_age_s=10 * JWKS_STALE_S_MAX))
    text = token(payload(exp=int(NOW + 5 * JWKS_STALE_S_MAX)))
    world.clock.advance(JWKS_STALE_S_MAX - 1)
    world.verifier.verify(text)
    world.clock.advance(2)
    with pytest.raises(TokenInvalid) as caught:
        world.verifier.verify(text)
    assert "keys last fetched 24 h ago" in caught.value.reason
    world.write(KEYS, fetched_at=world.clock.wall())
    world.verifier.reload()
    world.verifier.verify(text)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"keys":7}', b'{"keys":[]}', b"\xff"]
)
def test_bad_key_file_fails_closed(world: World, content: bytes) -> None:
    """Goal: an unreadable key file leaves no key."""
    world.verifier.verify(token())
    world.path.write_bytes(content)
    world.verifier.reload()
    with pytest.raises(UnknownKey):
        world.verifier.verify(token())
    world.path.unlink()
    world.verifier.reload()
    with pytest.raises(UnknownKey):
        world.verifier.verify(token())


def test_single_key_needs_no_kid(tmp_path: Path) -> None:
    """Goal: with one fitting key there is nothing to guess."""
    world = World(tmp_path, make_issuer(), [jwk(RSA, None), jwk(EC, "ec")])
    world.verifier.verify(token(kid=None))


def test_jwks_file_is_never_refreshed(tmp_path: Path) -> None:
    """Goal: offline keys: an unknown kid is a plain refusal."""
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"keys": [jwk(RSA, "rsa")]}))
    issuer = make_issuer(jwks_file=path)
    clock = ManualClock(wall=NOW)
    verifier = Verifier([issuer], KeyStore([issuer], tmp_path, clock), clock)
    verifier.verify(token())
    with pytest.raises(TokenInvalid):
        verifier.verify(token(kid="other"))


def test_private_material_in_the_set_does_not_matter(tmp_path: Path) -> None:
    """Goal: a set that leaked its private half still only verifies."""
    member = jwt.algorithms.RSAAlgorithm.to_jwk(RSA, as_dict=True) | {"kid": "rsa"}
    member.pop("key_ops")
    world = World(tmp_path, make_issuer(), [member])
    world.verifier.verify(token())


# --- issuers, groups, required claims ----------------------------------------------------------


def test_issuers_do_not_mix(tmp_path: Path) -> None:
    """Goal: a key of one issuer signs nothing for the other."""
    other = make_issuer(id="other", issuer="https://other.example", algorithms=("EdDSA",))
    first = make_issuer()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/corp.json").write_text(json.dumps({"keys": [jwk(RSA, "k")]}))
    (tmp_path / "keys/other.json").write_text(json.dumps({"keys": [jwk(ED, "k"), jwk(RSA, "r")]}))
    clock = ManualClock(wall=NOW)
    verifier = Verifier([first, other], KeyStore([first, other], tmp_path, clock), clock)
    good = token(payload(iss=other.issuer), ED, "EdDSA", "k")
    assert verifier.verify(good).groups == ("other:a", "other:b")
    for bad in (
        token(payload(iss=other.issuer), RSA, "RS256", "r"),
        token(key=ED, alg="EdDSA", kid="k"),
    ):
        with pytest.raises(TokenInvalid):
            verifier.verify(bad)


@pytest.mark.parametrize(
    ("claim", "claims", "expected"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["x"]}}, ["x"]),
        ("realm_access/roles", {"realm_access": {"roles": "x"}}, ["x"]),
        ("/realm_access/roles", {"realm_access": {"roles": ["x", "x"]}}, ["x"]),
        ("https://corp.example/groups", {"https://corp.example/groups": ["x"]}, ["x"]),
        ("https://corp.example/groups", {"groups": ["x"]}, []),
        ("a.b", {"a.b": ["flat"], "a": {"b": ["nested"]}}, ["flat"]),
        ("a.b", {"a": {}}, []),
        ("a.b", {"a": {"b": ["corp:x"]}}, ["corp:x"]),
        ("a.b", {"a": ["b"]}, None),
        ("a.b", {"a": "b"}, None),
        ("a.b", {"_claim_names": {"a": "src1"}}, None),
    ],
)
def test_group_paths(
    tmp_path: Path, claim: str, claims: dict[str, Any], expected: list[str] | None
) -> None:
    """Goal: nested and namespaced claims; the issuer's id goes in front of every group."""
    world = World(tmp_path, make_issuer(groups_claim=claim))
    text = token(payload(groups=...) | claims)
    if expected is None:
        with pytest.raises(TokenInvalid):
            world.verifier.verify(text)
    else:
        groups = world.verifier.verify(text).groups
        assert groups == tuple(f"corp:{name}" for name in expected)


@pytest.mark.parametrize(
    ("claims", "is_good"),
    [
        ({"tenant": "t1", "level": 1, "verified": True}, True),
        ({"tenant": "t2", "level": 1, "verified": True}, False),
        ({"tenant": "t1", "level": True, "verified": True}, False),
        ({"tenant": "t1", "level": 1, "verified": 1}, False),
        ({"tenant": "t1", "level": "1", "verified": True}, False),
        ({"tenant": ["t1"], "level": 1, "verified": True}, False),
        ({"level": 1, "verified": True}, False),
    ],
)
def test_required_claims(tmp_path: Path, claims: dict[str, Any], is_good: bool) -> None:
    """Goal: exactly the value, type included."""
    required = {"tenant": "t1", "level": 1, "verified": True}
    world = World(tmp_path, make_issuer(required_claims=required))
    if is_good:
        world.verifier.verify(token(payload(**claims)))
    else:
        with pytest.raises(TokenInvalid):
            world.verifier.verify(token(payload(**claims)))
