"""What a login costs a worker in verification: a token seen before, and new ones by algorithm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.identity.tokens import EC, ED, RSA, World, make_issuer, payload, token

KEYS = {"RS256": (RSA, "rsa"), "ES256": (EC, "ec"), "EdDSA": (ED, "ed")}
ROUNDS = 300


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, make_issuer())


@pytest.mark.parametrize("algorithm", KEYS)
def test_new_token(benchmark: Any, world: World, algorithm: str) -> None:
    key, kid = KEYS[algorithm]
    tokens: Iterator[str] = iter(
        [token(payload(jti=str(n)), key=key, alg=algorithm, kid=kid) for n in range(ROUNDS)]
    )
    benchmark.pedantic(
        world.verifier.verify, setup=lambda: ((next(tokens),), {}), rounds=ROUNDS, iterations=1
    )


def test_token_seen_before(benchmark: Any, world: World) -> None:
    known = token()
    world.verifier.verify(known)
    benchmark(world.verifier.verify, known)
