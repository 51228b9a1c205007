"""What all pages share: templates, who is calling, forms that nobody forged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from starlette.responses import RedirectResponse, Response

from gateway.clock import format_time
from gateway.control.auth import check_csrf, check_same_origin
from gateway.control.problems import HttpProblem
from gateway.control.visible import visible, visible_text
from gateway.control.web import read_form, safe_path

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.control.auth import Caller
    from gateway.control.web import Services

TEMPLATES = Path(__file__).with_name("templates")


class LoginNeeded(Exception):
    """Nobody is signed in; the answer is the login page, which leads back to `path`."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def response(self) -> Response:
        """Return the redirection to the login page."""
        path = safe_path(self.path)
        return RedirectResponse(f"/login?next={path}" if path else "/login", 303)


class PageBase:
    """The ground of every class of pages."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._jinja = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.filters.update(
            visible=visible,
            plain=visible_text,
            when=format_time,
            ago=self._ago,
            left=self._left,
        )

    async def caller(self, request: Request) -> Caller | None:
        """Return who is calling, None when nobody is signed in."""
        caller = await self._services.auth.caller(request)
        if caller is not None:
            request.state.person = caller.person
        return caller

    async def require_caller(self, request: Request, *roles: str) -> Caller:
        """Return who is calling; raises LoginNeeded, and 403 without one of `roles`."""
        caller = await self.caller(request)
        if caller is None:
            raise LoginNeeded(request.url.path)
        self._require(caller, roles)
        return caller

    async def form(self, request: Request, *roles: str) -> tuple[Caller, dict[str, str]]:
        """Return who sent a form and its fields, after all checks against forgery."""
        check_same_origin(request)
        caller = await self.caller(request)
        if caller is None or not caller.is_browser:
            raise HttpProblem(403, "sign in first")
        form = await read_form(request)
        check_csrf(caller, form.get("csrf", ""))
        self._require(caller, roles)
        return caller, form

    def page(self, template: str, caller: Caller, status: int = 200, **values: Any) -> Response:
        """Return a page of `template`."""
        shown = {"events": "", **values}
        html = self._jinja.get_template(template).render(caller=caller, **shown)
        return Response(html, status, media_type="text/html")

    @staticmethod
    def _require(caller: Caller, roles: tuple[str, ...]) -> None:
        person = caller.person
        if roles and (person.is_agent or person.roles.isdisjoint(roles)):
            raise HttpProblem(403, f"this is for {' and '.join(f'{role}s' for role in roles)}")

    def _ago(self, time_us: int) -> str:
        return f"{_span(self._services.clock.wall() - time_us / 1e6)} ago"

    def _left(self, time_us: int) -> str:
        left = time_us / 1e6 - self._services.clock.wall()
        return f"{_span(left)} left" if left > 0 else "time is over"


def _span(seconds: float) -> str:
    seconds = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
