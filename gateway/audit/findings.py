"""What verifying a trail finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

PROBLEMS_MAX: Final = 1_000  # a trail that is wrong everywhere need not be listed in full


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding. `what` is edited, reordered, gap, truncated, fork, duplicate, key, signature."""

    what: str
    file: str
    sequence: int
    text: str


@dataclass(slots=True, kw_only=True)
class Verification:
    """The outcome over one data directory."""

    stream: str = ""
    segments: int = 0
    purged: int = 0  # segments that were deleted with proof
    entries: int = 0
    checkpoints: int = 0
    last_sequence: int = 0
    signed_to: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # (session, statement number) of intents without a result: running now, or never marked.
    open: list[tuple[str, int]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.problems

    def add(self, what: str, file: str, sequence: int, text: str) -> None:
        """Note a problem."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(what=what, file=file, sequence=sequence, text=text))
