"""Fixtures of the compiled modules' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.relay import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A fresh relay."""
    return Bench(tmp_path)
