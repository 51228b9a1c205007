"""The pages as an attacker sees them: forged forms, planted cookies, hostile text."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import pytest

from gateway.approvals.background import Preview
from gateway.approvals.model import Parameter
from gateway.approvals.states import ApprovalState
from gateway.control.readable import readable
from gateway.control.visible import visible_text
from tests.unit.control.plane import Plane, run

SCRIPTS = [
    '<script src="/static/postern.js" defer>', '<script src="/static/htmx.min.js" defer>',
]  # fmt: skip
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7*7 }}{% raw %}",
    "</pre></textarea><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "\u202eEVIL\u2066\u200b\x1b[31m\x00\ufeff",
)


def test_every_page_is_shut_to_strangers(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking())
        async with plane.http() as http:
            for path in (
                "/",
                "/approvals",
                "/sessions",
                "/audit",
                "/policy",
                "/targets",
                "/identities",
                f"/approvals/{ticket.id}",
            ):
                answer = await http.get(path)
                assert (answer.status_code, "DELETE" in answer.text) == (303, False)
                assert answer.headers["location"].startswith("/login")
            assert (await http.get("/events?topic=approvals&after=0")).status_code == 401

    run(tmp_path, body)


def test_a_person_signs_in_decides_and_signs_out(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking())
        browser, csrf = await plane.browser("ann")
        page = await browser.get(f"/approvals/{ticket.id}")
        assert "DELETE FROM sales.orders" in re.sub(r"<[^>]+>", "", page.text)
        answer = await browser.post(
            f"/approvals/{ticket.id}/approve", data={"csrf": csrf, "version": "1", "comment": "ok"}
        )
        assert answer.status_code == 303
        assert (await plane.desk.get(ticket.id)).state is ApprovalState.APPROVED
        cookie = browser.cookies["postern_session"]
        await browser.post("/logout", data={"csrf": csrf})
        async with plane.http() as other:
            old = await other.get("/", headers={"cookie": f"postern_session={cookie}"})
        assert old.status_code == 303

    run(tmp_path, body)


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        async with plane.http() as http:
            answer = await http.post("/login", data={"token": "ann", "next": ""})
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "domain" not in cookie

    run(tmp_path, body)


def test_a_planted_cookie_opens_nothing(tmp_path: Path) -> None:
    """Goal: no session fixation. Method: log in with a cookie that an attacker chose."""

    async def body(plane: Plane) -> None:
        planted = {"cookie": "postern_session=planted"}
        async with plane.http() as victim:
            answer = await victim.post("/login", data={"token": "ann"}, headers=planted)
            assert "planted" not in answer.headers["set-cookie"]
        async with plane.http() as attacker:
            assert (await attacker.get("/", headers=planted)).status_code == 303

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("form", "headers", "status"),
    [
        ({"version": "1"}, {}, 403),
        ({"version": "1", "csrf": "guess"}, {}, 403),
        ({"version": "1", "csrf": "é"}, {}, 403),
        ({"version": "1", "csrf": "OK"}, {"origin": "https://evil.example"}, 403),
        ({"version": "1", "csrf": "OK"}, {"origin": "null"}, 403),
        ({"version": "1", "csrf": "OK"}, {"sec-fetch-site": "cross-site"}, 403),
        ({"version": "1", "csrf": "OK"}, {"sec-fetch-site": "same-site"}, 403),
        ({"version": "x", "csrf": "OK"}, {}, 422),
        ({"version": "9", "csrf": "OK"}, {}, 409),
        ({"version": "1", "csrf": "OK"}, {"origin": "http://127.0.0.1:8433"}, 303),
    ],
)
def test_a_forged_form_decides_nothing(
    tmp_path: Path, form: dict[str, str], headers: dict[str, str], status: int
) -> None:
    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking())
        browser, csrf = await plane.browser("ann")
        data = {k: csrf if v == "OK" else v for k, v in form.items()}
        answer = await browser.post(f"/approvals/{ticket.id}/approve", data=data, headers=headers)
        assert answer.status_code == status
        state = (await plane.desk.get(ticket.id)).state
        assert state == ("APPROVED" if status == 303 else "PENDING")

    run(tmp_path, body)


def test_another_sessions_csrf_token_is_worth_nothing(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking())
        _, bobs = await plane.browser("bob")
        ann, anns = await plane.browser("ann")
        path = f"/approvals/{ticket.id}/approve"
        answer = await ann.post(path, data={"csrf": bobs, "version": "1"})
        assert answer.status_code == 403
        # The API accepts the cookie as well, and then wants the token in a header.
        api = f"/v1/approvals/{ticket.id}/approve"
        assert (await ann.post(api, json={})).status_code == 403
        answer = await ann.post(api, json={}, headers={"x-csrf-token": anns})
        assert answer.status_code == 200

    run(tmp_path, body)


def test_signing_somebody_in_from_another_site_is_refused(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        async with plane.http() as http:
            for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
                answer = await http.post("/login", data={"token": "eve"}, headers=headers)
                assert answer.status_code == 403
                assert "set-cookie" not in answer.headers

    run(tmp_path, body)


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/approvals/../x", "/login", ""],
)
def test_a_login_leads_nowhere_else(tmp_path: Path, target: str) -> None:
    async def body(plane: Plane) -> None:
        async with plane.http() as http:
            answer = await http.post("/login", data={"token": "ann", "next": target})
            assert answer.headers["location"] == "/"
            known = await http.post("/login", data={"token": "ann", "next": "/approvals/0abc"})
            assert known.headers["location"] == "/approvals/0abc"

    run(tmp_path, body)


def test_hostile_text_is_text(tmp_path: Path) -> None:
    """Goal: nothing an agent writes is markup or unseen. Method: every field it controls."""

    async def body(plane: Plane) -> None:
        for number, text in enumerate(HOSTILE):
            sql = text.replace("\x00", "").encode()
            request = plane.asking(
                sql=sql, reason=text, ticket=text, objects=(text,), session=text, transaction=text,
                search_path=(text,), effects=(text, str(number)),
            )  # fmt: skip
            ticket = await plane.worker().request(request)
            browser, csrf = await plane.browser("ann")
            for path in ("/", f"/approvals/{ticket.id}"):
                assert_inert((await browser.get(path)).text)
            answer = await browser.post(
                f"/approvals/{ticket.id}/deny", data={"csrf": csrf, "version": "1", "comment": text}
            )
            assert answer.status_code == 303
            assert_inert((await browser.get(f"/approvals/{ticket.id}")).text)

    run(tmp_path, body)


def assert_inert(html: str) -> None:
    assert re.findall(r"<script[^>]*>", html) == SCRIPTS
    # What a person typed comes back into its field as it was, escaped.
    html = re.sub(r' value="[^"]*"|(?<=<textarea)[^<]*', "", html)
    assert not re.search(r'<(img src=x|svg(?! viewBox="0 0 180 40"))', html)
    assert not re.search(r"<[^>]*\son\w+=|style=", re.sub(r'="[^"]*"', '=""', html))
    assert "49" not in re.findall(r">(49)<", html)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\ufeff\x00\x1b]", html)


def test_the_headers_leave_a_page_no_way_out(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        async with plane.http() as http:
            for path in ("/login", "/nothing", "/v1/whoami", "/static/postern.js"):
                headers = (await http.get(path)).headers
                policy = headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert "frame-ancestors 'none'" in policy
                assert headers["x-content-type-options"] == "nosniff"
                assert headers["referrer-policy"] == "same-origin"

    run(tmp_path, body)


def test_templates_hold_no_inline_script_or_style() -> None:
    """What the policy would block must not be written in the first place."""
    for path in Path("gateway/control/templates").iterdir():
        text = path.read_text()
        assert "|safe" not in text.replace(" ", "")
        assert not re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:|https?://", text), path
        for script in SCRIPTS:
            text = text.replace(script, "")
        assert "<script" not in text


def test_a_browser_session_ends_with_idleness_and_with_its_token(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        browser, _ = await plane.browser("ann")
        plane.clock.advance(29 * 60)
        assert (await browser.get("/")).status_code == 200
        plane.clock.advance(31 * 60)
        assert (await browser.get("/")).status_code == 303
        plane.clock.advance(45_000)
        browser, _ = await plane.browser("ann")
        plane.clock.advance(1_500)
        assert (await browser.get("/")).status_code == 303

    run(tmp_path, body)


def test_one_person_holds_a_bounded_number_of_sessions(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        browsers = [(await plane.browser("ann"))[0] for _ in range(12)]
        statuses = [(await browser.get("/")).status_code for browser in browsers]
        assert statuses == [303] * 2 + [200] * 10

    run(tmp_path, body)


def test_a_page_is_told_when_to_look_again(tmp_path: Path) -> None:
    """Goal: the inbox shows a new request within a second. Method: read the stream as ASGI."""

    async def body(plane: Plane) -> None:
        browser, _ = await plane.browser("ann")
        cookie = browser.cookies["postern_session"]
        number = plane.desk.changes.number
        chunks: asyncio.Queue[bytes] = asyncio.Queue()
        gone = asyncio.Event()

        async def receive() -> dict[str, object]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            body_part = message.get("body")
            if isinstance(body_part, bytes) and body_part:
                await chunks.put(body_part)

        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "method": "GET",
            "http_version": "1.1", "scheme": "http", "path": "/events", "raw_path": b"/events",
            "root_path": "", "query_string": f"topic=approvals&after={number}".encode(),
            "headers": [(b"cookie", f"postern_session={cookie}".encode())],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8433),
        }  # fmt: skip
        stream = asyncio.ensure_future(plane.app(scope, receive, send))  # type: ignore[arg-type]
        assert (await asyncio.wait_for(chunks.get(), 1)).startswith(b"retry")
        await plane.worker().request(plane.asking())
        assert await asyncio.wait_for(chunks.get(), 1) == b"data: %d\n\n" % (number + 1)
        gone.set()
        await asyncio.wait_for(stream, 5)

    run(tmp_path, body)


def test_an_unknown_host_path_or_method_is_an_error_page(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        async with plane.http() as http:
            answer = await http.get("/%3Cscript%3Ealert(1)%3C/script%3E")
            assert answer.status_code == 404
            assert "alert(1)" not in answer.text
            assert (await http.get("/static/../guard.py")).status_code == 404
            assert (await http.get("/static/%2e%2e/guard.py")).status_code == 404

    run(tmp_path, body)


def test_a_form_is_read_strictly(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        async with plane.http() as http:
            headers = {"content-type": "application/x-www-form-urlencoded"}
            for content in (
                b"token=ann&token=bob",
                b"token=%ff",
                b"\xff",
                b"&".join([b"a=1"] * 30),
            ):
                answer = await http.post("/login", content=content, headers=headers)
                assert answer.status_code == 400, content
            answer = await http.post("/login", files={"token": b"ann"})
            assert answer.status_code == 415

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\x1b[2J", "⟨ESC⟩[2J"),
        ("a\u00a0b\u2800c", "a⟨NBSP⟩b⟨U+2800⟩c"),
        ("x" + "\u0301" * 4, "x\u0301\u0301⟨U+0301⟩⟨U+0301⟩"),
        ("a" + "\n" * 40 + "b", "a\n⟨38 empty lines⟩\nb"),
        ("a" + " " * 99 + "b", "a ⟨97 spaces⟩ b"),
        ("select\n  1", "select\n  1"),
        ("\U000e0041\ufe0f", "⟨U+E0041⟩⟨U+FE0F⟩"),
    ],
)
def test_what_does_not_show_is_named(text: str, shown: str) -> None:
    assert visible_text(text) == shown


@pytest.mark.parametrize(
    ("param", "shown"),
    [
        (Parameter(23, 1, b"\x00\x00\x01\xf4"), ("integer", "500")),
        (Parameter(23, 1, b"\x00\x01\xf4"), ("integer", "00 01 f4")),
        (Parameter(20, 1, b"\xff" * 8), ("bigint", "-1")),
        (Parameter(16, 1, b"\x01"), ("boolean", "true")),
        (Parameter(16, 1, b"\x02"), ("boolean", "02")),
        (Parameter(25, 0, b"\xff"), ("text", "ff")),
        (Parameter(1700, 1, b"\x00\x01"), ("numeric", "00 01")),
        (Parameter(99999, 1, b"a"), ("type 99999", "61")),
        (Parameter(25, 1, None), ("text", None)),
        (Parameter(0, 0, b"x"), ("type not stated", "x")),
    ],
)
def test_a_reviewer_reads_values_and_not_encodings(
    param: Parameter, shown: tuple[str, str | None]
) -> None:
    found = readable(param)
    assert (found.type, found.value) == shown


def test_httpx_is_not_asked_to_follow() -> None:
    """The client commands use must never carry a token to where a redirect points."""
    from gateway.cli.control_client import ControlClient

    client: httpx.Client = ControlClient("http://127.0.0.1:1", "t")._client
    assert client.follow_redirects is False
    client.close()


def test_the_request_page_says_what_the_database_said(tmp_path: Path) -> None:
    """Goal: a reviewer sees it, hostile names inert; the requester does not."""

    async def body(plane: Plane) -> None:
        ticket = await plane.worker().request(plane.asking(sql=b"DELETE FROM t -- <b>\n"))
        browser, _ = await plane.browser("ann")
        page = (await browser.get(f"/approvals/{ticket.id}")).text
        assert "Asking the database" in page
        assert '<span class="sql-c">-- &lt;b&gt;' in page
        node = {
            "depth": 0, "node": "Delete", "relation": "<i>x", "index": "", "rows": 7, "cost": 1.0,
            "conditions": ["Filter: (a = '<u>')"],
        }  # fmt: skip
        preview = Preview(rows=1234, counted=True, plan=(node,), masks=("s.t.ssn (ssn)",))
        await plane.desk.note_preview(ticket.id, preview)
        page = (await browser.get(f"/approvals/{ticket.id}")).text
        assert "<strong>1,234</strong> rows" in page
        assert "counted in a run that was rolled back" in page
        assert "&lt;i&gt;x" in page
        assert "<u>" not in page
        assert "s.t.ssn (ssn)" in page
        own, _ = await plane.browser("bot")
        assert "1,234" not in (await own.get(f"/approvals/{ticket.id}")).text

    run(tmp_path, body)
