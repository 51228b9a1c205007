"""The pages in a real browser, at a phone's and a desk's width: use, access, hostile text.

With TAKE_SCREENSHOTS=1 the pictures of docs/ui.md are taken anew.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from tests.support.browser import chromium
from tests.support.gateway import GatewayProcess
from tests.support.sample import POLICY
from tests.support.stands import EMBEDDED, Stand, Stands, own_directory
from tests.support.wireclient import WireClient, query, rows

PICTURES = Path(__file__).parents[3] / "docs" / "ui"
SHOWN = {"overview", "inbox-waiting", "request", "sessions", "audit", "policy", "identities"}
WIDTHS = {"phone": 390, "desk": 1440}
PAGES = {
    "overview": "/",
    "inbox": "/approvals",
    "sessions": "/sessions",
    "sessions-past": "/sessions?tab=past",
    "audit": "/audit",
    "policy": "/policy",
    "policy-tests": "/policy/tests",
    "policy-history": "/policy/history",
    "identities": "/identities",
    "targets": "/targets",
}
LONG_HOLD = POLICY.replace("hold: 10s", "hold: 120s") + (
    "tests:\n  - {as: {groups: [agents]}, target: orders, sql: 'delete from sales.scratch',"
    " expect: {decision: approve}}\n"
)
HELD = "delete from sales.scratch returning id, word"
HOSTILE = (
    "delete from sales.scratch /* <script>window.hit=1</script><img src=x onerror='window.hit=1'>"
    "\"><svg/onload=window.hit=1> {{7*7}} \u202e */ returning '<b onmouseover=window.hit=1>'"
)


@pytest.fixture(scope="module")
def place(stands: Stands) -> Iterator[Stand]:
    """A gateway whose holds last as long as a test."""
    cluster = stands.cluster(EMBEDDED)
    with own_directory() as directory:
        gateway = GatewayProcess(cluster, Path(directory), policy=LONG_HOLD)
        with gateway:
            yield Stand(cluster, gateway)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def context(browser: Browser, width: str) -> Iterator[BrowserContext]:
    size: ViewportSize = {"width": WIDTHS[width], "height": 844}
    fresh = browser.new_context(viewport=size, reduced_motion="reduce")
    fresh.set_default_timeout(15_000)
    yield fresh
    fresh.close()


def _url(place: Stand, path: str) -> str:
    return f"http://127.0.0.1:{place.gateway.control_port}{path}"


def _signed_in(place: Stand, context: BrowserContext, path: str = "/approvals") -> Page:
    """A page of a reviewer; what a browser complains of fails the test at `_clean`."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("response", lambda got: complaints.append(got.url) if got.status >= 400 else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    context.complaints = complaints  # type: ignore[attr-defined]
    page.goto(_url(place, "/login"))
    page.get_by_label("Token").fill(place.gateway.mint("dana", ["dba"]))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(_url(place, "/"))
    page.goto(_url(place, path))
    return page


def _clean(page: Page, *, name: str = "", width: str = "") -> None:
    """Nothing to complain of for the browser, for axe-core, or for a narrow screen."""
    assert page.context.complaints == []  # type: ignore[attr-defined]
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"{name}: {wide} pixels too wide"
    if name in SHOWN and os.environ.get("TAKE_SCREENSHOTS"):
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}-{width}.png")


def _held(place: Stand, sql: str = HELD, mark: str = "") -> WireClient:
    client = WireClient(place.gateway.port, timeout_s=20)
    client.login(place.gateway.mint("agent-7", ["agents"]))
    client.send(query("set postern.reason = 'rows of a test run'"))
    client.until_ready()
    # A denied statement stays denied for a while: each test has its own.
    client.send(query(f"{sql} /* {mark or uuid.uuid4()} */"))
    client.expect("N")
    return client


@pytest.fixture
def some_rows(place: Stand) -> Iterator[None]:
    with place.server() as server:
        server.execute("delete from sales.scratch")
        server.execute("insert into sales.scratch select i, 'doomed' from generate_series(1, 5) i")
        yield
        server.execute("delete from sales.scratch")


@pytest.mark.usefixtures("some_rows")
def test_from_a_blocked_agent_to_its_rows(
    place: Stand, context: BrowserContext, width: str
) -> None:
    """Goal: an agent blocks, the open inbox shows it, a tap approves, the agent's rows arrive."""
    page = _signed_in(place, context)
    with _held(place) as agent:
        began = time.monotonic()
        card = page.locator(".card", has_text="returning id, word").first
        card.wait_for()
        shown_s = time.monotonic() - began
        _clean(page, name="inbox-waiting", width=width)
        card.click()
        expect(page.get_by_text("estimated by the planner")).to_be_visible()
        _clean(page, name="request", width=width)
        page.get_by_label("Comment").fill("looked at it")
        page.get_by_role("button", name="Approve", exact=True).click()
        assert len(rows(agent.until_ready())) == 5
        expect(page.locator(".head .state")).to_have_text("executed")
        assert page.context.complaints == []  # type: ignore[attr-defined]
    assert shown_s < 1.0


def test_every_page_is_accessible(place: Stand, context: BrowserContext, width: str) -> None:
    """Goal: no violation of axe-core, no sideways scrolling, no complaint of the browser."""
    with place.gateway.connect(["agents"], subject="agent-9") as agent:
        agent.execute("select id, email from sales.customers limit 3")
        page = _signed_in(place, context)
        for name, path in PAGES.items():
            page.goto(_url(place, path))
            _clean(page, name=name, width=width)


@pytest.mark.usefixtures("some_rows")
def test_in_the_dark(place: Stand, context: BrowserContext) -> None:
    page = _signed_in(place, context)
    page.emulate_media(color_scheme="dark")
    with _held(place):
        page.locator(".card").first.click()
        _clean(page)
    page.goto(_url(place, "/"))
    _clean(page)


@pytest.mark.usefixtures("some_rows")
def test_hostile_statements_are_inert(place: Stand, context: BrowserContext) -> None:
    """Goal: nothing an agent sends runs in a reviewer's browser, live updates included."""
    page = _signed_in(place, context)
    with _held(place, HOSTILE):
        card = page.locator(".card", has_text="window.hit").first
        card.wait_for()
        card.click()
        page.get_by_text("What would run").wait_for()
        page.locator(".sql").hover()
        assert page.locator(".sql img, .sql svg, .sql b, .sql script").count() == 0
        assert page.locator(".sql .odd").first.inner_text() == "U+202E"
        page.get_by_role("button", name="Deny").click()
        expect(page.locator(".head .state")).to_have_text("denied")
    for path in ("/audit", "/approvals?tab=ended", "/sessions?tab=past", "/"):
        page.goto(_url(place, path))
    assert page.evaluate("window.hit") is None
    assert page.context.complaints == []  # type: ignore[attr-defined]


@pytest.mark.usefixtures("some_rows")
def test_by_keyboard_alone(place: Stand, context: BrowserContext) -> None:
    """Goal: a decision without a pointer. Method: Tab and Enter only."""
    page = _signed_in(place, context)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    mark = str(uuid.uuid4())  # requests of other tests are in the inbox too
    with _held(place, mark=mark) as agent:
        page.locator(".card", has_text=mark).wait_for()
        _tab_to(page, mark)
        page.keyboard.press("Enter")
        page.get_by_label("Comment").wait_for()
        _tab_to(page, "Deny")
        page.keyboard.press("Enter")
        (error,) = [m for m in agent.until_ready() if m[0] == "E"]
        assert b"PN402" in error[1]


def _tab_to(page: Page, text: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if text in page.evaluate("document.activeElement.textContent"):
            return
    raise AssertionError(f"no way to {text!r} by Tab")


def test_no_page_lets_itself_be_framed(place: Stand, context: BrowserContext) -> None:
    """Goal: clickjacking. Method: put the inbox into a frame of another site's page."""
    _signed_in(place, context)
    evil = context.new_page()
    target = _url(place, "/approvals").replace("127.0.0.1", "localhost")
    evil.set_content(f'<iframe src="{_url(place, "/approvals")}"></iframe><a href="{target}">x</a>')
    evil.wait_for_timeout(300)
    frames = [frame.url for frame in evil.frames[1:]]
    assert frames == ["chrome-error://chromewebdata/"]


@pytest.mark.usefixtures("some_rows")
def test_a_session_is_ended_from_its_page(place: Stand, context: BrowserContext) -> None:
    """Goal: the destructive button asks first, and then works."""
    client = WireClient(place.gateway.port, timeout_s=10)
    with client:
        client.login(place.gateway.mint("agent-kill", ["agents"]))
        page = _signed_in(place, context, "/sessions?who=agent-kill")
        page.locator("tbody a").first.click()
        button = page.get_by_role("button", name="End the session now")
        assert not button.is_visible()
        page.get_by_text("End this session").click()
        button.click()
        (error,) = [m for m in client.until_end() if m[0] == "E"]
        assert b"PN202" in error[1]
