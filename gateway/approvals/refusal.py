"""Why the approval desk said no. One class; the code decides how each surface words it."""

from __future__ import annotations

from enum import StrEnum

from gateway.errors import GatewayError


class RefusalCode(StrEnum):
    """Closed list: HTTP statuses and worker answers are tables over it."""

    INVALID = "invalid"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    CONFLICT = "conflict"
    BUSY = "busy"


class Refusal(GatewayError):
    """The desk refused; `message` may be shown to whoever asked."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
