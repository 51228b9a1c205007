"""Logout tokens of a provider: which put somebody out, and which are none."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import ManualClock
from gateway.errors import TokenInvalid
from gateway.identity.logout import EVENT
from gateway.identity.one_time import OneTimeIds
from tests.unit.identity.tokens import EC, NOW, RSA, World, payload, token


def claims(**changes: Any) -> dict[str, Any]:
    base = payload(
        groups=..., iat=int(NOW) - 2, exp=int(NOW) + 120, jti="logout-1", events={EVENT: {}}
    )
    return {name: value for name, value in (base | changes).items() if value is not ...}


def logout_token(given: dict[str, Any] | None = None, typ: str = "logout+jwt") -> str:
    return token(claims() if given is None else given, typ=typ)


def test_a_subject_is_out_for_what_it_had_until_then(world: World) -> None:
    found = world.verifier.verify_logout(logout_token())
    assert (found.issuer_id, found.kind, found.value) == ("corp", "subject", "agent-7")
    assert (found.at, found.token_id) == (NOW - 2, "logout-1")
    both = world.verifier.verify_logout(logout_token(claims(sid="s-1")))
    assert both.kind == "subject"


def test_a_login_without_a_subject_is_out(world: World) -> None:
    found = world.verifier.verify_logout(logout_token(claims(sub=..., sid="s-1")))
    assert (found.kind, found.value) == ("login", "s-1")
    assert world.verifier.verify(token(payload(sid="s-1"))).login == "s-1"


CASES: dict[str, dict[str, Any]] = {
    "no events": {"events": ...},
    "events a list": {"events": [EVENT]},
    "another event": {"events": {"http://schemas.example/other": {}}},
    "event a text": {"events": {EVENT: "yes"}},
    "nonce": {"nonce": "n"},
    "no jti": {"jti": ...},
    "jti a number": {"jti": 7},
    "nobody": {"sub": ...},
    "sub a list": {"sub": ["agent-7"]},
    "sid a number": {"sub": ..., "sid": 7},
    "other audience": {"aud": "other"},
    "other issuer": {"iss": "https://evil.example"},
    "no exp": {"exp": ...},
    "expired": {"exp": int(NOW) - 1},
    "no iat": {"iat": ...},
    "of yesterday": {"iat": int(NOW) - 301},
    "of tomorrow": {"iat": int(NOW) + 3600},
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_logout_puts_nobody_out(world: World, case: str) -> None:
    with pytest.raises(TokenInvalid):
        world.verifier.verify_logout(logout_token(claims(**CASES[case])))


def test_tokens_of_other_purposes_are_no_logout(world: World) -> None:
    """Goal: an id token logs nobody out, and a logout token logs nobody in."""
    for text in (token(), logout_token(typ="at+jwt"), logout_token(typ="secevent+jwt"), "", "x"):
        with pytest.raises(TokenInvalid):
            world.verifier.verify_logout(text)
    with pytest.raises(TokenInvalid):
        world.verifier.verify(logout_token(claims(exp=int(NOW) + 600)))


def test_a_forged_logout_is_none(world: World) -> None:
    text = logout_token()
    for forged in (
        text[:-6] + ("AAAAAA" if text[-6:] != "AAAAAA" else "BBBBBB"),
        token(claims(), key=EC, alg="ES256", kid="rsa", typ="logout+jwt"),
        token(claims(), key=RSA, kid="ps", typ="logout+jwt"),
    ):
        with pytest.raises(TokenInvalid):
            world.verifier.verify_logout(forged)


def _use(path: Path, count: Any) -> None:
    if OneTimeIds(path, ManualClock(wall=NOW)).use("saml", "corp", "id-1", NOW + 60):
        with count.get_lock():
            count.value += 1


def test_an_id_is_good_once_over_all_processes(tmp_path: Path) -> None:
    """Goal: a replay is refused by whoever gets it. Method: eight processes use one id at once."""
    context = multiprocessing.get_context("spawn")
    count = context.Value("i", 0)
    path = tmp_path / "identity" / "used.db"
    OneTimeIds(path, ManualClock(wall=NOW)).use("saml", "corp", "id-0", NOW + 60)
    processes = [context.Process(target=_use, args=(path, count)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert count.value == 1
    assert path.stat().st_mode & 0o077 == 0


def test_a_used_id_is_forgotten_when_its_bearer_has_expired(tmp_path: Path) -> None:
    clock = ManualClock(wall=NOW)
    ids = OneTimeIds(tmp_path / "used.db", clock)
    assert ids.use("saml", "corp", "a", NOW + 60)
    assert not ids.use("saml", "corp", "a", NOW + 60)
    assert ids.use("saml", "other", "a", NOW + 60)
    assert ids.use("logout", "corp", "a", NOW + 60)
    clock.advance(61)
    assert ids.use("saml", "corp", "a", NOW + 120)
