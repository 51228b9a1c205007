"""The fuzz targets in miniature: kept findings and a second's worth of mutants, on every run.

FUZZ_SECONDS in the environment makes it a long run (`make fuzz`).
"""

from __future__ import annotations

import os
import random

import pytest

from tests.fuzz.run import corpus, fuzz, mutate
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    seconds = float(os.environ.get("FUZZ_SECONDS", "1")) / len(TARGETS)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    tried = fuzz(name, TARGETS[name], random.Random(seed), seconds=seconds)
    assert tried > len(corpus(name)) + len(TARGETS[name].seeds)


def test_mutants_differ_and_stay_small() -> None:
    rng = random.Random(1)
    mutants = {mutate(b"select 1" * 400, rng) for _ in range(100)}
    assert len(mutants) > 90
    assert max(map(len, mutants)) <= 4096
