"""The scripted session: what the agent does, what must come of it, and why.

Every step checks what it shows; one that does not do what it should ends the demo.
"""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import psycopg

from gateway.audit.search import AuditSearch, Event, Query
from gateway.audit.segments import list_segments, segment_directory
from gateway.audit.verify import Verification, verify
from gateway.audit.view import state, what, who
from gateway.demo.screen import Screen
from gateway.demo.stand import AGENT, REVIEWER, DemoError, Stand

READ: Final = "SELECT name, email, phone, ssn FROM sales.people ORDER BY id LIMIT 3"
FORBIDDEN: Final = "SELECT employee, salary FROM sales.salaries"
LEAK: Final = "SELECT name FROM sales.people WHERE ssn LIKE '9%'"
REASON: Final = "rejected refunds are closed, ticket 4711"
DELETE: Final = "DELETE FROM sales.refunds WHERE status = 'rejected'"
COUNT: Final = "SELECT count(*) FROM sales.refunds WHERE status = 'rejected'"
COMMENT: Final = "checked with billing"

_WAIT_S: Final = 10.0
# Long enough for the eye to see that the statement waits.
_PAUSE_S: Final = 1.0


class Story:
    """One agent's session, and the person it meets."""

    def __init__(self, stand: Stand, screen: Screen) -> None:
        self._stand = stand
        self._screen = screen
        self._notices: queue.Queue[str] = queue.Queue()
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def steps(self) -> list[Callable[[], None]]:
        """The steps in their order."""
        return [self.log_in, self.read, self.ask_too_much, self.leak, self.delete, self.look_back]

    @property
    def agent(self) -> psycopg.Connection[Any]:
        """The agent's connection."""
        if self._connection is None:
            raise DemoError("the agent is not connected")
        return self._connection

    def close(self) -> None:
        """End the agent's session."""
        if self._connection is not None:
            self._connection.close()

    def log_in(self) -> None:
        """The token as the password."""
        screen, stand = self._screen, self._stand
        screen.step("The agent logs in with its token")
        screen.sends_code(
            f'psycopg.connect(host="127.0.0.1", port={stand.port}, dbname="shop",\n'
            f'                user="agent", password="{stand.agent_token[:22]}...")'
        )
        self._connection = stand.connect()
        self._connection.add_notice_handler(
            lambda notice: self._notices.put(f"NOTICE  {notice.message_primary}")
        )
        row = self._connection.execute("SHOW postern.whoami").fetchone()
        _expect(row is not None and AGENT[0] in row[0], "whoami names the agent")
        screen.gets(f"a session as {AGENT[0]} of the group {AGENT[1]}")
        screen.why("Its password is an OIDC token; the database's own it never sees.")

    def read(self) -> None:
        """An allowed read, masked."""
        self._screen.step("An allowed read: personal data comes back masked")
        self._screen.sends(READ)
        cursor = self.agent.execute(READ)
        rows, columns = cursor.fetchall(), [item.name for item in cursor.description or ()]
        stored = self._stand.stored(READ)
        _expect(len(rows) == len(stored) == 3, "three rows are read")
        for got, kept in zip(rows, stored, strict=True):
            _expect(got[0] == kept[0], "a column without a mask is as stored")
            _expect(not set(got[1:]) & set(kept[1:]), "masked columns differ from what is stored")
        self._screen.rows(columns, rows, masked=("email", "phone", "ssn"))
        self._screen.gets(" · ".join(str(cell) for cell in stored[0]), label="stored")
        self._screen.why("A grant allows it; masks rewrote three columns on the way back.")

    def ask_too_much(self) -> None:
        """A table outside the grants."""
        self._screen.step("A read that nothing grants: it never reaches the database")
        self._refusal(FORBIDDEN, "42501", "PN301")
        self._screen.why("What no rule grants is refused; the error says what is granted.")

    def leak(self) -> None:
        """A masked column where it would leak."""
        self._screen.step("A trick: guess a masked value by filtering on it")
        self._refusal(LEAK, "42501", "PN307")
        self._screen.why("Which rows come back would tell the value, so it may only be shown.")

    def delete(self) -> None:
        """A statement that waits for a person."""
        screen = self._screen
        screen.step("A DELETE: held until a person approves")
        before = self._stand.stored(COUNT)[0][0]
        _expect(before > 0, "there are refunds to delete")
        screen.sends(f"SET postern.reason = '{REASON}';\n{DELETE};")
        self.agent.execute(f"SET postern.reason = '{REASON}'")
        outcome: queue.Queue[str | Exception] = queue.Queue()
        held = threading.Thread(target=self._run_delete, args=(outcome,), daemon=True)
        held.start()
        screen.waits(_take(self._notices, "the notice that the statement is held"))
        time.sleep(_PAUSE_S)
        _expect(outcome.empty(), "the statement waits")
        _expect(self._stand.stored(COUNT)[0][0] == before, "nothing is deleted before a yes")
        self._approve()
        tag = _take(outcome, "the DELETE to end")
        if isinstance(tag, Exception):
            raise DemoError(f"the approved DELETE failed: {tag}")
        held.join(_WAIT_S)
        _expect(tag == f"DELETE {before}", f"{before} rows are deleted, not {tag}")
        _expect(self._stand.stored(COUNT)[0][0] == 0, "the rows are gone")
        screen.gets(f"{tag}, on the same connection that waited")
        screen.why("The yes was for this statement of this agent, and for one execution.")

    def look_back(self) -> None:
        """The audit trail, and what happens to one that is edited."""
        screen = self._screen
        screen.step("Looking back: all of it is on record, and the record holds")
        self.close()
        events = self._trail()
        rows = [row for event in events if (row := _row(event))]
        screen.table(("time", "who", "outcome", "what"), rows)
        result = verify(self._stand.data_dir)
        _expect(result.is_clean, "the trail is clean")
        screen.gets(f"clean: {result.entries} records in one hash chain", label="verify")
        forged = self._forge()
        _expect(not forged.is_clean, "an edited copy of the trail is found out")
        screen.gets(f"a copy with one byte changed is NOT CLEAN: {_first(forged)}", label="forged")
        screen.why("Each record holds the hash of the one before, so a change shows.")

    def _refusal(self, statement: str, sqlstate: str, error_id: str) -> None:
        self._screen.sends(statement)
        try:
            self.agent.execute(statement.encode())
        except psycopg.Error as error:
            _expect(error.sqlstate == sqlstate, f"SQLSTATE is {sqlstate}, not {error.sqlstate}")
            _expect(str(error).startswith(error_id), f"the error is {error_id}, not {error}")
            self._screen.refused(sqlstate, str(error))
            return
        raise DemoError(f"this statement was not refused: {statement}")

    def _run_delete(self, outcome: queue.Queue[str | Exception]) -> None:
        try:
            outcome.put(self.agent.execute(DELETE).statusmessage or "")
        except psycopg.Error as error:
            outcome.put(error)

    def _approve(self) -> None:
        """A second identity says yes, through the API that `postern approvals` uses."""
        with self._api(self._stand.reviewer_token) as api:
            item = _json(api.get("/v1/approvals", params={"state": "PENDING"}))["items"][0]
            request = _json(api.get(f"/v1/approvals/{item['id']}"))
            _expect(request["sql"] == DELETE, "the reviewer sees the whole statement")
            with self._api(self._stand.agent_token) as own:
                refused = own.post(f"/v1/approvals/{item['id']}/approve", json={"comment": ""})
            _expect(refused.status_code == httpx.codes.FORBIDDEN, "an agent cannot approve")
            answer = api.post(f"/v1/approvals/{item['id']}/approve", json={"comment": COMMENT})
            _expect(_json(answer)["state"] == "APPROVED", "one yes is enough")
        self._screen.person(
            f"{REVIEWER[0]} of the group {REVIEWER[1]} opens request {item['id']}:",
            f"  {request['principal']['subject']} wants {', '.join(request['effects'])}"
            f" on {', '.join(request['objects'])}",
            f"  because: {request['reason']}",
            f"POST /v1/approvals/{item['id']}/approve",
            "  by the agent itself: 403, an agent never approves",
            f"  by {REVIEWER[0]}: approved, “{COMMENT}”",
        )

    def _api(self, token: str) -> httpx.Client:
        return httpx.Client(
            base_url=self._stand.url,
            headers={"authorization": f"Bearer {token}"},
            timeout=_WAIT_S,
            trust_env=False,
        )

    def _trail(self) -> list[Event]:
        """The session's records once the last of them is written, oldest first."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            found = list(AuditSearch(self._stand.data_dir).find(Query(limit=100)))
            kinds = [event.record.get("kind") for event in found]
            if "session.closed" in kinds:
                shown = ("session.", "statement.", "approval.")
                kept = [e for e in found if str(e.record.get("kind")).startswith(shown)]
                _expect(kinds.count("statement.refused") == 2, "both refusals are on record")
                _expect(
                    any(DELETE in what(e) and state(e) == "ok" for e in kept), "so is the DELETE"
                )
                return kept[::-1]
            if time.monotonic() > deadline:
                raise DemoError("the trail does not show the end of the session")
            time.sleep(0.05)

    def _forge(self) -> Verification:
        """Verify a copy of the trail in which one byte of the DELETE's record is another."""
        copy = self._stand.directory / "forged"
        shutil.copytree(self._stand.data_dir / "audit", copy / "audit")
        directory = segment_directory(copy)
        for path in list_segments(directory):
            data = path.read_bytes()
            if DELETE.encode() in data:
                path.write_bytes(data.replace(b"'rejected'", b"'rejectee'"))
        return verify(copy)


def _expect(held: bool, what_should: str) -> None:
    if not held:
        raise DemoError(f"it should be that {what_should}")


def _take(source: queue.Queue[Any], what_for: str) -> Any:
    try:
        return source.get(timeout=_WAIT_S)
    except queue.Empty:
        raise DemoError(f"waited {_WAIT_S:g} s for {what_for}") from None


def _json(response: httpx.Response) -> dict[str, Any]:
    _expect(response.is_success, f"the API answers {response.request.url}, not {response.text}")
    value: dict[str, Any] = response.json()
    return value


def _row(event: Event) -> tuple[str, str, str, str] | None:
    """One line of the trail as the demo shows it; None for what only repeats another."""
    record, kind = event.record, str(event.record.get("kind"))
    clock = time.strftime("%H:%M:%S", time.localtime(record["time"] / 1e6))
    match kind:
        case "session.opened":
            return clock, who(record), "logged in", f"group {', '.join(record['groups'])}"
        case "session.closed":
            return clock, who(record), "left", ""
        case "approval.requested":
            return clock, who(record), "waits", f"for a yes under rule {record['rule']}"
        case "approval.decided":
            by = str(record["by"]).rpartition("|")[2]
            return clock, by, str(record["state"]).lower(), str(record["comment"])
        case "statement.refused":
            return clock, who(record), f"refused {record['error']}", what(event)
        case "statement.intent" if not what(event).startswith("SET"):
            tag = (event.result or {}).get("tag") or ""
            return clock, who(record), f"{state(event)} {tag}".strip(), what(event)
    return None


def _first(result: Verification) -> str:
    return result.problems[0].text
