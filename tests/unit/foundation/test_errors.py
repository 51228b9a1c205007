from __future__ import annotations

import json
import re

import pytest

from gateway.errors import (
    ERRORS,
    ClientError,
    ConfigError,
    NotGranted,
    PolicyError,
    Problem,
    TokenExpired,
    TokenInvalid,
)
from gateway.text import clean_text, quote_name

# The table of ids that drivers, agents and documentation rely on; a change here is a break.
CONTRACT = {
    "PN101": ("FATAL", "28P01"),
    "PN102": ("FATAL", "28P01"),
    "PN103": ("FATAL", "28000"),
    "PN105": ("FATAL", "28000"),
    "PN106": ("FATAL", "53300"),
    "PN107": ("FATAL", "57P03"),
    "PN108": ("FATAL", "08P01"),
    "PN201": ("FATAL", "57P01"),
    "PN202": ("FATAL", "57P01"),
    "PN203": ("FATAL", "57P05"),
    "PN204": ("FATAL", "57P01"),
    "PN301": ("ERROR", "42501"),
    "PN302": ("ERROR", "42501"),
    "PN303": ("ERROR", "25006"),
    "PN304": ("ERROR", "42601"),
    "PN305": ("ERROR", "0A000"),
    "PN307": ("ERROR", "42501"),
    "PN308": ("ERROR", "54001"),
    "PN309": ("ERROR", "57014"),
    "PN401": ("ERROR", "55000"),
    "PN402": ("ERROR", "42501"),
    "PN403": ("ERROR", "55000"),
    "PN404": ("ERROR", "55000"),
    "PN501": ("ERROR", "54000"),
    "PN502": ("ERROR", "57014"),
    "PN503": ("ERROR", "54001"),
    "PN504": ("ERROR", "53400"),
    "PN701": ("ERROR", "58030"),
    "PN702": ("FATAL", "08006"),
}


def test_ids_severities_and_sqlstates_are_the_published_ones() -> None:
    assert {key: (cls.severity, cls.sqlstate) for key, cls in ERRORS.items()} == CONTRACT


def test_no_policy_outcome_has_a_state_that_drivers_retry() -> None:
    """40001 and 40P01 are retried, class 08 makes pools reconnect: neither may loop an agent."""
    for key, cls in ERRORS.items():
        if key[2] in "345":
            assert not cls.sqlstate.startswith(("40", "08")), key


@pytest.mark.parametrize("cls", ERRORS.values(), ids=ERRORS)
def test_text_starts_with_the_id_and_stays_short(cls: type[ClientError]) -> None:
    text = cls("é" * 1_000).text()
    assert re.match(r"PN\d{3} ", text)
    assert len(text.encode()) <= 300


def test_token_errors_tell_the_client_nothing_and_the_audit_everything() -> None:
    expired = TokenExpired("exp was 1700000000", hint="renew", facts={"exp": 1_700_000_000})
    invalid = TokenInvalid(reason="bad signature")
    assert expired.text() == invalid.text()
    assert (expired.wire_id, expired.hint, expired.facts) == ("PN101", invalid.hint, {})
    assert (expired.retry, expired.sqlstate) == (invalid.retry, invalid.sqlstate)
    assert expired.id == "PN102"
    assert expired.reason == "exp was 1700000000"
    assert invalid.reason == "bad signature"


def test_reason_is_not_in_the_text() -> None:
    error = NotGranted("no grant", reason="rule 7 of the secret policy")
    assert "secret" not in error.text() + error.hint + json.dumps(error.facts)


@pytest.mark.parametrize(
    "hostile",
    ["a\0b", "a\nb", "a\x1b[2Jb", "a\x85b", "a\u202eb", "a\u2028b", "a\ud800b"],
)
def test_control_characters_never_reach_the_reader(hostile: str) -> None:
    assert clean_text(hostile).replace("[2J", "") == "a b"


def test_cutting_never_splits_a_character() -> None:
    for size in range(290, 310):
        clean_text("x" * size + "é" * 50).encode().decode()


def test_names_are_quoted_as_postgresql_does() -> None:
    assert quote_name("sales", 'we"ird') == '"sales"."we""ird"'


def test_places_name_what_is_known() -> None:
    assert str(Problem("p.yaml", 3, 7, "bad")) == "p.yaml:3:7: bad"
    assert str(Problem("p.yaml", 0, 0, "bad")) == "p.yaml: bad"
    error = PolicyError([Problem("a", 1, 1, "x"), Problem("b", 2, 2, "y")])
    assert str(error) == "a:1:1: x\nb:2:2: y"
    assert str(ConfigError("postern.toml:3", "no")) == "postern.toml:3: no"
