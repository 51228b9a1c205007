"""Make everything in a hostile text visible, for a person who is about to sign it.

What does not show on a screen, or shows as something else (controls, bidirectional overrides,
zero-width and look-alike blanks, piles of combining marks, walls of empty lines that push the
interesting part out of view) is replaced by its name. Nothing is left out.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BLANK_LINES_MAX = 2
MARKS_MAX = 2
SPACES_MAX = 32

# Letters and symbols by category, blanks to the eye.
_BLANK = frozenset("\u00ad\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_NAMES = {"\r": "CR", "\x00": "NUL", "\x1b": "ESC", "\x7f": "DEL", "\x08": "BS", "\u00a0": "NBSP"}


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of text to show as it is, or (`is_marked`) the name of something invisible."""

    text: str
    is_marked: bool = False


def visible(text: str) -> list[Segment]:
    """Return `text` in segments whose plain ones hold only what shows. Newlines stay."""
    segments: list[Segment] = []
    plain: list[str] = []
    for piece, is_marked in _pieces(text):
        if not is_marked:
            plain.append(piece)
            continue
        if plain:
            segments.append(Segment("".join(plain)))
            plain.clear()
        segments.append(Segment(piece, is_marked=True))
    if plain:
        segments.append(Segment("".join(plain)))
    return segments


def visible_text(text: str, *, one_line: bool = False) -> str:
    """Return `text` with what is invisible named in brackets: for terminals and plain cells."""
    shown = "".join(f"\u27e8{s.text}\u27e9" if s.is_marked else s.text for s in visible(text))
    return " ".join(shown.split("\n")) if one_line else shown


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    at, size, marks = 0, len(text), 0
    while at < size:
        char = text[at]
        if char in "\n ":
            run = _run(text, at, char)
            at += run
            limit = BLANK_LINES_MAX + 1 if char == "\n" else SPACES_MAX
            if run > limit:
                yield char, False
                yield (f"{run - 2} empty lines" if char == "\n" else f"{run - 2} spaces"), True
                yield char, False
            else:
                yield char * run, False
            marks = 0
            continue
        at += 1
        category = unicodedata.category(char)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if char == "\t":
            yield "    ", False
        elif char in _BLANK or category[0] in "CZ" or marks > MARKS_MAX or _is_selector(char):
            yield _NAMES.get(char, f"U+{ord(char):04X}"), True
        else:
            yield char, False


def _run(text: str, at: int, char: str) -> int:
    end = at
    while end < len(text) and text[end] == char:
        end += 1
    return end - at


def _is_selector(char: str) -> bool:
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
