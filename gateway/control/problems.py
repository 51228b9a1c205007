"""Every error of the HTTP API as problem+json (RFC 9457).

One table from refusal to status, used by the API and the pages alike. What is not in it is our bug:
500, without a word of what happened.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

from gateway.approvals.refusal import RefusalCode

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS_OF: dict[RefusalCode, HTTPStatus] = {
    RefusalCode.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    RefusalCode.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RefusalCode.TOO_MANY: HTTPStatus.TOO_MANY_REQUESTS,
    RefusalCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    RefusalCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    RefusalCode.CONFLICT: HTTPStatus.CONFLICT,
    RefusalCode.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
}


class HttpProblem(Exception):
    """Ends a request with this status and text. `reason` goes to the audit trail only."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        reason: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.reason = reason
        self.headers = dict(headers or {})


def problem_response(
    status: int, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return one problem document."""
    body = orjson.dumps(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
        }
    )
    return Response(body, status, dict(headers or {}), media_type="application/problem+json")
