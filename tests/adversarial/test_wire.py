"""Hundreds of attacks over the wire, each shown to work without the gateway.

Goal: nothing a client sends makes its answers depend on what it may not see, and nothing acts
beyond its grants. Method: `worlds`; every case over the simple and the extended protocol, text and
binary, described and not.
"""

from __future__ import annotations

import re

import pytest

from tests.adversarial import wire_cases
from tests.adversarial.sql.cases import VALUES
from tests.adversarial.sql.server_cases import SERVER
from tests.adversarial.worlds import MODES, SECRETS, WORLDS, Direct, Worlds
from tests.support.wireclient import Message, errors

# Would run if it were not for our own transaction, or runs into our own time limit.
_ACTS = {"25001", "57014"}
_FRAGMENT = 4
# Cases of the unit suite that compare with "a": here with what the first world holds.
_EMAIL = f"'{SECRETS['orders'][0]}'"
_LITERALS = (
    ("'a%'", "'xq7%'"),
    ("'^a'", "'^xq7'"),
    ("= 'a'", f"= {_EMAIL}"),
    ("('a', 'b')", f"({_EMAIL}, 'b')"),
    ("(1, 'a')", f"(2, {_EMAIL})"),
    ("'a' = any", f"{_EMAIL} = any"),
    ("'a' in", f"{_EMAIL} in"),
    ("from 'a'", f"from {_EMAIL}"),
    ("between 'a' and 'b'", "between 'xp' and 'xr'"),
)


def split(text: str) -> list[list[str]]:
    """The cases of a block, each a list of steps."""
    return [line.split(" ;; ") for line in text.splitlines() if line.strip()]


def adapted(text: str) -> str:
    for before, after in _LITERALS:
        text = text.replace(before, after)
    return text


OWN = [
    *(("writers", case) for case in split(wire_cases.TYPES)),
    *(("writers", case) for case in split(wire_cases.RELATIONS)),
    *(("writers", case) for case in split(wire_cases.WRITES)),
    *(("admins", case) for case in split(wire_cases.ADMIN)),
]
SHARED = [("admins", case) for case in split(adapted(VALUES))]
ACTS = [("readers", case) for case in split(SERVER)]


def leaks_directly(direct: dict[str, Direct], case: list[str]) -> bool:
    first, second = (direct[world].run(case) for world in WORLDS)
    return first != second


def acts_directly(direct: dict[str, Direct], case: list[str]) -> bool:
    return {error["C"] for error in errors(direct[WORLDS[0]].run(case))} <= _ACTS


def fragments(world: str) -> set[bytes]:
    """Every part of the world's secrets that is long enough to recognise."""
    text = [secret for secret in SECRETS[world] if not secret.isdecimal()]
    return {
        word[at : at + _FRAGMENT].encode()
        for secret in text
        for word in re.split(r"[@.]|example|parent", secret)
        for at in range(len(word) - _FRAGMENT + 1)
    }


def assert_equal_answers(worlds: Worlds, group: str, case: list[str]) -> list[list[Message]]:
    """Run the case every way in both worlds; the first world's answers, one list per way."""
    answers = []
    sent = " ".join(case).encode()
    for mode in MODES:
        first, second = (worlds.through(world, group, case, mode) for world in WORLDS)
        assert first == second, mode
        seen = b"".join(payload for _, payload in first)
        for part in fragments(WORLDS[0]):
            assert part not in seen or part in sent, mode
        answers.append(first)
    return answers


@pytest.mark.parametrize(("group", "case"), OWN, ids=[" ;; ".join(case)[:90] for _, case in OWN])
def test_nothing_leaks(
    worlds: Worlds, direct: dict[str, Direct], group: str, case: list[str]
) -> None:
    """Goal: equal answers. Method: directly they differ, so the case is an attack."""
    assert leaks_directly(direct, case), "no attack: direct answers do not differ"
    assert_equal_answers(worlds, group, case)


@pytest.mark.parametrize(
    ("group", "case"), SHARED, ids=[" ;; ".join(case)[:90] for _, case in SHARED]
)
def test_nothing_of_the_unit_suite_leaks(worlds: Worlds, group: str, case: list[str]) -> None:
    """Goal: what the analyser refuses on paper is refused on the wire, whoever may do most."""
    assert_equal_answers(worlds, group, case)


@pytest.mark.parametrize(("group", "case"), ACTS, ids=[case[0][:90] for _, case in ACTS])
def test_nothing_acts(worlds: Worlds, group: str, case: list[str]) -> None:
    """Goal: every one is refused by the gateway itself, whichever way it comes."""
    for answer in assert_equal_answers(worlds, group, case):
        assert any(error["M"].startswith("PN") for error in errors(answer))


def test_most_cases_are_attacks(direct: dict[str, Direct]) -> None:
    """Goal: the suite attacks. Method: count what leaks or acts on a direct connection."""
    leaking = sum(leaks_directly(direct, case) for _, case in OWN + SHARED)
    acting = sum(acts_directly(direct, case) or leaks_directly(direct, case) for _, case in ACTS)
    assert leaking >= 500
    assert acting >= 100


def test_owners_of_rights_see_through(worlds: Worlds) -> None:
    """Goal: the harness can fail. Method: for a group without masks the worlds do differ."""
    case = ["select upper(email) from customers"]
    for mode in MODES:
        first, second = (worlds.through(world, "trusted", case, mode) for world in WORLDS)
        assert first != second
