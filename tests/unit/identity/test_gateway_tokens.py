"""Short tokens: never stronger than what they were given for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.clock import ManualClock
from gateway.identity import gateway_tokens
from gateway.identity.gateway_tokens import (
    GatewayTokens,
    TokenRefused,
    delegate,
    is_gateway_token,
    narrow,
    token_digest,
)
from gateway.policy.principal import Principal

NOW = 1_700_000_000.0
ANN = Principal("corp", "https://idp", "ann", ("corp:a", "corp:b"), "jti-1", NOW + 3600, NOW)
BOT = Principal("k8s", "https://k8s", "bot", ("k8s:bots",), "jti-2", NOW + 3600, NOW)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(tmp_path: Path, clock: ManualClock) -> GatewayTokens:
    return GatewayTokens(tmp_path / "identity" / "tokens.db", clock)


def find(tokens: GatewayTokens, token: str) -> tuple[Principal, float] | None:
    digest = token_digest(token)
    assert digest is not None
    return tokens.find(digest)


def test_a_token_speaks_for_its_principal_and_no_longer_than_15_minutes(
    tokens: GatewayTokens, clock: ManualClock
) -> None:
    token, given = tokens.issue(ANN, ANN.expires_at)
    assert is_gateway_token(token)
    assert len(token) < 200
    assert given == replace(ANN, gateway_token=given.gateway_token, expires_at=NOW + 900)
    assert find(tokens, token) == (given, ANN.expires_at)
    clock.advance(899.9)
    assert find(tokens, token) is not None
    clock.advance(0.2)
    assert find(tokens, token) is None


def test_the_parent_bounds_its_life(tokens: GatewayTokens, clock: ManualClock) -> None:
    """Renewed over and over, it ends with the token it was given for."""
    principal, until = ANN, NOW + 2000
    for _ in range(3):
        token, principal = tokens.issue(principal, until)
        found = find(tokens, token)
        assert found is not None
        assert found[1] == NOW + 2000
        principal = found[0]
        clock.advance(800)
    assert principal.expires_at == NOW + 2000


def test_what_is_stored_opens_nothing(tokens: GatewayTokens, tmp_path: Path) -> None:
    token, _ = tokens.issue(ANN, ANN.expires_at)
    for path in (tmp_path / "identity").iterdir():
        assert token.encode() not in path.read_bytes()
        assert token.removeprefix("pgt_").encode() not in path.read_bytes()
    assert (tmp_path / "identity" / "tokens.db").stat().st_mode & 0o077 == 0


def test_it_survives_the_process(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "identity" / "tokens.db"
    token, given = GatewayTokens(path, clock).issue(ANN, ANN.expires_at)
    assert find(GatewayTokens(path, clock), token) == (given, ANN.expires_at)


@pytest.mark.parametrize(
    "text", ["", "pgt_", "pgt_x", "pgt_" + "x" * 42, "pgt_" + "x" * 44, "PGT_" + "x" * 43,
             "pgt_" + "x" * 42 + "!", "pgt_" + "x" * 43 + "\n", " pgt_" + "x" * 43]
)  # fmt: skip
def test_what_is_no_token(text: str) -> None:
    assert token_digest(text) is None


def test_narrowing_never_widens() -> None:
    reading = narrow(ANN, "orders", "read")
    assert (reading.only_target, reading.only_level) == ("orders", "read")
    assert narrow(reading, "", "") == reading
    assert narrow(reading, "orders", "read") == reading
    assert narrow(narrow(ANN, "", "write"), "", "read").only_level == "read"
    for target, level, code in (
        ("other", "", "invalid_target"),
        ("orders", "write", "invalid_scope"),
        ("", "admin", "invalid_scope"),
        ("", "READ", "invalid_scope"),
    ):
        with pytest.raises(TokenRefused) as refused:
            narrow(reading, target, level)
        assert refused.value.code == code


def test_delegation_keeps_the_strictest_of_both() -> None:
    acting = delegate(replace(ANN, only_target="orders"), replace(BOT, only_level="read"))
    assert acting.key == ANN.key
    assert acting.groups == ANN.groups
    assert (acting.actor, acting.actor_issuer, acting.actor_groups) == ("bot", "k8s", BOT.groups)
    assert acting.agent == "bot"
    assert (acting.only_target, acting.only_level) == ("orders", "read")
    for subject, actor in ((acting, BOT), (BOT, acting)):
        with pytest.raises(TokenRefused):
            delegate(subject, actor)
    for subject, actor in (
        (replace(ANN, only_target="orders"), replace(BOT, only_target="other")),
        (replace(ANN, certificate="a"), replace(BOT, certificate="b")),
    ):
        with pytest.raises(TokenRefused):
            delegate(subject, actor)
    weak, strong = replace(ANN, only_level="read"), replace(BOT, only_level="write")
    assert delegate(weak, strong).only_level == "read"


def test_there_is_a_bound(tokens: GatewayTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_tokens, "GATEWAY_TOKENS_PER_PRINCIPAL_MAX", 3)
    for _ in range(3):
        tokens.issue(ANN, ANN.expires_at)
    with pytest.raises(TokenRefused) as refused:
        tokens.issue(ANN, ANN.expires_at)
    assert refused.value.code == "slow_down"
    tokens.issue(BOT, BOT.expires_at)
