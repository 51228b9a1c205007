"""Read the fields of a message that crossed a process boundary: type and size, or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.approvals.bounds import NAME_BYTES_MAX, NAMES_MAX, TTL_S_MAX
from gateway.approvals.refusal import Refusal, RefusalCode

if TYPE_CHECKING:
    from collections.abc import Mapping


def invalid(field: str) -> Refusal:
    """Return the refusal of a malformed `field`."""
    return Refusal(RefusalCode.INVALID, f"malformed approval request: {field}")


def name(wire: Mapping[str, Any], key: str, *, required: bool = True) -> str:
    """Return a bounded text under `key`; raises Refusal."""
    value = wire.get(key, "")
    if not isinstance(value, str) or (required and not value):
        raise invalid(key)
    if len(value.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX:
        raise Refusal(RefusalCode.TOO_LARGE, f"{key} is too long")
    return value


def names(wire: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return a bounded list of texts under `key`; raises Refusal."""
    values = wire.get(key, [])
    if not isinstance(values, list) or len(values) > NAMES_MAX:
        raise invalid(key)
    if not all(isinstance(value, str) and len(value) <= NAME_BYTES_MAX for value in values):
        raise invalid(key)
    return tuple(values)


def seconds(wire: Mapping[str, Any], key: str, *, minimum: float) -> float:
    """Return a duration under `key`; raises Refusal."""
    value = wire.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise invalid(f"approval.{key}")
    # Also refuses NaN, which compares false with everything.
    if not minimum <= value <= TTL_S_MAX:
        raise invalid(f"approval.{key}")
    return float(value)
