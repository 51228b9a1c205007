"""SQL cut into coloured pieces. Colour is for the eye only: no byte is added, dropped or moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pygments.lexers.sql import PostgresLexer
from pygments.token import Token

from gateway.control.visible import visible

if TYPE_CHECKING:
    from gateway.control.visible import Segment

COLOURED_CHARS_MAX: Final = 20_000
_CLASSES: Final = (
    (Token.Comment, "c"),
    (Token.Keyword, "k"),
    (Token.Literal.String, "s"),
    (Token.Literal.Number, "n"),
)
_LEXER: Final = PostgresLexer()


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one colour, "" for none."""

    colour: str
    segments: list[Segment]


def colour_sql(text: str) -> list[Piece]:
    """Return all of `text`; without colours when it is long or the lexer disagrees about it."""
    whole = [Piece("", visible(text))]
    if len(text) > COLOURED_CHARS_MAX:
        return whole
    runs: list[tuple[str, str]] = []
    for _, kind, value in _LEXER.get_tokens_unprocessed(text):  # type: ignore[no-untyped-call]
        colour = next((name for parent, name in _CLASSES if kind in parent), "")
        if runs and runs[-1][0] == colour:
            runs[-1] = (colour, runs[-1][1] + value)
        else:
            runs.append((colour, value))
    if "".join(value for _, value in runs) != text:
        return whole
    pieces = [Piece(colour, visible(value)) for colour, value in runs]
    # What is hidden by its neighbours (walls of blanks) is found only in the whole.
    if [s for piece in pieces for s in piece.segments if s.is_marked] != [
        s for s in whole[0].segments if s.is_marked
    ]:
        return whole
    return pieces
