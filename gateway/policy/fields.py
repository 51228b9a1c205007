"""The kinds of value that policy files hold: names, patterns, durations, sizes.

Each refuses what it cannot mean with a text that says what would be right; the loader adds file,
line and column.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictInt,
    StrictStr,
    StringConstraints,
    WithJsonSchema,
)

from gateway.policy.names import (
    SYSTEM_SCHEMAS,
    check_effect_pattern,
    check_name_pattern,
    parse_column,
)
from gateway.units import format_duration, format_size, parse_duration, parse_size


def _with_unit(parse: Callable[[str], float]) -> BeforeValidator:
    def convert(value: object) -> float:
        if not isinstance(value, str):
            msg = f"{value!r} has no unit"
            raise ValueError(msg)
        return float(parse(value))

    return BeforeValidator(convert)


def one_or_more(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return `values`; raises ValueError when there is none."""
    if not values:
        msg = "the list is empty; a rule that covers nothing is not a rule"
        raise ValueError(msg)
    return values


def _check_column(text: str) -> str:
    parse_column(text)
    return text


def _check_schema(name: str) -> str:
    if "*" in name:
        msg = f"{name!r}: a schema is named exactly; write one rule per schema"
        raise ValueError(msg)
    if name in SYSTEM_SCHEMAS or name.startswith("pg_"):
        msg = f"{name!r} is PostgreSQL's own; its relations come with every read grant"
        raise ValueError(msg)
    return check_name_pattern(name)


def _check_hour(text: str) -> str:
    time.fromisoformat(text)
    return text


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        msg = f"{name!r} is no time zone; write one like Europe/Berlin"
        raise ValueError(msg) from None
    return name


HourOfDay = Annotated[
    StrictStr, StringConstraints(pattern=r"^[0-2][0-9]:[0-5][0-9]$"), AfterValidator(_check_hour)
]
TimeZone = Annotated[StrictStr, StringConstraints(max_length=64), AfterValidator(_check_zone)]
Name = Annotated[
    StrictStr, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
]
Schema = Annotated[StrictStr, AfterValidator(_check_schema)]
Tables = tuple[Annotated[StrictStr, AfterValidator(check_name_pattern)], ...]
Columns = tuple[Annotated[StrictStr, AfterValidator(_check_column)], ...]
Effects = Annotated[
    tuple[Annotated[StrictStr, AfterValidator(check_effect_pattern)], ...],
    AfterValidator(one_or_more),
]
Groups = Annotated[tuple[StrictStr, ...], AfterValidator(one_or_more)]
Duration = Annotated[
    float,
    _with_unit(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "description": "number and unit: 15s, 10m, 400d"}),
]
Size = Annotated[
    int,
    _with_unit(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": "string", "description": "number and unit: 64KiB, 8MiB"}),
]
Count = Annotated[StrictInt, Field(ge=1, le=1_000_000_000)]


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
