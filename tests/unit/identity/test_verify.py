"""Tokens that are accepted, the keys behind them, and how long either lasts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.clock import ManualClock
from gateway.errors import TokenExpired, TokenInvalid
from gateway.identity.keys import KeyStore
from gateway.identity.verify import UnknownKey, Verifier
from gateway.limits import JWKS_STALE_S_MAX, TOKEN_CACHE_ENTRIES_MAX
from tests.unit.identity.tokens import (
    EC,
    ED,
    ISS,
    KEYS,
    NOW,
    RSA,
    RSA_OTHER,
    World,
    check_refused,
    jwk,
    make_issuer,
    payload,
    token,
)


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
    assert (principal.token_id or "").startswith("sha256:"), "a token without an id has one"
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


def test_delegation_names_both(world: World) -> None:
    """Goal: RFC 8693 `act`. The groups of the actor are its own, never the subject's."""
    acting = {"sub": "bot-1", "groups": ["bots"]}
    principal = world.verifier.verify(token(payload(groups=["people"], act=acting)))
    assert (principal.subject, principal.groups) == ("agent-7", ("corp:people",))
    assert (principal.actor, principal.actor_groups) == ("bot-1", ("corp:bots",))
    assert principal.agent == "bot-1"
    bare = world.verifier.verify(token(payload(act={"sub": "bot-1", "iss": ISS})))
    assert (bare.actor, bare.actor_groups) == ("bot-1", ())


def test_a_certificate_is_remembered(world: World) -> None:
    bound = token(payload(cnf={"x5t#S256": "A" * 43}))
    assert world.verifier.verify(bound).certificate == "A" * 43
    assert world.verifier.verify(token()).certificate is None


def test_agent_and_run_by_the_operators_claims(tmp_path: Path) -> None:
    """Goal: the claims that GitHub and others have, without a change in the agent."""
    issuer = make_issuer(agent_claim="workflow", run_claim="run")
    verifier = World(tmp_path, issuer).verifier
    claims = payload(workflow="deploy", run="77", agent="x", run_id="y")
    principal = verifier.verify(token(claims))
    assert (principal.agent, principal.run_id) == ("deploy", "77")


@pytest.mark.parametrize(
    ("claims", "is_good"),
    [
        ({"azp": "app"}, True),
        ({"client_id": "app"}, True),
        ({"azp": "other"}, False),
        ({"azp": "other", "client_id": "app"}, False),
        ({}, False),
        ({"azp": ["app"]}, False),
    ],
)
def test_authorized_parties(tmp_path: Path, claims: dict[str, Any], is_good: bool) -> None:
    verifier = World(tmp_path, make_issuer(authorized_parties=("app",))).verifier
    if is_good:
        assert verifier.verify(token(payload(**claims))).subject == "agent-7"
        return
    with pytest.raises(TokenInvalid):
        verifier.verify(token(payload(**claims)))
