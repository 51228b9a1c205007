"""Pure Python twins of the compiled leaf modules: slow, obvious, and only an oracle for tests.

They follow the documents (message formats, scan.l's rules), not the compiled code, so that one
mistake does not hide in both.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from _fastpath.errors import FrameError
from _fastpath.maskcells import CellMask
from tests.support.reference_masks import mask_cell


def scan_frames(data: bytes, frame_size_max: int) -> tuple[list[tuple[int, int]], int]:
    frames: list[tuple[int, int]] = []
    pos = 0
    while len(data) >= pos + 5:
        (length,) = struct.unpack_from(">i", data, pos + 1)
        if length < 4 or length > frame_size_max:
            raise FrameError("message length out of bounds", pos, frame_size_max)
        if len(data) < pos + 1 + length:
            break
        frames.append((data[pos], pos + 1 + length))
        pos += 1 + length
    return frames, pos


def build_row(cells: Sequence[bytes | None]) -> bytes:
    payload = struct.pack(">h", len(cells))
    for cell in cells:
        payload += struct.pack(">i", -1) if cell is None else struct.pack(">i", len(cell)) + cell
    return b"D" + struct.pack(">i", len(payload) + 4) + payload


def parse_row(message: bytes) -> list[bytes | None]:
    """Read one whole DataRow message. Raises FrameError when it is anything else."""
    try:
        kind, length, count = struct.unpack_from(">cih", message)
        cells: list[bytes | None] = []
        pos = 7
        for _ in range(count):
            (size,) = struct.unpack_from(">i", message, pos)
            pos += 4
            if size < -1 or pos + max(size, 0) > len(message):
                raise FrameError("bad cell", pos)
            cells.append(None if size == -1 else message[pos : pos + size])
            pos += max(size, 0)
    except struct.error as problem:
        raise FrameError("short row") from problem
    if count < 0 or kind != b"D" or length + 1 != len(message) or pos != len(message):
        raise FrameError("bad row")
    return cells


def rewrite(columns: Sequence[CellMask | None], rows: bytes) -> bytes:
    frames, end = scan_frames(rows, 0x7FFFFFFF)
    if end != len(rows):
        raise FrameError("incomplete row", end)
    out = b""
    start = 0
    for _, stop in frames:
        cells = parse_row(rows[start:stop])
        if len(cells) != len(columns):
            raise FrameError("wrong number of columns", start)
        out += build_row(
            [
                cell if mask is None or cell is None else mask_cell(mask, cell)
                for mask, cell in zip(columns, cells, strict=True)
            ]
        )
        start = stop
    return out


_LETTER = "A-Za-z_\\x80-\\U0010ffff"
# Possessive and atomic throughout: the lexer never gives back what it has taken.
_TOKENS = re.compile(
    rf"""
      (?P<space>[ \t\n\r\f]+ | --[^\n\r]*)
    | (?P<comment>/\*)
    | (?P<STRING>'(?:[^']|'')*+' | [eE]'(?:[^'\\]|''|\\.)*+'
        | (?P<dollar>\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$).*?(?P=dollar))
    | (?P<UNICODE_STRING>[uU]&'(?:[^']|'')*+')
    | (?P<NATIONAL>[nN]'(?:[^']|'')*+')
    | (?P<BITS>[bB]'[^']*')
    | (?P<HEX>[xX]'[^']*')
    | (?P<QUOTED>"(?:[^"]|"")++")
    | (?P<UNICODE_QUOTED>[uU]&"(?:[^"]|"")++")
    | (?P<NAME>(?![eEbBxXnN]'|[uU]&['"])[{_LETTER}][{_LETTER}0-9$]*)
    | (?P<PARAM>\$[0-9]++)(?![{_LETTER}])
    | (?P<NUMBER>(?>(?:[0-9]+(?:\.(?!\.)[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?))(?![{_LETTER}])
    | (?P<OPERATOR>[~!@#^&|`?+\-*/%<>=]+)
    | (?P<SYMBOL>::|:=|:|\.\.|[,()\[\];.])
    """,
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS = {"STRING", "UNICODE_STRING", "NATIONAL", "BITS", "HEX"}
Token = tuple[str, str]


def tokens(sql: str) -> list[Token] | None:
    """Lex `sql` into (kind, text kept), None for what the compiled lexer must not judge."""
    found: list[Token] = []
    pos = 0
    while pos < len(sql):
        match = _TOKENS.match(sql, pos)
        if match is None:
            return None
        kind = next(k for k, v in match.groupdict().items() if v is not None and k != "dollar")
        text = match[kind]
        pos = match.end()
        if kind == "comment":
            ended = _comment_end(sql, match.start())
            if ended is None:
                return None
            pos = ended
        elif kind != "space":
            if kind == "OPERATOR":
                text = _operator(text)
                pos = match.start() + len(text)
                kind = "SYMBOL"
            token = _reduced(kind, text)
            if token is None or (found and not _may_follow(found[-1], token)):
                return None
            found.append(token)
    return found


def _comment_end(sql: str, pos: int) -> int | None:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(sql, pos):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return None


def _operator(run: str) -> str:
    run = re.split(r"--|/\*", run, maxsplit=1)[0]
    while len(run) > 1 and run[-1] in "+-" and not set(run[:-1]) & set("~!@#^&|`?%"):
        run = run[:-1]
    return run


def _reduced(kind: str, text: str) -> Token | None:
    if kind in _CONSTANTS:
        return kind, ""
    if kind == "NUMBER":
        if not text.isdigit():
            return "NUMERIC", ""
        if int(text) in (2**31, 2**63):
            return None
        return ("INT4" if int(text) < 2**31 else "INT8" if int(text) < 2**63 else "NUMERIC"), ""
    if kind == "NAME":
        return kind, re.sub("[A-Z]", lambda m: m[0].lower(), text)
    if kind == "QUOTED":
        return kind, text[1:-1]
    if kind == "UNICODE_QUOTED":
        return kind, text[3:-1]
    return kind, text.removeprefix("$") if kind == "PARAM" else text


def _may_follow(before: Token, token: Token) -> bool:
    if before[0].startswith("UNICODE") and token == ("NAME", "uescape"):
        return False
    return not (before[0] in _CONSTANTS and token[0] in _CONSTANTS)


TAGS = {
    1: "NAME",
    2: "QUOTED",
    3: "UNICODE_QUOTED",
    4: "SYMBOL",
    5: "PARAM",
    6: "STRING",
    7: "UNICODE_STRING",
    8: "NATIONAL",
    14: "BITS",
    15: "HEX",
    16: "INT4",
    17: "INT8",
    18: "NUMERIC",
}


def decode_fingerprint(fingerprint: bytes) -> list[Token]:
    """Read a fingerprint back into tokens. That this is possible proves that none is ambiguous."""
    found: list[Token] = []
    pos = 0
    while fingerprint[pos] != 0:
        kind = TAGS[fingerprint[pos]]
        pos += 1
        pattern = rb'(?:[^"]|"")*"' if kind.endswith("QUOTED") else rb"[^\x00-\x1f]*"
        match = re.compile(pattern, re.DOTALL).match(fingerprint, pos)
        assert match is not None
        text = match[0].removesuffix(b'"') if kind.endswith("QUOTED") else match[0]
        found.append((kind, text.decode()))
        pos = match.end()
    assert pos == len(fingerprint) - 1
    return found
