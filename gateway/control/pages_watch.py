"""Overview, sessions and targets: what goes on right now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway import metrics
from gateway.approvals.refusal import Refusal
from gateway.audit.search import TIME_MAX, Query
from gateway.control.audit_rows import read_before, rows_of
from gateway.control.page_base import PageBase
from gateway.control.problems import HttpProblem
from gateway.control.revocation import put_out
from gateway.control.web import check_comment, sees_sessions
from gateway.errors import ERRORS
from gateway.identity.revocation import Revocation

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.approvals.rules import Person
    from gateway.control.live import LiveSession
    from gateway.control.rates import Series

ROLES: Final = ("reviewer", "auditor", "admin")
SESSION_ROWS: Final = 200
STATEMENT_ROWS: Final = 200
_FILTERS: Final = ("who", "target", "level", "client")


class WatchPages(PageBase):
    """The endpoints about what goes on."""

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        return [
            Route("/", self.overview),
            Route("/sessions", self.sessions),
            Route("/sessions/{id}", self.session),
            Route("/sessions/{id}/kill", self.kill, methods=["POST"]),
            Route("/targets", self.targets),
        ]

    async def overview(self, request: Request) -> Response:
        """Show rates, what waits, what was refused, and what is not well."""
        caller = await self.require_caller(request)
        services, person = self._services, caller.person
        if not sees_sessions(person):
            return RedirectResponse("/approvals", 303)
        counts = await services.desk.counts()
        sees_trail = bool(person.roles & {"auditor", "admin"})
        rates = services.rates
        return self.page(
            "overview.html", caller, sessions=len(services.live), waiting=counts["PENDING"],
            series=self._series(), p50=rates.quantile(metrics.STATEMENT_TIME, 0.5),
            p99=rates.quantile(metrics.STATEMENT_TIME, 0.99),
            refused=await services.inspector.top_refusals() if sees_trail else [],
            sees_trail=sees_trail, health=await self._health(),
            events=f"/events?topic=sessions&after={services.live.changes.number}",
        )  # fmt: skip

    async def sessions(self, request: Request) -> Response:
        """List live sessions, or past ones for those who may read the trail."""
        caller = await self.require_caller(request)
        wanted = {name: request.query_params.get(name, "")[:100] for name in _FILTERS}
        if request.query_params.get("tab") == "past":
            return await self._past(request, caller)
        live, everybody = self._services.live, sees_sessions(caller.person)
        number = live.changes.number
        found = [
            s
            for s in live
            if (everybody or s.principal.key == caller.person.key) and _fits(s, wanted)
        ]
        found.sort(key=lambda session: session.opened_us, reverse=True)
        return self.page(
            "sessions.html", caller, sessions=found[:SESSION_ROWS], total=len(found),
            wanted=wanted, sees_trail=_sees_trail(caller.person),
            events=f"/events?topic=sessions&after={number}",
        )  # fmt: skip

    async def session(self, request: Request) -> Response:
        """Show one session: who, and every statement with what became of it."""
        caller = await self.require_caller(request)
        person, session_id = caller.person, request.path_params["id"]
        session = self._services.live.get(session_id)
        if session is not None and not _sees(person, session):
            session = None
        rows, opened = [], None
        if _sees_trail(person):
            query = Query(filters={"session": _literal(session_id)}, limit=STATEMENT_ROWS)
            events = await self._services.inspector.search(query)
            opened = next((e for e in events if e.record.get("kind") == "session.opened"), None)
            rows = rows_of(events)
        if session is None and not rows:
            raise HttpProblem(404, "no such session")
        may_kill = session is not None and self._may_kill(person, session)
        return self.page(
            "session.html", caller, id=session_id, session=session, rows=rows[::-1],
            opened=opened.record if opened else {}, may_kill=may_kill,
            sees_trail=_sees_trail(person), is_cut=len(rows) >= STATEMENT_ROWS,
        )  # fmt: skip

    async def kill(self, request: Request) -> Response:
        """End a live session."""
        caller, form = await self.form(request)
        session = self._services.live.get(request.path_params["id"])
        if session is None or not self._may_kill(caller.person, session):
            raise HttpProblem(404, "no such session")
        entry = Revocation(
            kind="session", issuer="", value=session.id, by=caller.person.key,
            at=self._services.clock.wall(), reason=check_comment(form.get("reason")),
            before=None, until=None,
        )  # fmt: skip
        await put_out(self._services, caller.person, entry)
        return RedirectResponse("/sessions", 303)

    async def targets(self, request: Request) -> Response:
        """List the databases that are served, and whether they are."""
        caller = await self.require_caller(request, *ROLES)
        targets = self._services.config.targets
        return self.page(
            "targets.html", caller, targets=targets.values(),
            problems=await self._services.inspector.targets(),
        )  # fmt: skip

    async def _past(self, request: Request, caller: Any) -> Response:
        if not _sees_trail(caller.person):
            raise HttpProblem(403, "past sessions are for auditors and admins")
        before = read_before(request)
        filters = {"kind": "session.closed"}
        who = request.query_params.get("who", "")[:100]
        if who:
            filters["subject"] = who
        events = await self._services.inspector.search(
            Query(filters=filters, before=before, limit=STATEMENT_ROWS)
        )
        older = min((e.sequence for e in events), default=0)
        return self.page(
            "sessions_past.html", caller, found=events, who=who,
            older=older if len(events) == STATEMENT_ROWS else 0, newest=before == TIME_MAX,
        )  # fmt: skip

    def _series(self) -> list[Series]:
        rates = self._services.rates
        refusals = [metrics.REFUSALS.slot(name) for name in ERRORS]
        return [
            rates.per_second("statements", [metrics.STATEMENTS.slot(*v) for v in
                                            metrics.STATEMENTS.series]),
            rates.per_second("refusals", refusals),
        ]  # fmt: skip

    async def _health(self) -> list[tuple[str, str, str]]:
        """Name, state ("ok", "warn", "bad") and what to say, of everything that can be unwell."""
        services, found = self._services, []
        status = await services.inspector.targets()
        for name in services.config.targets:
            problem = status.get(name, "no analyzer answers")
            found.append((f"target {name}", "bad" if problem else "ok", problem or "served"))
        for issuer in services.config.issuers:
            failure = services.keys.failures.get(issuer.id, "")
            found.append((f"issuer {issuer.id}", "warn" if failure else "ok", failure or "keys"))
        try:
            await services.desk.counts()
            found.append(("approvals", "ok", "store works"))
        except Refusal as refusal:
            found.append(("approvals", "bad", refusal.message))
        digest = await services.directory.policy_digest()
        found.append(("policy", "ok" if digest else "bad", digest[:12] or "cannot be read"))
        used = services.rates.value(metrics.DISK_USED.slot())
        lag = services.rates.value(metrics.JOURNAL_LAG.slot())
        state = "bad" if used >= _DISK_BAD else "warn" if used >= _DISK_WARN else "ok"
        found.append(("audit", state, f"{lag:,} bytes behind, disk {used} % used"))
        return found

    @staticmethod
    def _may_kill(person: Person, session: LiveSession) -> bool:
        is_admin = "admin" in person.roles and not person.is_agent
        return is_admin or session.principal.key == person.key


_DISK_WARN: Final = 90  # docs/audit.md: warned at 90, statements refused at 97
_DISK_BAD: Final = 97


def _sees(person: Person, session: LiveSession) -> bool:
    return sees_sessions(person) or session.principal.key == person.key


def _sees_trail(person: Person) -> bool:
    return bool(person.roles & {"auditor", "admin"}) and not person.is_agent


def _fits(session: LiveSession, wanted: dict[str, str]) -> bool:
    place = {
        "who": f"{session.principal.subject} {session.principal.agent or ''}",
        "target": session.target,
        "level": session.level,
        "client": session.client,
    }
    return all(text.casefold() in place[name].casefold() for name, text in wanted.items())


def _literal(text: str) -> str:
    """Take the meaning from pattern characters: a path is a name, not a search."""
    if any(char in text for char in "*?["):
        raise HttpProblem(404, "no such session")
    return text
