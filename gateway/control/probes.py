"""Health, readiness, metrics and the API document: what machines ask for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response
from starlette.routing import Route

from gateway import metrics
from gateway.approvals.refusal import Refusal
from gateway.config_values import is_loopback
from gateway.control.problems import HttpProblem

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.control.web import Services

OPENAPI_FILE = Path(__file__).with_name("openapi.json")


class Probes:
    """Endpoints without a person behind them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._openapi = OPENAPI_FILE.read_bytes()
        self._is_public = not is_loopback(services.config.control.listen)

    def routes(self) -> list[Route]:
        """Return the routes; `openapi.json` names the same ones."""
        return [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.openapi),
        ]

    async def healthz(self, request: Request) -> Response:
        """Alive: the loop answers."""
        return Response(b"ok\n", media_type="text/plain")

    async def readyz(self, request: Request) -> Response:
        """Ready: approvals can be decided and keys are at hand. Names what is missing."""
        checks = {"store": "ok", "policy": "ok", "keys": "ok"}
        try:
            await self._services.desk.counts()
        except Exception as exc:  # noqa: BLE001  whatever it is, we are not ready
            checks["store"] = type(exc).__name__
        if not await self._services.directory.policy_digest():
            checks["policy"] = "no readable active policy"
        if self._services.keys.failures:
            failed = ", ".join(sorted(self._services.keys.failures))
            checks["keys"] = f"cannot refresh: {failed}"
        # Stale keys still verify: an issuer that is down for a moment must not restart us.
        is_ready = checks["store"] == "ok" and checks["policy"] == "ok"
        body = orjson.dumps({"ready": is_ready, "checks": checks})
        return Response(body, 200 if is_ready else 503, media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        """All metrics of all processes. Beyond loopback for auditors and admins only."""
        if self._is_public:
            caller = await self._services.auth.require(request)
            if not caller.person.roles & {"admin", "auditor"}:
                raise HttpProblem(403, "metrics are for auditors and admins")
        # A store that does not answer is what the other metrics are wanted for.
        with suppress(Refusal):
            counts = await self._services.desk.counts()
            metrics.put(metrics.APPROVALS_PENDING.slot(), counts["PENDING"])
        text = await asyncio.to_thread(metrics.render, self._services.data_dir)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, request: Request) -> Response:
        """Return the API document."""
        return Response(self._openapi, media_type="application/json")
