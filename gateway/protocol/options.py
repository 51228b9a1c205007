"""Read the `options` startup parameter as PostgreSQL's command line does.

The grammar is process_postgres_switches behind pg_split_opts: words split at white
space, a backslash keeps the next character, then `-c name=value`, `-cname=value` or
`--name=value` with dashes in the name meaning underscores. '+' is not a space.
"""

from __future__ import annotations

from typing import NoReturn

from gateway.errors import ProtocolViolation

_SPACES = " \t\n\r\v\f"


def parse_options(text: str) -> dict[str, str]:
    """Return the settings in `text`; the last of several wins, as in the server.

    Raises ProtocolViolation for every switch that is not a setting.
    """
    settings: dict[str, str] = {}
    words = iter(_split(text))
    for word in words:
        if word == "-c":
            assignment = next(words, None)
            if assignment is None:
                _refuse()
        elif word.startswith("-c") or (word.startswith("--") and len(word) > 2):
            assignment = word[2:]
        else:
            _refuse()
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            _refuse()
        name = name.replace("-", "_")
        for known in [key for key in settings if key.lower() == name.lower()]:
            del settings[known]
        settings[name] = value
    return settings


def _split(text: str) -> list[str]:
    words: list[str] = []
    word: list[str] | None = None
    chars = iter(text)
    for char in chars:
        if char in _SPACES:
            if word is not None:
                words.append("".join(word))
                word = None
            continue
        word = [] if word is None else word
        # A backslash at the very end escapes nothing and is dropped, as in the server.
        word.append(next(chars, "") if char == "\\" else char)
    if word is not None:
        words.append("".join(word))
    return words


def _refuse() -> NoReturn:
    raise ProtocolViolation(
        'the startup parameter "options" may only hold settings (-c name=value)',
        reason="startup_options",
    )
