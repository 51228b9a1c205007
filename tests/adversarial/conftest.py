"""The two worlds, made once per test process and only when a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.adversarial.worlds import WORLDS, Direct, Worlds, two_worlds


@pytest.fixture(scope="session")
def worlds() -> Iterator[Worlds]:
    with two_worlds() as made:
        yield made


@pytest.fixture(scope="session")
def direct(worlds: Worlds) -> Iterator[dict[str, Direct]]:
    """A superuser's connection to each world."""
    with ExitStack() as stack:
        yield {world: stack.enter_context(Direct(worlds.cluster, world)) for world in WORLDS}
