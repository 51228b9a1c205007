"""What a reviewer is told of a held statement, by a real database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import GatewayProcess, wait_until
from tests.support.sample import POLICY
from tests.support.stands import EMBEDDED, Stand, Stands, own_directory
from tests.support.wireclient import SYNC, WireClient, bind, errors, execute, parse, query

SCHEMA = """
create table sales.parents (id int primary key, secret text);
create table sales.children (id int primary key,
    parent int references sales.parents on delete cascade);
create sequence sales.touched;
create function sales.note() returns trigger language plpgsql as
    $$ begin perform nextval('sales.touched'); return old; end $$;
insert into sales.parents select i, 'x' from generate_series(1, 40) i;
insert into sales.children select i, i from generate_series(1, 40) i;
create trigger note_delete before delete on sales.parents for each row execute function sales.note();
create trigger note_insert before insert on sales.parents for each row execute function sales.note();
grant select, insert, update, delete on sales.parents, sales.children to pn_write;
grant usage on sequence sales.touched to pn_write;
analyze sales.parents;
"""
COUNTING = POLICY.replace(
    "approval: {from: [dba], quorum: 1, hold: 10s,",
    "approval: {from: [dba], quorum: 1, hold: 10s, preview: {dry_run_count: true}, max_rows_seen: 2,",
).replace(
    "when: {any: [{no_where: true}]}",
    "when: {any: [{no_where: true}, {no_where: false}]}",
) + (
    "  - {id: secret, columns: [sales.parents.secret], except: [trusted, admins],\n"
    "     with: {kind: redact}, on_derived: deny, on_predicate: deny}\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def counting(stands: Stands) -> Iterator[Stand]:
    """A gateway whose guard counts."""
    cluster = stands.cluster(EMBEDDED)
    with own_directory() as directory:
        stand = Stand(cluster, GatewayProcess(cluster, Path(directory), policy=COUNTING))
        with stand.server() as server:
            server.execute(SCHEMA)
        with stand.gateway:
            yield stand
        with stand.server() as server:
            server.execute(
                "drop table sales.children, sales.parents; drop function sales.note();"
                " drop sequence sales.touched"
            )


def _api(gateway: GatewayProcess, path: str, subject: str = "dana", group: str = "dba") -> Any:
    answer = httpx.get(
        f"http://127.0.0.1:{gateway.control_port}{path}",
        headers={"authorization": f"Bearer {gateway.mint(subject, [group])}"},
        trust_env=False,
    )
    return answer.json()


def _preview(gateway: GatewayProcess, sql: str) -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        for item in _api(gateway, "/v1/approvals?state=PENDING")["items"]:
            if item["excerpt"] == sql:
                found: dict[str, Any] = _api(gateway, f"/v1/approvals/{item['id']}")
                return found if found["preview"] else None
        return None

    found = wait_until(find, 10, "the preview is there")
    assert found is not None
    return found


def _client(gateway: GatewayProcess) -> WireClient:
    client = WireClient(gateway.port, timeout_s=15)
    client.login(gateway.mint("agent-1", ["agents"]))
    return client


def test_a_reviewer_sees_rows_cascades_triggers_masks_and_plan(counting: Stand) -> None:
    """Goal: all that would happen, and nothing happens. Method: a held DELETE that cascades."""
    sql = "delete from sales.parents where id <= 30"
    with _client(counting.gateway) as client:
        client.send(query(sql))
        found = _preview(counting.gateway, sql)
    preview = found["preview"]
    assert (preview["rows"], preview["counted"], preview["problem"]) == (30, True, "")
    assert preview["cascades"] == [
        "sales.children refers to parents: its rows are deleted with them"
    ]
    assert preview["triggers"] == ["parents: trigger note_delete runs sales.note()"]
    assert preview["masks"] == ["sales.parents.secret (secret)"]
    assert preview["plan"][0]["node"] == "Delete"
    assert found["because"] == ["has a WHERE"]
    with counting.server() as server:
        count = server.execute("select count(*) from sales.parents").fetchone()
        assert count == (40,)
    own = _api(counting.gateway, f"/v1/approvals/{found['id']}", "agent-1", "agents")
    assert (own["id"], own["preview"]) == (found["id"], None)


def test_bound_values_are_in_the_plan(counting: Stand) -> None:
    """Goal: what is counted is what would run. Method: a text value for an int parameter."""
    sql = "delete from sales.parents where id <= $1"
    with _client(counting.gateway) as client:
        client.send(parse(sql) + bind(("7",)) + execute() + b"S\0\0\0\4")
        assert _preview(counting.gateway, sql)["preview"]["rows"] == 7


def test_a_locked_table_delays_nobody(counting: Stand) -> None:
    """Goal: previews never queue for locks. Method: hold a lock, ask, look at the clock."""
    sql = "delete from sales.parents where id <= 3"
    with counting.server() as locking, locking.transaction():
        locking.execute("lock table sales.parents in exclusive mode")
        with _client(counting.gateway) as client:
            client.send(query(sql))
            preview = _preview(counting.gateway, sql)["preview"]
    assert preview["counted"] is False
    assert "locked by somebody else" in preview["problem"]
    assert preview["rows"] is None


def test_a_preview_cannot_write_and_is_no_second_statement(counting: Stand) -> None:
    """Goal: only EXPLAIN reaches the server without `dry_run_count`. Method: its log."""
    gateway, sql = counting.gateway, "update sales.scratch set word = 'y'"
    with _client(gateway) as client:
        client.send(query(sql))
        _preview(gateway, sql)
    log = counting.settled_log()
    assert "BEGIN READ ONLY" in log
    assert f"EXPLAIN (FORMAT JSON) {sql}" in log


@pytest.mark.parametrize("path", ["simple", "extended"])
def test_a_run_that_grew_is_undone(counting: Stand, path: str) -> None:
    """Goal: approved for 3 rows, twice that at most. Method: rows appear while a person thinks."""
    gateway = counting.gateway
    sql = f"delete from sales.scratch where amount = 7 /* {path} */"
    with counting.server() as server:
        server.execute("delete from sales.scratch")
        fill = "insert into sales.scratch select i, 'x', 7 from generate_series({}, {}) i"
        server.execute(fill.format(1, 3).encode())
        with _client(gateway) as client:
            client.send(query(sql) if path == "simple" else parse(sql) + bind() + execute() + SYNC)
            found = _preview(gateway, sql)
            assert found["preview"]["rows"] == 3
            server.execute(fill.format(4, 7).encode())
            _approve(gateway, found["id"])
            (error,) = errors(client.until_ready())
            assert error["M"].startswith("PN501 the statement changes more than 6 rows")
            assert server.execute("select count(*) from sales.scratch").fetchone() == (7,)
            # The bound was for that run alone; another is asked for, seen and runs.
            client.send(query(f"{sql} -- again"))
            again = _preview(gateway, f"{sql} -- again")
            assert again["preview"]["rows"] == 7
            _approve(gateway, again["id"])
            assert ("C", b"DELETE 7\0") in client.until_ready()
            client.send(query("insert into sales.scratch select i from generate_series(1, 50) i"))
            assert errors(client.until_ready()) == []
        server.execute("delete from sales.scratch")


def _approve(gateway: GatewayProcess, approval_id: str) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{gateway.control_port}/v1/approvals/{approval_id}/approve",
        headers={"authorization": f"Bearer {gateway.mint('dana', ['dba'])}"},
        json={}, trust_env=False,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
