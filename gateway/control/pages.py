"""The approvals inbox and the pages around it: rendered here, readable without a script.

A page never decides by itself who may do what: it asks `rules.why_not` for what to show and the
desk for what to do, as the API does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.approvals.listing import Query
from gateway.approvals.rules import is_requester, why_not
from gateway.approvals.states import ApprovalState
from gateway.control.auth import check_same_origin
from gateway.control.colours import colour_sql
from gateway.control.cookies import drop_session_cookie, set_session_cookie
from gateway.control.guard import describe
from gateway.control.page_base import PageBase
from gateway.control.problems import HttpProblem
from gateway.control.readable import readable
from gateway.control.web import (
    check_comment,
    login_links,
    read_form,
    safe_path,
    sees_preview,
    viewer_of,
)

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.approvals.model import Approval
    from gateway.control.auth import Caller

TABS = {
    "waiting": (ApprovalState.PENDING,),
    "approved": (ApprovalState.APPROVED, ApprovalState.EXECUTING),
    "ended": tuple(state for state in ApprovalState if state.is_final),
}
PAGE_ITEMS = 50
_VERSION = re.compile(r"[0-9]{1,9}", re.ASCII)
_VERBS = frozenset({"approve", "deny", "cancel", "revoke"})


class Pages(PageBase):
    """The endpoints about approvals, and around the login."""

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        post = ["POST"]
        return [
            Route("/approvals", self.inbox),
            Route("/approvals/{id}", self.show),
            Route("/approvals/{id}/{verb}", self.decide, methods=post),
            Route("/login", self.login_form),
            Route("/login", self.login, methods=post),
            Route("/logout", self.logout, methods=post),
        ]

    async def inbox(self, request: Request) -> Response:
        """List what the person may see, what waits first."""
        caller = await self.require_caller(request)
        tab = request.query_params.get("tab", "waiting")
        if tab not in TABS:
            raise HttpProblem(404, "no such list")
        number = self._services.desk.changes.number
        query = Query(
            states=TABS[tab], cursor=request.query_params.get("cursor", ""), limit=PAGE_ITEMS
        )
        items, cursor = await self._services.desk.find(viewer_of(caller.person), query)
        return self.page(
            "inbox.html", caller, tab=tab, tabs=list(TABS), items=items, cursor=cursor,
            events=f"/events?topic=approvals&after={number}",
        )  # fmt: skip

    async def show(self, request: Request) -> Response:
        """Show one request with everything the approver signs."""
        caller = await self.require_caller(request)
        return await self._show(request, caller)

    async def decide(self, request: Request) -> Response:
        """Take a form's decision; a refusal is shown on the request's page."""
        caller, form = await self.form(request)
        verb, desk = request.path_params["verb"], self._services.desk
        if verb not in _VERBS:
            raise HttpProblem(404, "no such page")
        comment = check_comment(form.get("comment"))
        version = form.get("version", "")
        if not _VERSION.fullmatch(version):
            raise HttpProblem(422, "the form is malformed")
        approval = await desk.view(viewer_of(caller.person), request.path_params["id"])
        try:
            if verb == "cancel":
                await desk.withdraw(caller.person, approval.id, comment)
            elif verb == "revoke":
                await desk.revoke(caller.person, approval.id, comment)
            else:
                await desk.decide(caller.person, approval.id, verb, comment, version=int(version))
        except Exception as exc:
            status, text, reason, _ = describe(exc)
            if status >= 500:
                raise
            request.state.reason = reason
            return await self._show(request, caller, status=status, error=text, comment=comment)
        return RedirectResponse(f"/approvals/{approval.id}", 303)

    async def login_form(self, request: Request) -> Response:
        """Ask for a token."""
        return self.login_page(request.query_params.get("next", ""), "")

    async def login(self, request: Request) -> Response:
        """Open a browser session for a token."""
        check_same_origin(request)
        form = await read_form(request)
        target = form.get("next", "")
        address = "" if request.client is None else request.client.host
        try:
            token = form.get("token", "").strip()
            principal = await self._services.auth.verify(token, address)
            name, person = await self._services.auth.open_session(principal)
        except HttpProblem as exc:
            request.state.reason = exc.reason or exc.detail
            return self.login_page(target, exc.detail, status=exc.status)
        request.state.person = person
        response = RedirectResponse(safe_path(target) or "/", 303)
        set_session_cookie(response, name, self._services.config, request)
        return response

    async def logout(self, request: Request) -> Response:
        """End the browser session."""
        await self.form(request)
        self._services.auth.sign_out(request)
        response = RedirectResponse("/login", 303)
        drop_session_cookie(response, self._services.config, request)
        return response

    def error(self, request: Request, status: int, text: str) -> Response:
        """Return an error as a page."""
        del request  # the page says nothing about the request: it may be hostile
        html = self._jinja.get_template("error.html").render(
            status=status, text=text, caller=None, events=""
        )
        return Response(html, status, media_type="text/html")

    async def _show(
        self,
        request: Request,
        caller: Caller,
        *,
        status: int = 200,
        error: str = "",
        comment: str = "",
    ) -> Response:
        person, desk = caller.person, self._services.desk
        number = desk.changes.number
        approval = await desk.view(viewer_of(person), request.path_params["id"])
        reason = why_not(person, approval, self._services.clock.wall())
        pending = approval.state is ApprovalState.PENDING
        spoken = any(vote.person == person.key for vote in approval.votes)
        is_admin = "admin" in person.roles and not person.is_agent
        return self.page(
            "approval.html", caller, status, approval=approval, request=approval.request,
            pieces=colour_sql(approval.request.sql.decode()),
            params=[readable(param) for param in approval.request.params],
            sees=sees_preview(person), background=await desk.background(approval),
            error=error, comment=comment, reason=reason, has_spoken=spoken,
            may_decide=pending and not reason and not spoken,
            may_cancel=pending and (is_requester(person, approval) or is_admin),
            may_revoke=approval.state is ApprovalState.APPROVED and (is_admin or not reason),
            events=f"/events?topic=approvals&after={number}", lines=_count_lines(approval),
        )  # fmt: skip

    def login_page(self, target: str, error: str, *, status: int = 200) -> Response:
        """Return the page that asks how to log in; `error` says why it is shown again."""
        target = safe_path(target)
        links = login_links(self._services.config, target)
        html = self._jinja.get_template("login.html").render(
            caller=None, events="", next=target, error=error, links=links
        )
        return Response(html, status, media_type="text/html")

    def post_form(self, address: str, message: str) -> Response:
        """Return the page that sends a SAML request by a form."""
        html = self._jinja.get_template("post_form.html").render(
            caller=None, events="", address=address, message=message
        )
        return Response(html, media_type="text/html")

    def signed_in(self, target: str) -> Response:
        """Return the page that leads on after a login elsewhere.

        Not a redirect: in a chain that another site began, the session's cookie is not sent.
        """
        html = self._jinja.get_template("signed_in.html").render(next=safe_path(target) or "/")
        return Response(html, media_type="text/html")


def _count_lines(approval: Approval) -> int:
    return approval.request.sql.count(b"\n") + 1
