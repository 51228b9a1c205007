"""Look for a canary in what a client receives: `python -m tests.adversarial.canary`.

Every secret of the two worlds is a unique string. Random statements run through the gateway in
both; a secret, or four characters of one, in any byte received is a leak, and so is an answer that
differs between the worlds. Equal seeds give equal runs.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.adversarial.generator import Generator
from tests.adversarial.worlds import MODES, SECRETS, WORLDS, Worlds, two_worlds
from tests.support.wireclient import Message, errors

_FRAGMENT = 4


@dataclass(slots=True)
class Report:
    """What a run saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)

    @property
    def ran(self) -> int:
        """Statements that the gateway let through and the server answered."""
        return self.outcomes["ran"]


def fragments(world: str) -> set[bytes]:
    """Every part of the world's secrets that is long enough to recognise."""
    return {
        word[at : at + _FRAGMENT].encode()
        for secret in SECRETS[world]
        for word in re.split(r"[@.]|example|parent", secret)
        for at in range(len(word) - _FRAGMENT + 1)
    }


def hunt(
    worlds: Worlds,
    statements: int,
    seed: int,
    *,
    group: str = "writers",
    progress: Callable[[int, Report], None] | None = None,
) -> Report:
    """Run `statements` random statements; every leak is in the report with its number."""
    generator = Generator(seed)
    # One value of the first world is planted in clear sight, for cases that compare with it.
    parts = fragments(WORLDS[1])
    report = Report()
    for number in range(statements):
        sql = generator.statement()
        mode = MODES[number % len(MODES)]
        answers = [worlds.through(world, group, [sql], mode) for world in WORLDS]
        report.outcomes[_outcome(answers[0])] += 1
        if why := _leak(answers, parts):
            report.leaks.append(f"seed {seed}, statement {number}, {mode}: {why}: {sql}")
        if progress is not None and number % 1000 == 999:
            progress(number + 1, report)
    return report


def _leak(answers: list[list[Message]], parts: set[bytes]) -> str:
    seen = b"".join(payload for _, payload in answers[1])
    for part in parts:
        if part in seen:
            return f"{part.decode()} received"
    return "answers differ" if answers[0] != answers[1] else ""


def _outcome(answer: list[Message]) -> str:
    if any(kind == "!" for kind, _ in answer):
        return "session ended"
    found = errors(answer)
    if not found:
        return "ran"
    return found[0]["M"][:5] if found[0]["M"].startswith("PN") else f"server {found[0]['C']}"


def main() -> None:
    """Hunt and report; exit status 1 when there is a leak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statements", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()

    def progress(number: int, report: Report) -> None:
        sys.stderr.write(f"\r{number} statements, {report.ran} ran, {len(report.leaks)} leaks ")

    with two_worlds() as worlds:
        report = hunt(worlds, given.statements, given.seed, progress=progress)
    sys.stderr.write("\n")
    for outcome, count in report.outcomes.most_common():
        sys.stdout.write(f"{count:9} {outcome}\n")
    for leak in report.leaks:
        sys.stdout.write(f"LEAK {leak}\n")
    raise SystemExit(1 if report.leaks else 0)


if __name__ == "__main__":
    main()
