"""Search: the right events, newest first, joined, with the index and without it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from gateway.audit.index import index_path
from gateway.audit.search import AuditFollower, AuditSearch, Event, Query
from gateway.audit.view import detail, parse_time, show_time, state, what, who
from gateway.audit.writer import AuditWriter, WriterSettings
from gateway.cli.audit import command
from tests.support.trail import drain, intent, make_trail, open_ring, result


@pytest.fixture(scope="module", params=["indexed", "open blocks", "no index"])
def trail(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 statements of ten agents in many blocks; results come 25 statements late."""
    data_dir = tmp_path_factory.mktemp("search")
    writer = AuditWriter(data_dir, WriterSettings(segment_bytes_max=30_000))
    writer.open()
    ring = open_ring(data_dir)
    for number in range(325):
        if number < 300:
            ring.append(
                intent(
                    number,
                    session=f"w0-{number % 10}",
                    subject=f"agent-{number % 10}",
                    objects=["sales.refunds" if number % 50 == 0 else "sales.orders"],
                )
            )
        late = number - 25
        if late >= 0:
            failed = late % 100 == 0
            ring.append(
                result(
                    late,
                    session=f"w0-{late % 10}",
                    outcome="error" if failed else "ok",
                    sqlstate="23505" if failed else "",
                )
            )
        if number == 150:
            ring.append(
                orjson.dumps(
                    {
                        "v": 1,
                        "kind": "statement.refused",
                        "time": 1_764_000_000_000_150,
                        "principal": "https://idp|mallory",
                        "session": "w0-x",
                        "stmt": 1,
                        "sql": "DROP TABLE sales.orders",
                        "error": {"id": "PN301"},
                        "decision": "deny",
                    }
                )
            )
        if number % 20 == 0:
            drain(writer)
            if request.param == "indexed":
                writer._index.close_block()
    drain(writer)
    writer.close()
    if request.param == "no index":
        index_path(data_dir).unlink()
    return data_dir


def find(data_dir: Path, limit: int = 1_000, **conditions: Any) -> list[Event]:
    names = {"text", "since_us", "until_us", "before"} & conditions.keys()
    special = {name: conditions.pop(name) for name in names}
    return list(AuditSearch(data_dir).find(Query(filters=conditions, limit=limit, **special)))


def test_every_statement_is_one_event_newest_first(trail: Path) -> None:
    events = find(trail, kind="statement.*")
    assert len(events) == 301
    assert all(e.result is not None for e in events if e.record["kind"] == "statement.intent")
    stmts = [e.record["stmt"] for e in find(trail) if e.record["kind"] == "statement.intent"]
    assert stmts == sorted(stmts, reverse=True)


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        ({"subject": "agent-3"}, 30),
        ({"subject": "agent-*"}, 300),
        ({"subject": "mallory"}, 1),
        ({"object": "sales.refunds"}, 6),
        ({"object": "*.refunds", "subject": "agent-0"}, 6),
        ({"sqlstate": "23505"}, 3),
        ({"sqlstate": "23505", "object": "sales.refunds"}, 3),
        ({"sqlstate": "23505", "subject": "agent-1"}, 0),
        ({"session": "w0-4", "outcome": "ok"}, 30),
        ({"decision": "deny"}, 1),
        ({"rule": "read-sales"}, 300),
        ({"effect": "rows.*"}, 300),
        ({"target": "nowhere"}, 0),
        ({"text": "drop table"}, 1),
        ({"text": "select 123"}, 1),
        ({"since_us": 1_764_000_000_000_290}, 10),
        ({"until_us": 1_764_000_000_000_009}, 10),
        ({"subject": "agent-3", "until_us": 1_764_000_000_000_050}, 5),
    ],
)
def test_conditions_hold_at_once(trail: Path, conditions: dict[str, Any], count: int) -> None:
    events = [e for e in find(trail, **conditions) if e.record["kind"].startswith("statement.")]
    assert len(events) == count
    assert len({e.sequence for e in events}) == count


def test_pages_follow_each_other_without_gap_or_overlap(trail: Path) -> None:
    seen: list[int] = []
    before = 1 << 62
    while page := find(trail, limit=7, subject="agent-3", before=before):
        seen += [event.sequence for event in page]
        before = min(seen)
    assert len(seen) == len(set(seen)) == 30


def test_the_index_is_rebuilt_from_the_segments(tmp_path: Path) -> None:
    make_trail(tmp_path, records=30)
    for content in (b"", b"garbage" * 1_000):
        index_path(tmp_path).write_bytes(content)
        writer = AuditWriter(tmp_path)
        writer.open()
        writer.close()
        assert AuditSearch(tmp_path)._index is not None
        assert len(find(tmp_path, kind="statement.intent")) == 15


def test_a_follower_joins_and_does_not_wait_for_ever(tmp_path: Path) -> None:
    writer = AuditWriter(tmp_path, WriterSettings(segment_bytes_max=2_000))
    writer.open()
    ring = open_ring(tmp_path)
    ring.append(intent(0))
    drain(writer)
    follower = AuditFollower(tmp_path)
    for number in range(1, 12):
        ring.append(intent(number))
        if number != 5:
            ring.append(result(number))
        drain(writer)
    events = follower.poll(100.0)
    assert [e.record["stmt"] for e in events] == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    late = follower.poll(101.5)
    assert [(e.record["stmt"], state(e)) for e in late] == [(5, "running")]
    assert follower.poll(200.0) == []
    writer.close()


def test_people_read_who_what_and_outcome() -> None:
    event = Event(
        7,
        {
            "kind": "statement.intent",
            "principal": "https://idp|ann",
            "sql": "SELECT\n 1",
            "rules": ["r"],
        },
        {
            "kind": "statement.result",
            "outcome": "error",
            "sqlstate": "23505",
            "rows": 0,
            "duration_us": 1_500,
        },
    )
    assert who(event.record) == "ann"
    assert what(event) == "SELECT 1"
    assert state(event) == "error 23505"
    assert detail(event) == "r · 0 rows · 1.5 ms"
    assert event.merged()["kind"] == "statement.intent"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15m", "2026-01-31T11:45:00.000Z"),
        ("2h ago", "2026-01-31T10:00:00.000Z"),
        ("3d", "2026-01-28T12:00:00.000Z"),
        ("2026-01-30T08:00Z", "2026-01-30T08:00:00.000Z"),
        ("2026-01-30T08:00+02:00", "2026-01-30T06:00:00.000Z"),
    ],
)
def test_times_read_as_people_write_them(text: str, expected: str) -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert show_time(parse_time(text, now), is_local=False) == expected.replace("T", " ")


def test_a_time_that_is_none_says_what_would_be() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        parse_time("whenever", datetime.now(UTC))


def run(*arguments: str) -> tuple[int, str]:
    outcome = CliRunner().invoke(command, list(arguments))
    return outcome.exit_code, outcome.stdout


def test_commands_print_tables_and_json_and_exit_by_the_answer(tmp_path: Path) -> None:
    make_trail(tmp_path, records=20)
    place = ("--data-dir", str(tmp_path))
    code, text = run("verify", *place)
    assert (code, text.startswith("clean")) == (0, True)
    code, text = run("verify", "--json", *place)
    assert (code, orjson.loads(text)["clean"]) == (0, True)
    code, text = run("search", *place, "--subject", "agent-7", "--json", "-n", "3")
    assert (code, len([orjson.loads(line) for line in text.splitlines()])) == (0, 3)
    assert run("search", *place, "--subject", "nobody")[0] == 1
    assert run("search", *place, "--since", "whenever")[0] == 2
    code, text = run("tail", *place, "-n", "4")
    assert (code, "agent-7" in text) == (0, True)
    segment = min((tmp_path / "audit" / "segments").glob("*.seg"))
    segment.write_bytes(segment.read_bytes().replace(b"agent-7", b"agent-8", 1))
    code, text = run("verify", *place)
    assert code == 1
    assert "edited" in text
    assert segment.name in text
    assert "NOT CLEAN" in text
    assert run("verify", "--data-dir", str(tmp_path / "audit"))[0] == 2
