"""The section `limits` of a policy file. What is in force for whom is in `bounds`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictStr

from gateway.limits import LIMIT_WINDOW_S_MAX, LIMIT_WINDOW_S_MIN
from gateway.policy.fields import Count, Duration, Groups, Name, Section, Size


class StatementLimits(Section):
    """Bounds on one statement."""

    rows: Count | None = None
    bytes: Size | None = None
    time: Duration | None = None
    estimated_cost: Count | None = None
    affected_rows: Count | None = None


class StatementWindow(Section):
    """So many statements in each stretch of time."""

    count: Count
    per: Annotated[Duration, Field(ge=LIMIT_WINDOW_S_MIN, le=LIMIT_WINDOW_S_MAX)]


class PrincipalLimits(Section):
    """Bounds on one principal on one target, over all workers of the gateway."""

    sessions: Count | None = None
    statements: StatementWindow | None = None


class Limit(Section):
    """Bounds that add up: the strictest that applies wins."""

    id: Name
    to: Groups
    target: StrictStr | None = None
    per_statement: StatementLimits | None = None
    per_principal: PrincipalLimits | None = None
