"""Identities: who is here, who is put out, and the button for it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.control.page_base import PageBase
from gateway.control.problems import HttpProblem
from gateway.control.revocation import let_in, put_out
from gateway.control.web import check_comment
from gateway.identity.revocation import KINDS, Revocation

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.control.live import LiveSession

ROWS_MAX: Final = 300
VALUE_CHARS_MAX: Final = 300


class PeoplePages(PageBase):
    """The endpoints about identities."""

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        post = ["POST"]
        return [
            Route("/identities", self.identities),
            Route("/identities/block", self.block, methods=post),
            Route("/identities/unblock", self.unblock, methods=post),
        ]

    async def identities(self, request: Request) -> Response:
        """List who has sessions, and who is put out."""
        caller = await self.require_caller(request, "admin", "auditor")
        services, who = self._services, request.query_params.get("who", "")[:100]
        sessions: dict[tuple[str, str], list[LiveSession]] = defaultdict(list)
        for session in services.live:
            if who.casefold() in session.principal.subject.casefold():
                principal = session.principal
                sessions[principal.issuer_id, principal.subject].append(session)
        entries = sorted(await services.revocations.entries(), key=lambda entry: -entry.at)
        shown = sorted(sessions.items(), key=lambda item: (-len(item[1]), item[0]))[:ROWS_MAX]
        return self.page(
            "identities.html", caller, people=shown, total=len(sessions), who=who,
            entries=entries[:ROWS_MAX], out={(e.issuer, e.value) for e in entries},
            is_admin="admin" in caller.person.roles,
            issuers=[issuer.id for issuer in services.config.issuers],
            events=f"/events?topic=sessions&after={services.live.changes.number}",
        )  # fmt: skip

    async def block(self, request: Request) -> Response:
        """Put somebody out, now and until further notice."""
        caller, form = await self.form(request, "admin")
        issuer, value = form.get("issuer", ""), form.get("subject", "").strip()
        if issuer not in {known.id for known in self._services.config.issuers}:
            raise HttpProblem(422, "issuer is the id of a configured issuer")
        if not 0 < len(value) <= VALUE_CHARS_MAX:
            raise HttpProblem(422, f"a subject has 1 to {VALUE_CHARS_MAX} characters")
        entry = Revocation(
            kind="subject", issuer=issuer, value=value, by=caller.person.key,
            at=self._services.clock.wall(), reason=check_comment(form.get("reason")),
            before=None, until=None,
        )  # fmt: skip
        await put_out(self._services, caller.person, entry)
        return RedirectResponse("/identities", 303)

    async def unblock(self, request: Request) -> Response:
        """Let somebody in again."""
        caller, form = await self.form(request, "admin")
        kind = form.get("kind", "")
        if kind not in KINDS:
            raise HttpProblem(422, "the form is malformed")
        key = (kind, form.get("issuer", ""), form.get("value", ""))
        await let_in(self._services, caller.person, key)
        return RedirectResponse("/identities", 303)
