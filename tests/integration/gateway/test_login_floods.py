"""Guessing tokens: it ends soon, and agents that are known go on beside it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from gateway.limits import LOGIN_FAILURES_BURST
from tests.support.gateway import GatewayProcess
from tests.support.stands import EMBEDDED, Stands, own_directory


def test_a_guesser_is_held_up_and_known_tokens_are_not(stands: Stands) -> None:
    with own_directory() as directory:
        gateway = GatewayProcess(stands.cluster(EMBEDDED), Path(directory), workers=1)
        with gateway:
            known = gateway.mint("known", ["agents"])
            gateway.connect(password=known).close()
            answers = set()
            for number in range(int(LOGIN_FAILURES_BURST) + 60):
                with pytest.raises(psycopg.OperationalError) as refused:
                    gateway.connect(password=f"guess.{number}.x")
                answers |= {name for name in ("PN101", "PN106") if name in str(refused.value)}
                if "PN106" in answers:
                    break
            assert answers == {"PN101", "PN106"}
            with gateway.connect(password=known) as connection:
                assert connection.execute("select 1").fetchone() == (1,)
