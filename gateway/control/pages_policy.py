"""The policy for people: what is active, what it does to a statement, what changed, what next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.audit.search import Query
from gateway.control.colours import colour_sql
from gateway.control.page_base import PageBase
from gateway.control.problems import HttpProblem
from gateway.control.trail import who_fields

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.control.auth import Caller
    from gateway.policy.bundle import Bundle

ROLES: Final = ("reviewer", "auditor", "admin")
SQL_BYTES_MAX: Final = 64 << 10
HISTORY_ROWS: Final = 50
_SECTIONS: Final = ("grants", "denies", "guards", "masks", "limits")


class PolicyPages(PageBase):
    """The endpoints about policy."""

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        post = ["POST"]
        return [
            Route("/policy", self.policy),
            Route("/policy/explain", self.explain, methods=post),
            Route("/policy/tests", self.tests),
            Route("/policy/history", self.history),
            Route("/policy/activate", self.activate, methods=post),
        ]

    async def policy(self, request: Request) -> Response:
        """Show the active policy, and what the files would change."""
        caller = await self.require_caller(request, *ROLES)
        return await self._policy(caller)

    async def explain(self, request: Request) -> Response:
        """Show what would happen to a statement, and why."""
        caller, form = await self.form(request, *ROLES)
        asked = {name: form.get(name, "") for name in ("groups", "target", "sql")}
        if len(asked["sql"].encode()) > SQL_BYTES_MAX:
            raise HttpProblem(413, f"a statement to explain has at most {SQL_BYTES_MAX} bytes")
        groups = [name.strip() for name in asked["groups"].split(",") if name.strip()]
        problem, told = "", {}
        if not asked["sql"].strip() or asked["target"] not in self._services.config.targets:
            problem = "choose a database and write a statement"
        else:
            told = await self._services.inspector.tell(
                "explain", groups=groups, target=asked["target"], sql=asked["sql"]
            )
            problem = told.get("problem", "")
        explained = None if problem else told
        return await self._policy(caller, asked=asked, explained=explained, problem=problem)

    async def tests(self, request: Request) -> Response:
        """Run the tests of the active policy."""
        caller = await self.require_caller(request, *ROLES)
        told = await self._services.inspector.tell("policy_tests")
        return self.page("policy_tests.html", caller, **told)

    async def history(self, request: Request) -> Response:
        """List what was active when; compare two of them."""
        caller = await self.require_caller(request, "auditor", "admin")
        params, policies = request.query_params, self._services.policies
        old, new = params.get("old", ""), params.get("new", "")
        changes = await policies.compare(old, new) if old and new else None
        events = await self._services.inspector.search(
            Query(filters={"kind": "policy.activated"}, limit=HISTORY_ROWS)
        )
        kept = {
            digest: await policies.past(digest) is not None
            for digest in {str(e.record.get("digest", "")) for e in events}
        }
        return self.page(
            "policy_history.html", caller, found=events, kept=kept, old=old, new=new,
            changes=changes,
        )  # fmt: skip

    async def activate(self, request: Request) -> Response:
        """Say yes to what the files hold; the last yes has the supervisor take it over."""
        caller, form = await self.form(request, "admin")
        digest, services = form.get("digest", ""), self._services
        services.trail.record(
            "admin.action", action="policy activation agreed", object=digest[:64],
            **who_fields(caller.person.principal),
        )  # fmt: skip
        await services.policies.say_yes(caller.person.key, digest)
        return RedirectResponse("/policy", 303)

    async def _policy(
        self,
        caller: Caller,
        *,
        asked: dict[str, str] | None = None,
        explained: dict[str, Any] | None = None,
        problem: str = "",
    ) -> Response:
        policies = self._services.policies
        bundle = await policies.active()
        is_admin = "admin" in caller.person.roles
        asked = asked or {"groups": "", "target": "", "sql": ""}
        return self.page(
            "policy.html", caller, bundle=bundle, sections=_sections(bundle), asked=asked,
            explained=explained, problem=problem, pieces=colour_sql(asked["sql"]),
            candidate=await policies.candidate() if is_admin else None, quorum=policies.quorum,
            targets=list(self._services.config.targets), is_admin=is_admin,
        )  # fmt: skip


def _sections(bundle: Bundle | None) -> dict[str, list[tuple[str, list[tuple[str, str]]]]]:
    """Section to rules, each with what it says as pairs of texts."""
    if bundle is None:
        return {}
    policy = bundle.policy
    sections = {
        name: [(rule.id, _facts(rule)) for rule in getattr(policy, name)] for name in _SECTIONS
    }
    return {"groups": [(name, _facts(group)) for name, group in policy.groups.items()], **sections}


def _facts(rule: Any) -> list[tuple[str, str]]:
    said = rule.model_dump(by_alias=True, mode="json", exclude_unset=True)
    return [(key, _words(value)) for key, value in said.items() if key != "id"]


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_words(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return " ".join(_words(inner) for inner in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
