"""PostgreSQL's types as far as masks depend on them: families, widths, stand-ins.

Only the built-in types listed here are known, arrays of them and what the profile tells of a
column (an enum's labels, an array's element, text of an extension). A domain arrives as its base
type in RowDescription. Whatever is not known can still be masked with NULL.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass

BPCHAR = 1042
NAME = 19
VARCHAR = 1043
JSONB = 3802
FLOAT4 = 700
NUMERIC_TYPMOD_MIN = 4  # below: no precision was declared

NAME_BYTES_MAX = 63
# Beyond this, blanks that nobody reads would only cost memory: they are not significant.
PAD_CHARS_MAX = 8192
INT_SIZES = {21: 2, 23: 4, 20: 8}

# A recognisable "no date"; PostgreSQL's own epoch (2000-01-01) could be someone's birthday.
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Family(enum.Enum):
    """Types that share an encoding."""

    TEXT = "text"
    CHAR = "char"
    INT = "int"
    OID = "oid"
    FLOAT = "float"
    NUMERIC = "numeric"
    BOOL = "bool"
    UUID = "uuid"
    DATE = "date"
    TIME = "time"
    TIMETZ = "timetz"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    INTERVAL = "interval"
    JSON = "json"
    BYTEA = "bytea"
    INET = "inet"
    CIDR = "cidr"
    MACADDR = "macaddr"
    ENUM = "enum"


class _NoDefault(enum.Enum):
    NO_DEFAULT = enum.auto()


NO_DEFAULT = _NoDefault.NO_DEFAULT

_FAMILIES = {
    16: Family.BOOL, 17: Family.BYTEA, 18: Family.CHAR, 19: Family.TEXT, 20: Family.INT,
    21: Family.INT, 23: Family.INT, 25: Family.TEXT, 26: Family.OID, 114: Family.JSON,
    650: Family.CIDR, 700: Family.FLOAT, 701: Family.FLOAT, 774: Family.MACADDR,
    829: Family.MACADDR, 869: Family.INET, 1042: Family.TEXT, 1043: Family.TEXT,
    1082: Family.DATE, 1083: Family.TIME, 1114: Family.TIMESTAMP, 1184: Family.TIMESTAMPTZ,
    1186: Family.INTERVAL, 1266: Family.TIMETZ, 1700: Family.NUMERIC, 2950: Family.UUID,
    3802: Family.JSON,
}  # fmt: skip

# pg_type.typarray of the types above.
_ELEMENTS = {
    1000: 16, 1001: 17, 1002: 18, 1003: 19, 1016: 20, 1005: 21, 1007: 23, 1009: 25, 1028: 26,
    199: 114, 651: 650, 1021: 700, 1022: 701, 775: 774, 1040: 829, 1041: 869, 1014: 1042,
    1015: 1043, 1182: 1082, 1183: 1083, 1115: 1114, 1185: 1184, 1187: 1186, 1270: 1266,
    1231: 1700, 2951: 2950, 3807: 3802,
}  # fmt: skip

_ZEROS: dict[Family, object] = {
    Family.TEXT: "",
    Family.CHAR: "*",
    Family.INT: 0,
    Family.OID: 0,
    Family.FLOAT: 0.0,
    Family.NUMERIC: 0,
    Family.BOOL: False,
    Family.UUID: str(uuid.UUID(int=0)),
    Family.DATE: EPOCH.date(),
    Family.TIME: dt.time(),
    Family.TIMETZ: dt.time(),
    Family.TIMESTAMP: EPOCH.replace(tzinfo=None),
    Family.TIMESTAMPTZ: EPOCH,
    Family.INTERVAL: dt.timedelta(),
    Family.JSON: None,
    Family.BYTEA: b"",
    Family.INET: "0.0.0.0",  # noqa: S104 (a value, nothing is bound)
    Family.CIDR: "0.0.0.0/32",
    Family.MACADDR: "00:00:00:00:00:00",
}


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column's type as far as an encoding depends on it."""

    oid: int
    typmod: int = -1
    text_like: bool = False  # an extension's type that reads and writes as text, such as citext
    labels: tuple[str, ...] = ()  # an enum's
    element_oid: int = 0  # of an array whose type is not built in

    @property
    def element(self) -> ColumnType | None:
        """The type of an array's elements, None for what is no array."""
        oid = self.element_oid or _ELEMENTS.get(self.oid, 0)
        return ColumnType(oid, self.typmod, self.text_like, self.labels) if oid else None

    @property
    def family(self) -> Family | None:
        """The family of the type, None for one that is not known here and for an array."""
        if self.element_oid or self.oid in _ELEMENTS:
            return None
        if self.labels:
            return Family.ENUM
        return Family.TEXT if self.text_like else _FAMILIES.get(self.oid)

    @property
    def chars_max(self) -> int | None:
        """How many characters a text column holds, None for no limit."""
        if self.oid in (VARCHAR, BPCHAR) and self.typmod >= 4:
            return self.typmod - 4
        return NAME_BYTES_MAX if self.oid == NAME else None

    @property
    def pad_chars(self) -> int:
        """The width that values of a char(n) column are padded to, 0 for none."""
        width = self.chars_max
        return width if self.oid == BPCHAR and width and width <= PAD_CHARS_MAX else 0

    @property
    def numeric_scale(self) -> int:
        """Digits behind the point of a numeric column with a precision; may be negative."""
        return ((self.typmod - NUMERIC_TYPMOD_MIN) & 0x7FF ^ 1024) - 1024

    def zero(self) -> object:
        """Return the least telling value of the type. The family must be known."""
        if self.family is Family.ENUM:
            return self.labels[0]
        assert self.family is not None
        return _ZEROS[self.family]

    def redacted(self, text: str) -> object:
        """Return what `redact` shows: `text` where text fits, else the type's zero."""
        return text if self.family in (Family.TEXT, Family.JSON) else self.zero()

    def default(self) -> object:
        """Return the stand-in for NULL in a NOT NULL column, NO_DEFAULT for unknown types."""
        return NO_DEFAULT if self.family is None else self.zero()
