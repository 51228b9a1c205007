"""Replace what a server's error says by fixed text, for principals behind a mask.

Error texts repeat values ("invalid input syntax for type integer: ..."), so where any
mask applies on the target only severity, SQLSTATE and position pass, each checked for its
shape; everything else, known field or not, is dropped.
"""

from __future__ import annotations

import re

_SEVERITIES = frozenset(
    {"ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "DEBUG", "INFO", "LOG"},
)
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_POSITION = re.compile(r"[0-9]{1,10}")

_CLASS_TEXTS = {
    "00": "the server sent a notice",
    "01": "the server sent a warning",
    "02": "no data",
    "08": "connection exception",
    "0A": "feature not supported",
    "0L": "invalid grantor",
    "0P": "invalid role specification",
    "21": "cardinality violation",
    "22": "invalid data",
    "23": "integrity constraint violation",
    "24": "invalid cursor state",
    "25": "invalid transaction state",
    "26": "invalid SQL statement name",
    "28": "invalid authorization specification",
    "34": "invalid cursor name",
    "38": "external routine exception",
    "39": "external routine invocation exception",
    "3B": "savepoint exception",
    "3D": "invalid catalog name",
    "3F": "invalid schema name",
    "40": "transaction rollback",
    "42": "syntax error or access rule violation",
    "44": "with check option violation",
    "53": "insufficient resources",
    "54": "program limit exceeded",
    "55": "object not in prerequisite state",
    "57": "operator intervention",
    "58": "system error",
    "72": "snapshot failure",
    "F0": "configuration file error",
    "HV": "foreign data wrapper error",
    "P0": "error raised by a function",
    "XX": "internal error",
}

_TEXTS = {
    "0A000": "feature not supported, or a cached plan changed its result type",
    "21000": "cardinality violation: a subquery returned more than one row",
    "22001": "value too long for the column type",
    "22003": "numeric value out of range",
    "22004": "null value not allowed",
    "22007": "invalid date or time format",
    "22008": "date or time field overflow",
    "22012": "division by zero",
    "22021": "character not in repertoire",
    "22023": "invalid parameter value",
    "22P02": "invalid text representation for the type",
    "22P03": "invalid binary representation for the type",
    "22P04": "bad COPY file format",
    "23001": "restrict violation",
    "23502": "not-null constraint violated",
    "23503": "foreign key constraint violated",
    "23505": "unique constraint violated",
    "23514": "check constraint violated",
    "23P01": "exclusion constraint violated",
    "25001": "a transaction is in progress",
    "25006": "the transaction is read-only",
    "25P01": "no transaction in progress",
    "25P02": "the transaction is aborted; commands are ignored until it ends",
    "26000": "the prepared statement does not exist",
    "34000": "the cursor does not exist",
    "3B001": "the savepoint does not exist",
    "40001": "could not serialize access",
    "40P01": "deadlock detected",
    "42501": "permission denied",
    "42601": "syntax error",
    "42611": "invalid column definition",
    "42701": "duplicate column",
    "42702": "ambiguous column reference",
    "42703": "the column does not exist",
    "42704": "the object does not exist",
    "42710": "duplicate object",
    "42725": "ambiguous function reference",
    "42803": "grouping error",
    "42804": "datatype mismatch",
    "42846": "cannot coerce between these types",
    "42883": "the function or operator does not exist",
    "42P01": "the relation does not exist",
    "42P02": "the parameter does not exist",
    "42P03": "duplicate cursor",
    "42P05": "duplicate prepared statement",
    "42P07": "duplicate relation",
    "42P08": "ambiguous parameter",
    "42P18": "indeterminate datatype",
    "44000": "with check option violated",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "54000": "program limit exceeded",
    "54001": "statement too complex",
    "55000": "object not in prerequisite state",
    "55006": "object in use",
    "55P03": "lock not available",
    "57014": "canceling statement",
    "57P01": "terminating connection due to administrator command",
    "57P02": "terminating connection because of a crash of another server process",
    "57P03": "the database system is not accepting connections",
}


def filter_error(payload: bytes) -> bytes:
    """Return an ErrorResponse or NoticeResponse payload that repeats no value.

    Never raises: a payload that is not a field list becomes an error without details.
    """
    fields = _scan(payload)
    plain = fields.get("V", fields.get("S", ""))
    severity = plain if plain in _SEVERITIES else "ERROR"
    sqlstate = fields.get("C", "")
    if not _SQLSTATE.fullmatch(sqlstate):
        sqlstate = "XX000"
    out = [f"S{severity}", f"V{severity}", f"C{sqlstate}", f"M{_text(sqlstate)}"]
    position = fields.get("P", "")
    if _POSITION.fullmatch(position):
        out.append(f"P{position}")
    return "\0".join(out).encode() + b"\0\0"


def filter_message(kind: int, payload: bytes) -> bytes:
    """Return the whole message of type `kind` with what `filter_error` leaves of `payload`."""
    body = filter_error(payload)
    return bytes([kind]) + (len(body) + 4).to_bytes(4, "big") + body


def _text(sqlstate: str) -> str:
    return _TEXTS.get(sqlstate) or _CLASS_TEXTS.get(sqlstate[:2], "error without details")


def _scan(payload: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in payload.split(b"\0"):
        if part[:1] in {b"V", b"S", b"C", b"P"}:
            fields.setdefault(chr(part[0]), part[1:].decode("ascii", errors="replace"))
    return fields
