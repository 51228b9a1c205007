"""The canary hunt with a small budget; `python -m tests.adversarial.canary` has a large one."""

from __future__ import annotations

from tests.adversarial.canary import hunt
from tests.adversarial.worlds import Worlds

_STATEMENTS = 1_500


def test_no_canary_is_received(worlds: Worlds) -> None:
    """Goal: no part of a secret in any byte, no answer that depends on one.

    Method: random statements, of which most run; a hunt that is refused everything sees nothing.
    """
    report = hunt(worlds, _STATEMENTS, seed=20_261_124)
    assert not report.leaks
    assert report.ran > _STATEMENTS / 3, report.outcomes
    assert report.outcomes["PN307"] > _STATEMENTS / 20, report.outcomes


def test_hunt_finds_what_is_planted(worlds: Worlds) -> None:
    """Goal: the hunt can fail. Method: hunt as a group without masks."""
    report = hunt(worlds, 200, seed=1, group="trusted")
    assert report.leaks
