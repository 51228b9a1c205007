"""Throw mutated bytes at every fuzz target: `python -m tests.fuzz.run --seconds 60`.

`--cases` counts inputs instead of seconds: `make fuzz-asan` runs ten million under sanitizers.

Meant for the build with sanitizers, where a read past the end aborts the process. A finding is
kept in `tests/fuzz/corpus/<target>/` and is tried first from then on. The seed is printed, so a
run can be repeated.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import sys
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS, Target

CORPUS = Path(__file__).parent / "corpus"
SIZE_MAX = 4096
BATCH = 200
WORDS = [
    b"\0\0\0\0",
    b"\0\0\0\3",
    b"\0\0\0\4",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\xff\xff\xff\xff",
]
WORDS += [
    b"\xff\xff\xff\xfe",
    b"\0\0",
    b"\xff\xff",
    b"D",
    b"'",
    b'"',
    b"$$",
    b"/*",
    b"*/",
    b"--",
    b"\\",
    b"\n",
]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with a few changes of the sort that breaks parsers."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(out) + 1)
        action = rng.randrange(6)
        if action == 0 and out:
            out[at % len(out)] = rng.randrange(256)
        elif action == 1:
            word = rng.choice(WORDS)
            out[at : at + len(word)] = word
        elif action == 2:
            out[at:at] = rng.choice(WORDS)
        elif action == 3:
            del out[at : at + rng.randrange(1, 9)]
        elif action == 4:
            out[at:at] = out[at : at + rng.randrange(1, 33)]
        elif out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
    return bytes(out[:SIZE_MAX])


def corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*.bin"))]


def keep(name: str, data: bytes) -> Path:
    """Store an input that broke a target."""
    path = CORPUS / name / f"{hashlib.sha256(data).hexdigest()[:16]}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def fuzz(
    name: str,
    target: Target,
    rng: random.Random,
    *,
    seconds: float = math.inf,
    cases: float = math.inf,
) -> int:
    """Run one target for a while or for a number of inputs; return how many were tried."""
    pool = [*corpus(name), *target.seeds]
    for data in pool:
        target.run(data)
    tried = len(pool)
    deadline = time.monotonic() + seconds
    data = pool[0]
    while tried < cases and time.monotonic() < deadline:
        for _ in range(BATCH):
            # Now and then a mutant is mutated on: some faults need several steps.
            data = mutate(data if rng.random() < 0.3 else rng.choice(pool), rng)
            try:
                target.run(data)
            except Exception:
                print(f"{name}: kept {keep(name, data)}", file=sys.stderr)
                raise
        tried += BATCH
    return tried


def main() -> int:
    """Fuzz all targets, or the named ones, and say how much was tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--cases", type=int, help="for all targets together, instead of seconds")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(TARGETS))
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"unknown target {', '.join(sorted(unknown))}; known: {', '.join(TARGETS)}")
    names = options.targets or list(TARGETS)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}", flush=True)
    for name in names:
        rng = random.Random(f"{seed}/{name}")
        limit = (
            {"seconds": options.seconds / len(names)}
            if options.cases is None
            else {"cases": options.cases / len(names)}
        )
        started = time.monotonic()
        tried = fuzz(name, TARGETS[name], rng, **limit)
        took = time.monotonic() - started
        print(f"{name}: {tried} inputs in {took:.0f} s, nothing found", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
