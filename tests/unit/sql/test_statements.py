"""What each kind of statement is said to do."""

from __future__ import annotations

import pytest

from gateway.errors import ClientError, NotGranted, NotUnderstood, StatementSyntax
from gateway.sql.analyze import analyze
from gateway.sql.catalog import Catalog
from gateway.sql.facts import StatementFacts
from tests.unit.sql.conftest import Analyse

# text, then the effects as "id[:object][(columns)]"
EFFECTS: list[tuple[str, set[str]]] = [
    ("select id, email from customers where name = 'x'", {"rows.read:customers(email,id,name)"}),
    ("select 1", set()),
    ("values (1), (2)", set()),
    ("table app.t", {"rows.read:t(a,b,c)"}),
    ("select count(*) from orders", {"rows.read:orders()"}),
    ("select 1 from customers for update", {"rows.read:customers()", "rows.lock:customers"}),
    (
        "select 1 from customers c join orders o on true for share of o",
        {"rows.read:customers()", "rows.read:orders()", "rows.lock:orders"},
    ),
    ("insert into app.t values (1)", {"rows.insert:t(a)"}),
    ("insert into app.t default values", {"rows.insert:t(a,b,c)"}),
    (
        "insert into app.t (a, b) select a, d from app.u returning c",
        {"rows.insert:t(a,b)", "rows.read:u(a,d)", "rows.read:t(c)"},
    ),
    (
        "insert into app.t (a) values (1) on conflict (a) do update set b = 'x' where t.c = 1",
        {"rows.insert:t(a)", "rows.update:t(b)", "rows.read:t(a,c)"},
    ),
    ("update app.t set b = 'x' where a = 1", {"rows.update:t(b)", "rows.read:t(a)"}),
    (
        "update app.t set (a, b) = (select a, d from app.u limit 1)",
        {"rows.update:t(a,b)", "rows.read:u(a,d)"},
    ),
    ("delete from app.t", {"rows.delete:t"}),
    (
        "delete from app.t using app.u where u.a = t.a returning d",
        {"rows.delete:t", "rows.read:t(a)", "rows.read:u(a,d)"},
    ),
    (
        "merge into app.t using app.u on t.a = u.a when matched then delete "
        "when not matched then insert (b) values (d)",
        {"rows.merge:t", "rows.delete:t", "rows.insert:t(b)", "rows.read:t(a)", "rows.read:u(a,d)"},
    ),
    (
        "with d as (delete from app.u returning a) select * from d",
        {"rows.delete:u", "rows.read:u(a)"},
    ),
    ("copy app.t to stdout", {"copy.out", "rows.read:t(a,b,c)"}),
    ("copy app.t (a) from stdin", {"copy.in", "rows.insert:t(a)"}),
    ("copy app.t to '/tmp/x'", {"egress.file", "rows.read:t(a,b,c)"}),
    ("copy app.t from '/tmp/x'", {"server.file.read", "rows.insert:t(a,b,c)"}),
    ("copy app.t to program 'x'", {"egress.program", "rows.read:t(a,b,c)"}),
    ("begin", {"txn.begin"}),
    ("start transaction isolation level serializable, read only", {"txn.begin"}),
    ("begin read write", {"txn.begin", "txn.read_write=transaction_read_only"}),
    ("set transaction read write", {
        "session.safe_set=transaction", "txn.read_write=transaction_read_only"}),
    ("commit", {"txn.commit"}),
    ("rollback", {"txn.rollback"}),
    ("savepoint a", {"txn.savepoint"}),
    ("rollback to a", {"txn.savepoint"}),
    ("release a", {"txn.savepoint"}),
    ("prepare transaction 'x'", {"txn.prepare"}),
    ("set application_name = 'x'", {"session.safe_set=application_name"}),
    ("set datestyle to 'ISO, MDY'", {"session.safe_set=datestyle"}),
    ("set datestyle to german", {"session.set=datestyle"}),
    ("set client_encoding to 'utf-8'", {"session.safe_set=client_encoding"}),
    ("set names 'latin1'", {"session.set=client_encoding"}),
    ("set standard_conforming_strings = off", {"session.set=standard_conforming_strings"}),
    ("set search_path = app", {"session.set=search_path"}),
    ("set local statement_timeout = 0", {"session.set=statement_timeout"}),
    ("set default_transaction_read_only = off", {
        "txn.read_write=default_transaction_read_only"}),
    ("reset default_transaction_read_only", {"txn.read_write=default_transaction_read_only"}),
    ("set role postgres", {"session.role=role"}),
    ("reset role", {"session.role=role"}),
    ("set session authorization default", {"session.role=session_authorization"}),
    ("reset all", {"session.reset=all"}),
    ("discard all", {"session.reset=discard_all"}),
    ("show server_version", {"session.show=server_version"}),
    ("show transaction isolation level", {"session.show=transaction_isolation"}),
    ("show ssl_key_file", {"catalog.sensitive=ssl_key_file"}),
    ("show postern.whoami", {"session.show=postern.whoami"}),
    ("listen x", {"session.listen=x"}),
    ("notify x, 'y'", {"session.notify=x"}),
    ("unlisten *", {"session.unlisten=*"}),
    ("deallocate all", {"session.reset=prepared"}),
    ("declare c cursor for select a from app.t", {"session.cursor=c", "rows.read:t(a)"}),
    ("fetch 5 from c", {"session.cursor=c"}),
    ("close all", {"session.cursor=*"}),
    ("explain select a from app.t", {"explain.plain", "rows.read:t(a)"}),
    ("explain (analyze off) delete from app.t", {"explain.plain", "rows.delete:t"}),
    ("explain analyze delete from app.t", {"explain.analyze", "rows.delete:t"}),
    ("truncate app.t, app.u", {"table.truncate:t", "table.truncate:u"}),
    ("truncate app.t cascade", {"table.truncate:t", "table.truncate_cascade"}),
    ("lock table app.t", {"table.lock:t"}),
    ("create table app.n (id serial primary key, b text default upper('x'))", {
        "schema.create.table:n"}),
    ("create table app.n (d int default pg_sleep(1))", {
        "schema.create.table:n", "function.call_volatile=pg_catalog.pg_sleep"}),
    ("create table app.n as select a from app.t", {"schema.create.table:n", "rows.read:t(a)"}),
    ("select a into app.n from app.t", {"schema.create.table:n", "rows.read:t(a)"}),
    ("create view app.n as select a from app.t", {"schema.create.view:n", "rows.read:t(a)"}),
    ("create index on app.t (a)", {"schema.create.index:t"}),
    ("alter table app.t add column z text", {"schema.alter.table:t"}),
    ("alter table app.t owner to x", {"schema.alter.table:t", "role.owner:t"}),
    ("alter table app.parent disable row level security", {
        "schema.alter.table:parent", "schema.alter.row_security:parent"}),
    ("alter table app.child no inherit app.parent", {
        "schema.alter.table:child", "schema.alter.detach:child", "schema.alter.table:parent"}),
    ("alter table app.t rename a to z", {"schema.alter.table:t"}),
    ("alter table app.t set schema sales", {"schema.alter.table:t", "schema.create.table:t"}),
    ("drop table app.t", {"schema.drop.table:t"}),
    ("drop table if exists app.nope", {"schema.drop.table:nope"}),
    ("drop view v_two cascade", {"schema.drop.view:v_two", "schema.drop.cascade"}),
    ("drop schema app", {"schema.drop.schema=app"}),
    ("refresh materialized view m_tot", {"schema.refresh.matview:m_tot"}),
    ("analyze app.t", {"table.analyze:t"}),
    ("vacuum", {"database.vacuum"}),
    ("comment on column app.t.a is 'x'", {"table.comment:t"}),
    ("do 'begin end'", {"code.do"}),
    ("create function x() returns int language sql as 'select 1'", {"schema.create.function"}),
    ("create role x", {"role.create"}),
    ("grant select on app.t to public", {"role.grant"}),
    ("drop database x", {"database.drop"}),
    ("create extension x", {"extension.create"}),
    ("alter system set x = 1", {"server.config"}),
    ("create subscription s connection 'x' publication p", {"egress.subscription"}),
    ("delete from app.desk", {"rows.delete:desk"}),
    ("delete from app.team", {"rows.delete:team", "rows.delete:desk"}),
    ("delete from app.boss", {
        "rows.delete:boss", "rows.delete:team", "rows.delete:desk", "rows.update:desk(boss)"}),
    ("update app.boss set id = 1", {"rows.update:boss(id)", "rows.update:team(boss)"}),
    ("merge into app.team t using app.u on true when matched then delete", {
        "rows.merge:team", "rows.delete:team", "rows.delete:desk", "rows.read:u()"}),
    ("select nextval('sq')", {"sequence.next:sq"}),
    ("select nextval('sales.sq'::regclass)", {"sequence.next:sq"}),
    ("select nextval('orders_id_seq')", {"sequence.next:orders"}),
    ("select setval('orders_id_seq', 1)", {"sequence.set:orders"}),
    ("select currval('sales.orders_id_seq')", {"rows.read:orders()"}),
    ("select setval($1, 1)", {"function.call_volatile=pg_catalog.setval"}),
    ("select pg_sleep(1)", {"function.call_volatile=pg_catalog.pg_sleep"}),
    ("select pg_read_file('x')", {"server.file.read=pg_catalog.pg_read_file"}),
    ("select lo_import('x')", {"egress.lo=pg_catalog.lo_import"}),
    ("select pg_terminate_backend(1)", {"server.signal=pg_catalog.pg_terminate_backend"}),
    ("select query_to_xml('select 1', true, true, '')", {
        "function.call_unknown=pg_catalog.query_to_xml"}),
    ("select set_config('search_path', 'x', false)", {"session.set=search_path"}),
    ("select set_config('jit', $1, false)", {"session.safe_set=jit"}),
    ("select current_setting('search_path')", {"session.show=search_path"}),
    ("select pg_advisory_unlock_all()", {"session.reset=advisory_locks"}),
    ("select pg_try_advisory_xact_lock(1)", {
        "session.advisory_lock=pg_catalog.pg_try_advisory_xact_lock"}),
    ("select f_leak(1)", {"function.call_volatile=sales.f_leak"}),
    ("select app.plus('a', 'b')", {"function.call=app.plus"}),
    ("select 'a' operator(app.|+|) 'b'", {"function.call=app.plus"}),
    ("select 'a' |+| 'b'", {"function.call=app.plus"}),
    ("select lower(name) from customers", {"rows.read:customers(name)"}),
    ("select lower('x')", {"function.call_volatile=app.lower"}),
    ("select lower(home) from customers", {
        "rows.read:customers(home)", "function.call_volatile=app.lower"}),
    ("select no_such_function(1)", {"function.call_unknown=no_such_function"}),
    ("select relname from pg_class", {"catalog.read:pg_class"}),
    ("select * from pg_stats", {"catalog.sensitive:pg_stats"}),
    ("select * from pg_authid", {"catalog.sensitive:pg_authid"}),
    ("select query from pg_stat_activity", {"catalog.sensitive:pg_stat_activity"}),
    ("select table_name from information_schema.tables", {"catalog.read:tables"}),
]  # fmt: skip


def effect_texts(found: StatementFacts) -> set[str]:
    texts = set()
    for effect in found.effects:
        text = effect.id
        if effect.relation is not None:
            text += f":{effect.relation.name}"
        if effect.name:
            text += f"={effect.name}"
        if effect.columns or effect.id == "rows.read":
            text += f"({','.join(sorted(effect.columns))})"
        texts.add(text)
    return texts


@pytest.mark.parametrize(("sql", "expected"), EFFECTS, ids=[sql for sql, _ in EFFECTS])
def test_effects(facts: Analyse, sql: str, expected: set[str]) -> None:
    assert effect_texts(facts(sql)) == expected


PINS = [
    ("set application_name = 'x'", ""),
    ("set work_mem = '1GB'", "settings"),
    ("set time zone interval '+01:00' hour to minute", "settings"),
    ("set local application_name = 'x'", ""),
    ("set transaction isolation level serializable", ""),
    ("set session characteristics as transaction read only", "settings"),
    ("declare c cursor with hold for select 1", "cursor"),
    ("declare c cursor for select 1", ""),
    ("select pg_advisory_lock(1)", "advisory_lock"),
    ("select pg_advisory_xact_lock(1)", ""),
    ("listen x", "listen"),
    ("select set_config('jit', 'off', false)", "settings"),
    ("select set_config('jit', 'off', true)", ""),
    ("reset all", ""),
]


@pytest.mark.parametrize(("sql", "pin"), PINS)
def test_what_stays_in_the_session_pins(facts: Analyse, sql: str, pin: str) -> None:
    assert facts(sql).pin == pin


NO_WHERE = [
    ("delete from app.t", True),
    ("delete from app.t where true", True),
    ("delete from app.t where 1 = 1", True),
    ("delete from app.t where a = a", True),
    ("delete from app.t where a = 1 or 1 = 1", True),
    ("delete from app.t where a is not null", True),
    ("delete from app.t where a = 1", False),
    ("delete from app.t where a = $1 and b like 'x%'", False),
    ("update app.t set a = 1", True),
    ("update app.t set a = 1 where b in ('x')", False),
    ("with d as (delete from app.t returning a) select a from d", True),
    ("merge into app.t using app.u on true when matched then delete", True),
]


@pytest.mark.parametrize(("sql", "no_where"), NO_WHERE)
def test_conditions_that_restrict_nothing(facts: Analyse, sql: str, no_where: bool) -> None:
    assert facts(sql).no_where is no_where


CACHE = [
    ("select id from customers where id = 5", "fingerprint"),
    ("select id from customers where id = $1", "fingerprint"),
    ("update app.t set b = 'x' where a = 5", "fingerprint"),
    ("insert into app.t values (1, 'x', 2)", "fingerprint"),
    ("update app.t set b = 'x' where a > 5", "text"),
    ("insert into app.audited values (1, 'x')", "text"),
    ("select id from customers order by 1", "text"),
    ("select name, count(*) from customers group by 1", "text"),
    ("select id from customers limit 5", "text"),
    ("select id from customers limit $1", "fingerprint"),
    ("select repeat('x', 5)", "text"),
    ("select generate_series(1, 5)", "text"),
    ("select 'customers'::regclass", "text"),
    ("select to_jsonb(c) from customers c", "text"),
    ("select nextval('sq')", "text"),
    ("select relname from pg_class where relname = 'x'", "text"),
    ("set application_name = 'x'", "text"),
    ("explain select 1", "text"),
    ("begin", "text"),
]


@pytest.mark.parametrize(("sql", "cache"), CACHE)
def test_where_a_constant_decides_the_text_is_the_key(facts: Analyse, sql: str, cache: str) -> None:
    assert facts(sql).cache == cache


def test_several_statements_are_keyed_by_text(catalog: Catalog) -> None:
    found = analyze(b"select 1; select 2", catalog, search_path=("sales",))
    assert [f.cache for f in found] == ["text", "text"]


def test_transaction_kinds_and_others(facts: Analyse) -> None:
    assert facts("start transaction").txn == "begin"
    assert facts("end").txn == "commit"
    assert facts("abort").txn == "rollback"
    assert facts("rollback to savepoint a").txn == "rollback_to"
    assert facts("deallocate x").deallocate == "x"
    assert facts("deallocate all").deallocate == "*"
    assert facts("discard all").deallocate == "*"
    assert facts("discard all").resets_settings
    assert facts("reset all").resets_settings
    assert facts("show postern.grants").shows == "postern.grants"
    assert facts("set postern.reason = 'why'").sets == ("postern.reason", "why")
    assert facts("copy app.t from stdin").copy == "in"
    assert facts("copy app.t to stdout").copy == "out"
    assert facts("copy app.t to '/x'").copy == ""
    assert facts("alter table app.t add z int").ddl
    assert not facts("delete from app.t").ddl


REFUSED: list[tuple[str, type[ClientError]]] = [
    ("create temp table n (id int)", NotUnderstood),
    ("create table pg_temp.n (id int)", NotUnderstood),
    ("select 1 as x into temp n", NotUnderstood),
    ("create temp table n as select 1", NotUnderstood),
    ("create temp view n as select 1 as a", NotUnderstood),
    ("create temp sequence n", NotUnderstood),
    ("select email from nope", NotGranted),
    ("select email from nope.customers", NotGranted),
    ("select nope from customers", NotUnderstood),
    ("select x.id from customers", NotUnderstood),
    ("select id from customers, orders", NotUnderstood),
    ("select id from customers c, customers c", NotUnderstood),
    ("select c.lower from customers c", NotUnderstood),
    ("prepare x as select 1", NotUnderstood),
    ("execute x", NotUnderstood),
    ("explain execute x", NotUnderstood),
    ("copy app.t to stdout (encoding 'latin1')", NotUnderstood),
    ("insert into app.ruled values (1)", NotUnderstood),
    ("select 1::nope", NotUnderstood),
    ("select json_object('a': 1)", NotUnderstood),
    ("select system_user", NotUnderstood),
    ("select * from other.sales.customers", NotUnderstood),
    ("select 1 from customers tablesample nope (1)", NotUnderstood),
    ("create table app.n (id int) using nope", NotUnderstood),
    ("selec 1", StatementSyntax),
]


@pytest.mark.parametrize(("sql", "error"), REFUSED)
def test_what_is_not_known_is_refused(facts: Analyse, sql: str, error: type[ClientError]) -> None:
    with pytest.raises(error):
        facts(sql)


FOLLOWED = [
    ("set application_name = 'x'", ("application_name", "x")),
    ("set session time zone 'UTC'", ("timezone", "UTC")),
    ("set datestyle to iso, mdy", ("datestyle", "iso, mdy")),
    ("set timezone to default", ("timezone", None)),
    ("reset timezone", ("timezone", None)),
    ("reset all", ("", None)),
    ("set local application_name = 'x'", None),
    ("set work_mem = '1GB'", None),
    ("set time zone interval '+01:00' hour to minute", None),
    ("set transaction isolation level serializable", None),
]


@pytest.mark.parametrize(("sql", "setting"), FOLLOWED)
def test_settings_that_are_followed(
    facts: Analyse, sql: str, setting: tuple[str, str | None] | None
) -> None:
    assert facts(sql).setting == setting
