"""Putting people, agents and sessions out, over HTTP: the control process keeps the list.

Recorded first, then on disk, then told to every process by the REVOCATION epoch: when a call has
answered, no statement begins any more that it forbids.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway.control.problems import HttpProblem
from gateway.control.trail import who_fields
from gateway.control.web import json_answer, read_json
from gateway.identity.revocation import (
    KINDS,
    Revocation,
    Revocations,
    read_revocations,
    revocations_path,
    write_revocations,
)
from gateway.ipc.epochs import REVOCATION
from gateway.limits import TOKEN_AGE_S_MAX

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.approvals.rules import Person
    from gateway.clock import Clock
    from gateway.control.web import Services
    from gateway.ipc.epochs import Epochs
    from gateway.policy.principal import Principal

_FIELDS = frozenset({"kind", "issuer", "value", "reason", "keep_new", "for_s"})
# Nothing of what these name outlives its token, so their entries go away by themselves.
_SHORT_LIVED = frozenset({"token", "session", "run"})


class RevocationKeeper:
    """Holds the list for this process and is the only one that changes it."""

    def __init__(self, data_dir: Path, epochs: Epochs, clock: Clock) -> None:
        self.known = Revocations(data_dir, epochs, clock)
        self.clock = clock
        self._path = revocations_path(data_dir)
        self._epochs = epochs
        self._lock = asyncio.Lock()

    async def prepare(self) -> None:
        """Write an empty list where there never was one: from then on a missing one is a fault."""
        if self._epochs.get(REVOCATION) == 0 and not self._path.exists():
            await asyncio.to_thread(write_revocations, self._path, [])

    def check(self, principal: Principal) -> None:
        """Raise IdentityRevoked for a principal that is out, NotReady when nobody can tell."""
        self.known.refresh()
        self.known.check(principal)

    async def entries(self) -> list[Revocation]:
        """Return what is in force; raises HttpProblem when the list cannot be read."""
        now = self.clock.wall()
        try:
            entries = await asyncio.to_thread(read_revocations, self._path)
        except (OSError, ValueError) as error:
            raise HttpProblem(503, "the list of revocations cannot be read") from error
        return [e for e in entries or () if e.until is None or now < e.until]

    async def add(self, entry: Revocation) -> None:
        """Put `entry` in force everywhere."""
        async with self._lock:
            others = [known for known in await self.entries() if known.key != entry.key]
            await self._write([*others, entry])

    async def lift(self, key: tuple[str, str, str]) -> bool:
        """Take an entry back; False when there is none."""
        async with self._lock:
            entries = await self.entries()
            kept = [entry for entry in entries if entry.key != key]
            if len(kept) == len(entries):
                return False
            await self._write(kept)
            return True

    async def _write(self, entries: list[Revocation]) -> None:
        try:
            await asyncio.to_thread(write_revocations, self._path, entries)
        except ValueError as error:
            raise HttpProblem(409, str(error)) from error
        except OSError as error:
            raise HttpProblem(503, "the list of revocations cannot be written") from error
        self._epochs.bump(REVOCATION)


class RevocationApi:
    """The endpoints about who is out."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._keeper = services.revocations
        self._issuers = {issuer.id for issuer in services.config.issuers}

    def routes(self) -> list[Route]:
        """Return the routes; `openapi.json` names the same ones."""
        block = "/v1/identities/{issuer}/{subject:path}/block"
        return [
            Route("/v1/revocations", self.list_entries),
            Route("/v1/revocations", self.revoke, methods=["POST"]),
            Route("/v1/revocations/lift", self.lift, methods=["POST"]),
            Route(block, self.block, methods=["POST"]),
            Route(block, self.unblock, methods=["DELETE"]),
            Route("/v1/sessions/{id}/kill", self.kill, methods=["POST"]),
        ]

    async def list_entries(self, request: Request) -> Response:
        """List what is revoked, newest first; for admins and auditors."""
        await self._require(request, {"admin", "auditor"})
        entries = sorted(await self._keeper.entries(), key=lambda entry: -entry.at)
        return json_answer({"items": [entry.to_wire() for entry in entries], "next": None})

    async def revoke(self, request: Request) -> Response:
        """Revoke a subject, group, token, run, key or issuer."""
        person = await self._require(request, {"admin"})
        body = await _body(request, _FIELDS)
        kind, issuer, value = self._named(body)
        return await self._add(person, body, kind=kind, issuer=issuer, value=value)

    async def lift(self, request: Request) -> Response:
        """Take a revocation back."""
        person = await self._require(request, {"admin"})
        body = await _body(request, frozenset({"kind", "issuer", "value"}))
        return await self._lift(person, self._named(body))

    async def block(self, request: Request) -> Response:
        """Block one identity until further notice."""
        person = await self._require(request, {"admin"})
        body = await _body(request, frozenset({"reason", "keep_new", "for_s"}))
        kind, issuer, value = self._identity(request)
        return await self._add(person, body, kind=kind, issuer=issuer, value=value)

    async def unblock(self, request: Request) -> Response:
        """Let one identity in again."""
        person = await self._require(request, {"admin"})
        return await self._lift(person, self._identity(request))

    async def kill(self, request: Request) -> Response:
        """End one live session: an admin any, everybody their own."""
        person = (await self._services.auth.require(request)).person
        body = await _body(request, frozenset({"reason"}))
        session_id = request.path_params["id"]
        session = self._services.live.get(session_id)
        may = "admin" in person.roles and not person.is_agent
        if session is None or not (may or session.principal.key == person.key):
            raise HttpProblem(404, "no such session")
        return await self._add(person, body, kind="session", issuer="", value=session_id)

    def _identity(self, request: Request) -> tuple[str, str, str]:
        params = request.path_params
        return self._named(
            {"kind": "subject", "issuer": params["issuer"], "value": params["subject"]}
        )

    def _named(self, body: dict[str, Any]) -> tuple[str, str, str]:
        kind, issuer, value = (body.get(name, "") for name in ("kind", "issuer", "value"))
        if kind not in KINDS or kind == "session":
            names = ", ".join(name for name in KINDS if name != "session")
            raise HttpProblem(422, f"kind is one of {names}")
        if not isinstance(issuer, str) or issuer not in self._issuers:
            raise HttpProblem(422, "issuer is the id of a configured issuer")
        if not isinstance(value, str) or not 0 < len(value) <= 300:
            raise HttpProblem(422, "value is a text of 1 to 300 characters")
        if kind == "issuer" and value != "*":
            raise HttpProblem(422, 'the value of kind issuer is "*"')
        return kind, issuer, value

    async def _add(
        self, person: Person, body: dict[str, Any], *, kind: str, issuer: str, value: str
    ) -> Response:
        now = self._keeper.clock.wall()
        reason, keep_new, for_s = (body.get(k) for k in ("reason", "keep_new", "for_s"))
        if not isinstance(reason or "", str) or len(reason or "") > 300:
            raise HttpProblem(422, "reason is a text of at most 300 characters")
        if not isinstance(keep_new or False, bool):
            raise HttpProblem(422, "keep_new is true or false")
        if for_s is not None and (isinstance(for_s, bool) or not isinstance(for_s, int | float)):
            raise HttpProblem(422, "for_s is a number of seconds")
        if for_s is not None and not 0 < for_s < 1e10:
            raise HttpProblem(422, "for_s is a number of seconds")
        entry = Revocation(
            kind=kind, issuer=issuer, value=value, by=person.key, at=now, reason=reason or "",
            before=now if keep_new else None,
            until=now + for_s if for_s is not None else None,
        )  # fmt: skip
        return json_answer((await put_out(self._services, person, entry)).to_wire())

    async def _lift(self, person: Person, key: tuple[str, str, str]) -> Response:
        await let_in(self._services, person, key)
        return json_answer({"lifted": True})

    async def _require(self, request: Request, roles: set[str]) -> Person:
        person = (await self._services.auth.require(request)).person
        if person.is_agent or not person.roles & roles:
            raise HttpProblem(403, f"this is for {' and '.join(sorted(roles))}s")
        return person


async def put_out(services: Services, person: Person, entry: Revocation) -> Revocation:
    """Put `entry` in force on `person`'s word, whose right to it the caller has checked."""
    if entry.until is None and entry.kind in _SHORT_LIVED:
        entry = replace(entry, until=entry.at + TOKEN_AGE_S_MAX)
    _record(services, person, "revoke", entry.key, entry.reason)
    await services.revocations.add(entry)
    return entry


async def let_in(services: Services, person: Person, key: tuple[str, str, str]) -> None:
    """Take a revocation back, likewise; raises HttpProblem when there is none."""
    _record(services, person, "revocation lifted", key, "")
    if not await services.revocations.lift(key):
        raise HttpProblem(404, "no such revocation")


def _record(
    services: Services, person: Person, action: str, key: tuple[str, str, str], text: str
) -> None:
    services.trail.record(
        "admin.action", action=action, object=" ".join(key), text=text,
        **who_fields(person.principal),
    )  # fmt: skip


async def _body(request: Request, allowed: frozenset[str]) -> dict[str, Any]:
    body = await read_json(request)
    if unknown := set(body) - allowed:
        raise HttpProblem(422, f"unknown field {min(unknown)[:40]!r}")
    return body
