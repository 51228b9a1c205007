"""Overview, sessions, audit, policy, identities and targets: who may see and do what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.control.web import safe_path
from tests.unit.control.plane import PEOPLE, POLICY_TEXT, Plane, run
from tests.unit.control.test_pages import HOSTILE, assert_inert

PAGES = {  # page -> who may see it
    "/": {"ann", "sam", "root"},
    "/approvals": {"bot", "ann", "sam", "root", "mole", "nobody"},
    "/sessions": {"bot", "ann", "sam", "root", "mole", "nobody"},
    "/sessions?tab=past": {"sam", "root"},
    "/audit": {"sam", "root"},
    "/audit/export": {"sam", "root"},
    "/policy": {"ann", "sam", "root"},
    "/policy/history": {"sam", "root"},
    "/identities": {"sam", "root"},
    "/targets": {"ann", "sam", "root"},
}
EVERYBODY = ("bot", "ann", "sam", "root", "mole", "nobody")


def _session(number: int, who: str = "bot", **changes: Any) -> dict[str, Any]:
    return {
        "op": "session.open", "session": f"s{number}", "worker": 0, "generation": 1,
        "principal": PEOPLE[who].to_wire(), "target": "orders", "level": "write",
        "client": f"10.0.0.{number}:5", "opened_us": number, **changes,
    }  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_for_its_roles(tmp_path: Path, path: str) -> None:
    """Goal: no page shows a role what is not for it, agents least. Method: everybody asks."""

    async def body(plane: Plane) -> None:
        allowed = set()
        for who in EVERYBODY:
            async with plane.http(who) as http:
                answer = await http.get(path)
                assert answer.status_code in {200, 303, 403}, answer.text
                if answer.status_code == 200:
                    allowed.add(who)
                    if "html" in answer.headers["content-type"]:
                        assert_inert(answer.text)
        assert allowed == PAGES[path]

    run(tmp_path, body)


def test_sessions_filter_by_address_and_show_their_own_only(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        for number, who in enumerate(("bot", "bot2", "bot"), 1):
            await plane.request(_session(number, who), 1)
        async with plane.http("root") as http:
            page = (await http.get("/sessions?who=BOT-8")).text
            assert ("10.0.0.2" in page, "10.0.0.1" in page) == (True, False)
        async with plane.http("bot2") as http:
            assert "10.0.0.1" not in (await http.get("/sessions")).text
            assert (await http.get("/sessions/s1")).status_code == 404
            assert (await http.get("/sessions/s2")).status_code == 200

    run(tmp_path, body)


def test_only_an_admin_or_its_owner_ends_a_session(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        await plane.request(_session(1), 1)
        statuses = {}
        for who in ("ann", "sam", "bot2", "root"):
            browser, csrf = await plane.browser(who)
            answer = await browser.post("/sessions/s1/kill", data={"csrf": csrf, "reason": "x"})
            statuses[who] = answer.status_code
        assert statuses == {"ann": 404, "sam": 404, "bot2": 404, "root": 303}
        entries = await plane.services.revocations.entries()
        assert [(e.kind, e.value, e.reason) for e in entries] == [("session", "s1", "x")]

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/sessions/s1/kill", {}),
        ("/identities/block", {"issuer": "corp", "subject": "bot-7"}),
        ("/identities/unblock", {"kind": "subject", "issuer": "corp", "value": "bot-7"}),
        ("/audit/saved", {"q": "x", "name": "mine"}),
        ("/policy/explain", {"sql": "select 1", "target": "orders", "groups": ""}),
        ("/policy/activate", {"digest": "x"}),
    ],
)
def test_no_form_works_forged(tmp_path: Path, path: str, form: dict[str, str]) -> None:
    """Goal: no form is obeyed without its token, from elsewhere, or with a bearer token alone."""

    async def body(plane: Plane) -> None:
        await plane.request(_session(1), 1)
        browser, csrf = await plane.browser("root")
        other, foreign = await plane.browser("root")
        del other
        evil = {"origin": "https://evil.example"}
        tries = [
            await browser.post(path, data=form | {"csrf": ""}),
            await browser.post(path, data=form | {"csrf": foreign}),
            await browser.post(path, data=form | {"csrf": csrf}, headers=evil),
            await browser.get(path),
        ]
        async with plane.http("root") as http:
            tries.append(await http.post(path, data=form | {"csrf": csrf}))
        assert [answer.status_code for answer in tries[:3]] == [403] * 3
        assert tries[3].status_code in {404, 405}
        assert tries[4].status_code == 403
        assert await plane.services.revocations.entries() == []

    run(tmp_path, body)


def test_blocking_is_for_admins_and_at_once(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        form = {"issuer": "corp", "subject": "bot-7", "reason": "loops"}
        auditor, csrf = await plane.browser("sam")
        answer = await auditor.post("/identities/block", data=form | {"csrf": csrf})
        assert answer.status_code == 403
        admin, csrf = await plane.browser("root")
        await admin.post("/identities/block", data=form | {"csrf": csrf})
        async with plane.http("bot") as http:
            assert (await http.get("/v1/whoami")).status_code == 401
        assert "loops" in (await admin.get("/identities")).text
        form = {"kind": "subject", "issuer": "corp", "value": "bot-7", "csrf": csrf}
        assert (await admin.post("/identities/unblock", data=form)).status_code == 303
        async with plane.http("bot") as http:
            assert (await http.get("/v1/whoami")).status_code == 200

    run(tmp_path, body)


def test_kept_searches_are_ones_own(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        sam, csrf = await plane.browser("sam")
        form = {"q": "kind:security.*", "name": HOSTILE[0], "csrf": csrf}
        assert (await sam.post("/audit/saved", data=form)).status_code == 303
        page = (await sam.get("/audit")).text
        assert "alert(1)" in page
        assert_inert(page)
        root, _ = await plane.browser("root")
        assert "alert(1)" not in (await root.get("/audit")).text
        await sam.post("/audit/saved", data=form | {"do": "forget"})
        assert "alert(1)" not in (await sam.get("/audit")).text
        bad = await sam.get("/audit", params={"q": "unknown:thing"})
        assert (bad.status_code, "is not one of" in bad.text) == (422, True)

    run(tmp_path, body)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_in_every_page(tmp_path: Path, hostile: str) -> None:
    """Goal: text of agents stays text. Method: it is in names, explanations, health, tests."""

    async def body(plane: Plane) -> None:
        told = plane.analyzers.answers
        decision = {
            "action": "deny", "rules": [hostile], "error": {
                "id": "PN301", "message": hostile, "hint": hostile,
            },
        }  # fmt: skip
        effect = {
            "effect": "rows.read", "object": hostile, "granted_by": [hostile], "denied_by": []
        }  # fmt: skip
        output = {"name": hostile, "sources": [hostile], "mask": hostile, "example": [hostile] * 2}
        statement = {"kind": hostile, "effects": [effect], "outputs": [output]}
        told["explain"] = {"decision": decision, "level": "read", "statements": [statement]}
        test = {"where": hostile, "sql": hostile, "expected": "allow", "got": "deny",
                "problem": hostile}  # fmt: skip
        told["policy_tests"] = {"tests": [test], "problems": [hostile], "warnings": [hostile]}
        told["status"] = {"targets": {"orders": hostile}}
        message = _session(1, target=hostile, client=hostile, level=hostile)
        message["principal"] = PEOPLE["bot"].to_wire() | {"subject": hostile, "agent": hostile}
        assert (await plane.request(message, 1))["ok"]
        root, csrf = await plane.browser("root")
        form = {"csrf": csrf, "sql": hostile, "target": "orders", "groups": hostile}
        form = {name: text.replace("\x00", "") for name, text in form.items()}
        pages = [await root.post("/policy/explain", data=form)]
        paths = ("/", "/sessions", "/sessions/s1", "/targets", "/identities", "/policy/tests")
        pages += [await root.get(path) for path in paths]
        pages.append(await root.get("/sessions", params={"who": hostile}))
        pages.append(await root.get("/audit", params={"q": hostile}))
        for page in pages:
            assert page.status_code in {200, 422}, page.text
            assert_inert(page.text)

    run(tmp_path, body)


def test_two_people_activate_one_policy(tmp_path: Path) -> None:
    """Goal: a policy takes as many admins as set, each once, all for the same digest."""

    async def body(plane: Plane) -> None:
        policies = plane.services.policies
        directory = tmp_path / "policies"
        directory.mkdir()
        file = directory / "p.yaml"
        file.write_text("version: 1\ngroups: {a: {from: ['corp:a'], kind: human}}\n")
        root, csrf = await plane.browser("root")
        page = (await root.get("/policy")).text
        digest = (await policies.candidate()).digest
        assert digest in page
        assert "The files hold another policy" in page
        form = {"csrf": csrf, "digest": digest}
        auditor, other = await plane.browser("sam")
        refused = await auditor.post("/policy/activate", data=form | {"csrf": other})
        assert refused.status_code == 403
        for _ in range(2):
            assert (await root.post("/policy/activate", data=form)).status_code == 303
        assert plane.reloads == 0
        assert "1 of 2 said yes" in (await root.get("/policy")).text
        second, csrf2 = await plane.browser("root2")
        file.write_text(file.read_text() + "# a comment is no change\n")
        file.write_text(file.read_text().replace("corp:a", "corp:b"))
        stale = await second.post("/policy/activate", data=form | {"csrf": csrf2})
        assert (stale.status_code, plane.reloads) == (409, 0)
        file.write_text(file.read_text().replace("corp:b", "corp:a"))
        await second.post("/policy/activate", data=form | {"csrf": csrf2})
        assert plane.reloads == 1
        assert (tmp_path / "policy" / "approved").read_text() == digest

    def prepare(plane: Plane) -> None:
        plane.policy_quorum = 2

    PEOPLE["root2"] = PEOPLE["root"].__class__(
        **{**PEOPLE["root"].to_wire(), "subject": "root2", "groups": ("corp:platform",),
           "actor_groups": ()}
    )  # fmt: skip
    run(tmp_path, body, prepare)


def test_history_compares_what_was_active(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        policies = plane.services.policies
        before = plane.policy
        assert await policies.active() is not None
        groups = {**POLICY_TEXT["groups"], "new": {"from": ["corp:new"], "kind": "human"}}
        plane.activate({**POLICY_TEXT, "groups": groups})
        assert await policies.active() is not None
        root, _ = await plane.browser("root")
        page = await root.get("/policy/history", params={"old": before, "new": plane.policy})
        assert "added" in page.text
        gone = await root.get("/policy/history", params={"old": "../active", "new": plane.policy})
        assert gone.status_code == 404

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("/audit", True), ("/approvals/abc", True), ("/sessions/w0-1_x", True),
        ("//evil.example", False), ("/\\evil.example", False), ("https://evil.example", False),
        ("/audit/../x", False), ("/logout", False), ("javascript:alert(1)", False), ("", False),
        ("/approvals//evil", False), ("/approvals/a\n", False),
    ],
)  # fmt: skip
def test_a_login_leads_to_our_pages_only(path: str, safe: bool) -> None:
    assert (safe_path(path) == path) is (safe or not path)


def test_export_streams_lines(tmp_path: Path) -> None:
    async def body(plane: Plane) -> None:
        async with plane.http("sam") as http:
            answer: httpx.Response = await http.get("/audit/export?format=ndjson")
            assert answer.status_code == 200
            assert "attachment" in answer.headers["content-disposition"]
            assert (await http.get("/audit/export?format=exe")).status_code == 422

    run(tmp_path, body)
