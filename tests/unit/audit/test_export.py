"""Export formats and the search language, as their readers need them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from gateway.audit.export import formatter, read_events
from gateway.audit.search import TIME_MAX, Event, Query
from gateway.audit.words import parse_when, parse_words
from gateway.audit.writer import AuditWriter
from gateway.cli.audit import command
from tests.support.trail import drain, intent, open_ring, result

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
# What class 6005 demands in OCSF 1.3 (events/application/datastore_activity.json and its bases).
REQUIRED = {
    "activity_id": int, "actor": dict, "category_uid": int, "class_uid": int, "metadata": dict,
    "severity_id": int, "src_endpoint": dict, "time": int, "type_uid": int,
}  # fmt: skip
OPENED = {"kind": "session.opened", "session": "w0-1", "client": "[::1]:4000", "subject": "a"}
REFUSED = {
    "v": 1, "kind": "statement.refused", "time": 1_764_000_000_000_000, "session": "w0-1",
    "stmt": 9, "subject": "agent-7", "target": "orders", "sql": "DROP TABLE a|b = c\nd\\e",
    "decision": "deny", "effects": ["schema.drop.table"], "error": {"id": "PN301"},
}  # fmt: skip


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    writer = AuditWriter(tmp_path)
    writer.open()
    ring = open_ring(tmp_path)
    for record in (
        orjson.dumps({"v": 1, "time": 1_764_000_000_000_000, **OPENED}),
        intent(1),
        intent(2, effects=["rows.read", "rows.delete"], subject="agent-8"),
        result(2, rows=3),
        orjson.dumps(REFUSED),
        result(1),
        intent(3),
    ):
        assert ring.append(record)
    drain(writer)
    writer.close()
    return tmp_path


def statements(trail: Path, query: Query) -> list[Event]:
    return [e for e in read_events(trail, query) if e.record.get("session")]


def test_statements_come_with_their_results_in_order_of_their_end(trail: Path) -> None:
    events = statements(trail, Query())
    assert [e.record.get("stmt") for e in events] == [None, 2, 9, 1, 3]
    assert [e.result is not None for e in events] == [False, True, False, True, False]
    assert [e.record["stmt"] for e in statements(trail, Query(filters={"subject": "agent-8"}))] == [
        2
    ]


def test_ocsf_has_all_that_its_class_demands(trail: Path) -> None:
    line_of = formatter("ocsf")
    lines = [line for event in read_events(trail, Query()) if (line := line_of(event))]
    mapped = [orjson.loads(line) for line in lines]
    assert [m["activity_id"] for m in mapped] == [3, 7, 4, 1, 1]
    for one in mapped:
        assert {name: type(one.get(name)) for name in REQUIRED} == REQUIRED
        assert (one["class_uid"], one["category_uid"]) == (6005, 6)
        assert one["type_uid"] == 6005 * 100 + one["activity_id"]
        assert one["metadata"]["version"]
        assert one["metadata"]["product"]["vendor_name"]
        assert one["actor"]["user"]["name"]
        assert one["src_endpoint"] == {"ip": "::1", "port": 4000}
        assert one["database"]["name"]  # one of database, databucket, table is demanded
        assert one["database"]["type_id"] == 1
    assert mapped[2]["query_info"]["query_string"] == REFUSED["sql"]
    assert [m["status_id"] for m in mapped] == [1, 1, 2, 1, 1]


def test_cef_escapes_what_its_grammar_uses(trail: Path) -> None:
    """Goal: a statement cannot forge a field or a line. Method: SQL with all special characters."""
    line_of = formatter("cef")
    (line,) = [
        line_of(e) for e in read_events(trail, Query()) if e.record["kind"] == "statement.refused"
    ]
    assert "\n" not in line
    assert line.startswith("CEF:0|Postern|Postern|1|statement.refused|statement.refused|6|")
    assert r"msg=DROP TABLE a|b \= c\nd\\e" in line
    assert "reason=PN301" in line
    assert "suser=agent-7" in line


def test_words_are_a_query() -> None:
    query = parse_words(["who:agent-*", "object:sales.*", "decision:deny", "refund", "now"], NOW)
    assert query.filters == {"subject": "agent-*", "object": "sales.*", "decision": "deny"}
    assert query.text == "refund now"
    assert parse_words(["what:a:b", "1:2"], NOW).text == "a:b 1:2"
    with pytest.raises(ValueError, match="who, what, when"):
        parse_words(["whom:x"], NOW)
    with pytest.raises(ValueError, match="twice"):
        parse_words(["who:a", "who:b"], NOW)


def test_time_is_told_in_words() -> None:
    day = timedelta(days=1)
    today = NOW.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)

    def us(moment: datetime) -> int:
        return int(moment.timestamp() * 1e6)

    assert parse_when("2h", NOW) == (us(NOW - timedelta(hours=2)), TIME_MAX)
    assert parse_when("last 2h", NOW) == parse_when("2h ago", NOW) == parse_when("2h", NOW)
    assert parse_when("today", NOW) == (us(today), TIME_MAX)
    assert parse_when("yesterday", NOW) == (us(today - day), us(today) - 1)
    assert parse_when("this month", NOW)[0] == us(today.replace(day=1))
    low, high = parse_when("last month", NOW)
    assert (low, high + 1) == (us(datetime(2025, 12, 1).astimezone()), us(today.replace(day=1)))
    low, high = parse_when("last week", NOW)
    assert high + 1 - low == 7 * 86_400_000_000
    low, high = parse_when("2026-01-05..2026-01-06", NOW)
    assert high + 1 - low == 2 * 86_400_000_000
    with pytest.raises(ValueError, match="is not a time"):
        parse_when("soon", NOW)


def test_the_commands_take_words(trail: Path) -> None:
    def run(*arguments: str) -> tuple[int, list[str]]:
        outcome = CliRunner().invoke(command, [*arguments, "--data-dir", str(trail)])
        return outcome.exit_code, outcome.stdout.splitlines()

    code, lines = run("search", "--json", "who:agent-8")
    assert (code, [orjson.loads(line)["stmt"] for line in lines]) == (0, [2])
    assert run("search", "who:nobody")[0] == 1
    assert run("search", "whom:x")[0] == 2
    code, lines = run("export", "--format", "cef", "decision:deny")
    assert (code, len(lines)) == (0, 1)
    out = trail / "out.ndjson"
    assert run("export", "-o", str(out), "kind:statement.*")[0] == 0
    assert [orjson.loads(line)["stmt"] for line in out.read_text().splitlines()] == [2, 9, 1, 3]
