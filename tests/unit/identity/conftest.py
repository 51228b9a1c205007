"""The one fixture that most tests of the verifier share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.identity.tokens import World, make_issuer


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a verifier of one issuer with every kind of key."""
    return World(tmp_path, make_issuer())
