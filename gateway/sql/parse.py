"""From statement bytes to PostgreSQL's own parse tree, as plain dictionaries.

The parser is C on hostile input, so everything that could hurt it is refused before: size, NUL
(it would cut the text short), bad UTF-8, deep nesting, and too many tokens. What remains and
still dies costs one analyzer process, never a worker.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson
from pglast.parser import ParseError, parse_sql_json

from gateway.errors import NotUnderstood, StatementSyntax, TooComplex

Node = dict[str, Any]

STATEMENT_BYTES_MAX: Final = 1 << 20
STATEMENTS_MAX: Final = 100
# Measured on a 2-core host: 20,000 tokens cost about 50 ms of parsing; 5,000 nested brackets are
# the parser's own end. Both caps are far above what drivers and ORMs send.
TOKENS_MAX: Final = 20_000
# What is below this many bytes cannot hurt the parser, and orjson refuses over 1,024 levels.
BRACKETS_MAX: Final = 200
# At each "/*" the server's lexer reads on to the end of the run of operator characters: 200,000
# of them in a row took minutes.
COMMENTS_MAX: Final = 500
_SCAN_FROM_BYTES: Final = 400

_TOKEN = re.compile(
    r"""
      \s+ | --[^\n\r]* | /\*
    | (?P<open>[(\[]) | (?P<close>[)\]])
    | [eE]'[^'\\]*(?:\\.[^'\\]*)*'? | '[^']*(?:''[^']*)*'? | "[^"]*"?
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | [0-9.]+ | \$[0-9]+ | .
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")


def parse(sql: bytes) -> list[Node]:
    """Return the statements of `sql` in order, each `{"<NodeType>": {...}}`.

    Raises StatementSyntax, NotUnderstood or TooComplex.
    """
    if len(sql) > STATEMENT_BYTES_MAX:
        raise TooComplex(f"the statement is longer than {STATEMENT_BYTES_MAX} bytes")
    if b"\0" in sql:
        raise NotUnderstood("the statement contains a NUL byte")
    try:
        text = sql.decode()
    except UnicodeDecodeError as error:
        raise NotUnderstood(f"the statement is not valid UTF-8 at byte {error.start}") from error
    if len(text) > _SCAN_FROM_BYTES:
        _check_size(text)
    try:
        tree = orjson.loads(parse_sql_json(text))
    except ParseError as error:
        raise _syntax_error(error) from error
    except orjson.JSONDecodeError as error:
        raise TooComplex("the statement is nested too deeply") from error
    statements: list[Node] = tree.get("stmts", [])
    if len(statements) > STATEMENTS_MAX:
        raise TooComplex(f"more than {STATEMENTS_MAX} statements in one string")
    return [statement["stmt"] for statement in statements]


def _syntax_error(error: ParseError) -> StatementSyntax | TooComplex:
    message = str(error.args[0]) if error.args else "syntax error"
    if "memory exhausted" in message or "stack depth" in message:
        return TooComplex("the statement is nested too deeply")
    location = error.args[1] if len(error.args) > 1 else None
    position = location + 1 if isinstance(location, int) and location >= 0 else None
    return StatementSyntax(message.partition(", at index ")[0], position=position)


def _check_size(text: str) -> None:
    """Refuse what is too deep or too long. A cheap lexer: it may overcount, never undercount."""
    position = tokens = depth = comments = 0
    size = len(text)
    while position < size:
        found = _TOKEN.match(text, position)
        if found is None:  # cannot be: the last alternative takes any character
            raise NotUnderstood("the statement cannot be split into tokens")
        position = found.end()
        kind = found.lastgroup
        if kind == "dollar":
            end = text.find(found[0], position)
            position = size if end < 0 else end + len(found[0])
        elif found[0] == "/*":
            position = _comment_end(text, position)
            comments += 1
            if comments > COMMENTS_MAX:
                raise TooComplex(f"more than {COMMENTS_MAX} comments")
        elif kind == "open":
            depth += 1
            if depth > BRACKETS_MAX:
                raise TooComplex(f"more than {BRACKETS_MAX} nested brackets")
        elif kind == "close":
            depth = max(depth - 1, 0)
        tokens += not found[0].isspace()
        if tokens > TOKENS_MAX:
            raise TooComplex(f"more than {TOKENS_MAX} words and signs in one statement")


def _comment_end(text: str, position: int) -> int:
    depth = 1
    opens = 0
    for found in _COMMENT.finditer(text, position):
        depth += 1 if found[0] == "/*" else -1
        opens += found[0] == "/*"
        if opens > COMMENTS_MAX:
            raise TooComplex(f"more than {COMMENTS_MAX} nested comments")
        if depth == 0:
            return found.end()
    return len(text)
