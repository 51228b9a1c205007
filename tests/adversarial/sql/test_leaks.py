"""Ways to get at customers.email, salaries, or the server, tried as the hostile agent would.

Each must end as a refusal, as an effect outside the read level, or as a use or derived output of
the masked column: any of these makes the policy refuse. Plain `direct` is masked on the wire.
"""

from __future__ import annotations

import pytest

from gateway.errors import ClientError
from gateway.sql.analyze import analyze
from gateway.sql.catalog import Catalog
from gateway.sql.facts import EFFECT_LEVELS, ColumnRef, StatementFacts
from tests.unit.sql.conftest import catalog  # noqa: F401

LEAKS = r"""
select upper(email) from customers
select email || '' from customers
select email::text from customers
select cast(email as varchar) from customers
select cast(email as int) from customers
select email collate "C" from customers
select coalesce(email, '') from customers
select nullif(email, '') from customers
select greatest(email, '') from customers
select case when true then email end from customers
select case email when 'a' then 1 end from customers
select array[email] from customers
select (array[email])[1] from customers
select row(email) from customers
select row(customers.*) from customers
select customers from customers
select customers.*::text from customers
select (customers).* from customers order by email
select (c).email || '' from customers c
select (c.*).email || '' from customers c
select to_json(c) from customers c
select to_jsonb(customers) - 'id' from customers
select row_to_json(c)->'email' from customers c
select json_agg(c) from customers c
select jsonb_agg(to_jsonb(c)) from customers c
select json_build_object('e', email) from customers
select jsonb_each_text(to_jsonb(c)) from customers c
select json_populate_record(null::customers, row_to_json(c)) from customers c
select key, value from customers c, json_each_text(row_to_json(c))
select format('%s', c) from customers c
select concat(c) from customers c
select concat_ws(',', c.*) from customers c
select quote_literal(email) from customers
select md5(email) from customers
select length(email) from customers
select ascii(email) from customers
select pg_column_size(email) from customers
select pg_typeof(email) from customers
select hashtext(email) from customers
select pg_input_is_valid(email, 'int') from customers
select * from customers c, pg_input_error_info(c.email, 'int')
select string_agg(email, ',') from customers
select array_agg(email) from customers
select max(email) from customers
select min(email) from customers
select count(email) from customers
select count(distinct email) from customers
select mode() within group (order by email) from customers
select percentile_disc(0.5) within group (order by email) from customers
select xmlagg(xmlelement(name e, email)) from customers
select xmlforest(email) from customers
select lag(email) over () from customers
select first_value(email) over (order by id) from customers
select nth_value(email, 2) over () from customers
select rank() over (order by email) from customers
select row_number() over w from customers window w as (order by email)
select sum(id) over (partition by email) from customers
select id from customers where email = 'a'
select id from customers where email like 'a%'
select id from customers where email > 'm'
select id from customers where email is null
select id from customers where email is not distinct from 'a'
select id from customers where 'a' = any (array[email])
select id from customers where email in ('a', 'b')
select id from customers where (id, email) = (1, 'a')
select id from customers where (id, email) in (select 1, 'a')
select id from customers where row(customers.*) is not null
select id from customers c where c = row(1, 'a', 'b', 'c', null, null, null)::customers
select id from customers where exists (select 1 where email = 'a')
select id from customers where (select email like 'a%')
select id from customers where case when email like 'a%' then true else 1/0 = 1 end
select id from customers where email ~ '^a'
select id from customers where email similar to 'a%'
select id from customers where email between 'a' and 'b'
select id from customers where tags && array[email]
select id from customers where id = length(email)
select 1/(case when email like 'a%' then 0 else 1 end) from customers
select id from customers order by email
select id, email from customers order by 2
select id, email e from customers order by e
select id from customers order by length(email)
select id from customers order by (select email)
select id from customers order by email using <
select count(*) from customers group by email
select count(*) from customers group by left(email, 1)
select email, count(*) from customers group by 1
select count(*) from customers group by grouping sets ((email), ())
select count(*) from customers group by rollup (email)
select 1 from customers having max(email) > 'a'
select distinct email from customers
select distinct on (email) id from customers
select id from customers limit (select length(email) from customers limit 1)
select id from customers offset (select length(email) from customers limit 1)
select email from customers union select 'a'
select email from customers union all select 'a'
select email from customers intersect select 'a'
select email from customers except select 'a'
select 'a' union all select email from customers
(select email from customers) union all (select note from orders) order by 1
select o.id from orders o join customers c on c.email = o.note
select 1 from customers a join customers b using (email)
select 1 from customers a natural join (select 'a'::text as email) b
select 1 from customers a left join orders o on o.note = a.email
select 1 from customers a full join (select 'a'::text email) b using (email)
select email from customers full join (select 'x'::text as email) b using (email)
select (select email from customers limit 1)
select array(select email from customers)
select 'a' in (select email from customers)
select 'a' = any (select email from customers)
select exists (select 1 from customers where email = 'a')
select * from (select upper(email) u from customers) s
with x as (select upper(email) u from customers) select u from x
with x as (select email from customers) select email || '' from x
with x(a) as (select email from customers) select id from customers, x where a = 'b'
with recursive r(n, e) as (select 1, email from customers union all select n + 1, e from r where n < 3) select e from r
with recursive r(a, b, c) as (select '', '', email from customers union all select b, c, a from r) select a from r
with recursive r as (select id, email from customers union select id, email from r) cycle email set f using p select p from r
select l.x from customers c, lateral (select c.email || '' x) l
select l.x from customers c cross join lateral (values (c.email)) l(x)
select x from customers, unnest(array[email]) x
select x from customers, lateral string_to_table(email, '') x
select x from customers, lateral regexp_split_to_table(email, '') x
select i from customers, generate_series(1, length(email)) i
select generate_series(1, ascii(email)) from customers
select x.* from customers c, lateral (select c.*) x order by x.email
select substr(x, 1, 1) from (select email x from customers) s
select substring(email from 1 for 1) from customers
select overlay(email placing '' from 1 for 0) from customers
select position('a' in email) from customers
select trim(email) from customers
select left(email, 1), right(email, 1) from customers
select split_part(email, '@', 1) from customers
select translate(email, '', '') from customers
select convert_to(email, 'UTF8') from customers
select encode(email::bytea, 'hex') from customers
select to_tsvector('simple', email) from customers
select ts_headline(email, 'a'::tsquery) from customers
select xmlparse(content email) from customers
select xmlserialize(content xmlelement(name a, email) as text) from customers
select x.v from customers c, xmltable('/a' passing xmlelement(name a, c.email) columns v text path '.') x
select upper(email) from v_cust
select * from v_two where email = 'a'
select x from v_union
select id from v_cust order by email
copy customers to stdout
copy customers (email) to stdout
copy (select email from customers) to stdout
copy (select upper(email) from customers) to stdout
copy (update customers set name = name returning email) to stdout
copy customers to '/tmp/x'
copy customers to program 'cat'
insert into orders (note) select email from customers
insert into orders (note) values ((select email from customers limit 1))
insert into orders (note) select note from orders union all select email from customers
insert into orders (id) values (1) on conflict (id) do update set note = (select email from customers limit 1)
update customers set name = email
update customers set name = upper(email)
update customers set (name, ssn) = (email, 'x')
update orders set note = email from customers c where c.id = orders.customer_id
update orders set note = (select email from customers limit 1)
update customers set name = name where email like 'a%'
update customers set name = name returning email || ''
update customers set name = name returning (select email)
delete from customers where email like 'a%'
delete from orders using customers c where c.email = note
merge into orders o using customers c on o.customer_id = c.id when matched then update set note = c.email
merge into orders o using customers c on o.note = c.email when matched then delete
merge into orders o using customers c on o.customer_id = c.id when matched and c.email = 'a' then delete
merge into orders o using customers c on false when not matched then insert (note) values (c.email)
create table app.x as select email from customers
create temp table x as select email from customers
select email into temp x from customers
create view app.x as select email from customers
create temp view x as select email from customers
create materialized view app.x as select email from customers
create or replace view v_cust as select id, email, name as lname from customers
create unique index on customers (email)
create index on customers (lower(email))
create index on customers (id) where email = 'a'
alter table customers alter name type text using email
alter table customers add z text generated always as (email) stored
alter table customers add check (email like 'a%')
alter table customers add unique (email)
alter table orders add foreign key (note) references customers (email)
declare c cursor for select email from customers
declare c cursor with hold for select upper(email) from customers
explain select * from customers where email = 'a'
explain analyze select email from customers
explain (format json) select max(email) from customers
select id from customers for update of customers; select email || '' from customers
insert into customers (id, email) values (1, 'a') on conflict (email) do nothing
select f_leak(1)
select * from f_srf(1)
select (f_srf(1)).email
select app.plus(email, '') from customers
select email |+| '' from customers
select email operator(pg_catalog.||) '' from customers
select query_to_xml('select email from sales.customers', true, true, '')
select table_to_xml('sales.customers', true, true, '')
select * from schema_to_xml('sales', true, true, '')
select database_to_xml(true, true, '')
select cursor_to_xml('c', 1, true, true, '')
select ts_stat('select email from sales.customers')
select * from ts_stat('select to_tsvector(email) from sales.customers')
select ts_rewrite('a'::tsquery, 'select email, email from sales.customers')
select pg_read_file('/etc/passwd')
select pg_read_binary_file('base/1/1')
select pg_ls_dir('.')
select pg_stat_file('postgresql.conf')
select lo_import('/etc/passwd')
select lo_get(1)
select loread(1, 1)
select pg_current_logfile()
select pg_relation_filepath('customers')
select set_config('search_path', 'evil', false)
select set_config('row_security', 'off', true)
select set_config($1, $2, false)
select set_config('role', 'postgres', false)
select pg_catalog.set_config('session_authorization', 'postgres', false)
select pg_terminate_backend(1)
select pg_cancel_backend(1)
select pg_reload_conf()
select pg_sleep(100)
select pg_sleep_for('1 hour')
select pg_advisory_lock(1)
select pg_notify('c', 'x')
select nextval('sq')
select setval('sq', 1)
select lastval()
select pg_export_snapshot()
select pg_switch_wal()
select pg_create_restore_point('x')
select pg_logical_slot_get_changes('s', null, null)
select pg_create_logical_replication_slot('s', 'test_decoding')
select pg_logical_emit_message(true, 'a', 'b')
select pg_stat_reset()
select pg_stat_get_activity(null)
select pg_stat_get_backend_activity(1)
select pg_mcv_list_items(null)
select pg_get_shmem_allocations()
select pg_promote()
select pg_import_system_collations('app')
select brin_summarize_new_values('customers_pkey')
select gin_clean_pending_list('customers_pkey')
select binary_upgrade_set_next_pg_type_oid(1)
select currtid2('customers', '(0,1)')
select textin('x')
select int4in('1')
select RI_FKey_check_ins()
select plpgsql_call_handler()
select setseed(0.5)
select dblink('host=x', 'select 1')
select * from pg_stats
select * from pg_statistic
select * from pg_statistic_ext_data
select * from pg_stats_ext
select * from pg_stats_ext_exprs
select most_common_vals from pg_catalog.pg_stats where attname = 'email'
select * from pg_authid
select * from pg_shadow
select rolpassword from pg_authid
select * from pg_stat_activity
select * from pg_prepared_statements
select * from pg_cursors
select * from pg_user_mapping
select * from pg_user_mappings
select * from information_schema.user_mapping_options
select * from pg_subscription
select * from pg_file_settings
select * from pg_hba_file_rules
select * from pg_largeobject
select * from pg_replication_slots
select * from pg_stat_replication
select * from pg_stat_wal_receiver
select * from pg_foreign_server
select * from pg_shmem_allocations
select * from pg_backend_memory_contexts
select * from pg_locks
table pg_authid
copy pg_authid to stdout
delete from pg_authid
update pg_catalog.pg_class set relname = 'x'
set role postgres
set session authorization postgres
reset role
set search_path = evil
set row_security = off
set session_replication_role = replica
set standard_conforming_strings = off
set client_encoding = 'SJIS'
set default_transaction_read_only = off
set transaction read write
set session characteristics as transaction read write
begin read write
start transaction read write
begin isolation level serializable, read write
set statement_timeout = 0
set local lock_timeout = 0
set work_mem = '10GB'
set datestyle = 'sql'
set intervalstyle = 'iso_8601'
set bytea_output = 'escape'
set client_min_messages = debug5
set debug_print_plan = on
set log_statement = 'none'
set my.custom = 'x'
set xmloption = document
set transaction snapshot '0001'
alter system set wal_level = minimal
alter role postgres set search_path = evil
alter database shop set search_path = evil
do $$ begin perform 1; end $$
call x()
load '/tmp/x.so'
create function x() returns int language sql as 'select 1'
create or replace function pg_temp.lower(text) returns text language sql as 'select 1::text'
create trigger t before insert on customers for each row execute function app.noted()
create rule r as on select to customers do instead select 1
create policy p on customers using (true)
create extension dblink
create server s foreign data wrapper postgres_fdw
create user mapping for public server s
create foreign table f (a int) server s
import foreign schema public from server s into app
create subscription s connection 'host=x' publication p
create publication p for all tables
create role x superuser
grant all on customers to public
alter table customers owner to x
alter table customers disable row level security
alter table app.child no inherit app.parent
alter table events detach partition events_2024
alter table orders alter note_lower drop expression
alter default privileges grant select on tables to public
create database x
drop database shop
create tablespace t location '/tmp'
create event trigger e on ddl_command_start execute function app.noted()
create cast (text as int) with function app.f(text)
create operator app.= (leftarg = text, rightarg = text, function = app.plus)
create aggregate app.a (text) (sfunc = app.plus, stype = text)
create language plpythonu
security label on table customers is 'x'
prepare p as select email from customers
execute p
explain execute p
prepare transaction 'x'
commit prepared 'x'
listen c
notify c
checkpoint
cluster customers
reindex table customers
vacuum full
lock table customers
truncate customers
drop table customers
drop owned by current_user
reassign owned by current_user to x
refresh materialized view m_tot
select * from only salaries
select 1 from pg_catalog.pg_class c, pg_sleep(1)
select email, pg_sleep(1) from customers
select * from customers c(id, name, x) where x like 'a%'
select x from (select * from customers) s(i, n, x) order by x
select j.x || '' from (customers a join orders b on true) j(i, n, x)
select (select (select email)) || '' from customers
select email from (select email || '' as email from customers) s
select s.email from (select max(email) email from customers) s
values ((select email from customers limit 1))
select v from (values ((select email from customers limit 1))) t(v)
select (values ((select email from customers limit 1)))
select "email" || '' from "sales"."customers"
select U&"\0065mail" || '' from customers
select EMAIL || '' from CUSTOMERS
select email/**/||/**/'' from customers
select (((email))) || '' from customers
select customers.email || '' from sales.customers
select sales.customers.email || '' from sales.customers
select (select s from (select 1) s(x)), (select c from (select email c from customers limit 1) c) q
select t.* from customers t where t.* is null
select count(*) filter (where email = 'a') from customers
select json_object_agg(id, email) from customers
select (json_agg(email) -> 0) from customers
select jsonb_path_query(to_jsonb(c), '$.email') from customers c
select jsonb_populate_record(c, '{}') from customers c
select (jsonb_populate_record(c, '{}')).email from customers c
select c is null from customers c
select c = c from customers c
select (c).home, (c).email || '' from customers c
select array_agg(c) from customers c
select (array_agg(c))[1].email from customers c
select ((array_agg(c))[1]).email from customers c
select coalesce(c, null) from customers c
select (coalesce(c, null)).email from customers c
select case when true then c end from customers c
select (case when true then c end).email from customers c
select nullif(c, null) from customers c
select (select c from customers c limit 1)
select (select (c).email from customers c limit 1)
select q.email from (select (c).* from customers c) q order by q.email
select ((select c from customers c limit 1)).email
select lead(c) over () from customers c
"""


def masked(at: Catalog) -> set[ColumnRef]:
    """Everything that exposes customers.email, salaries or the parent's secret."""
    hidden = {("sales", "customers", "email"), ("app", "parent", "secret")}
    base = {
        ColumnRef(relation.oid, relation.by_name[column].attnum)
        for schema, name, column in hidden
        for relation in [at.relations[schema, name]]
    }
    base |= {ColumnRef(at.relations["sales", "salaries"].oid, n) for n in (1, 2)}
    return {
        ColumnRef(relation.oid, column.attnum)
        for relation in at.by_oid.values()
        if relation.ref.schema in ("sales", "app")
        for column in relation.columns
        if at.lineage(relation.oid, column.attnum) & base
    }


def is_caught(at: Catalog, found: StatementFacts, hidden: set[ColumnRef], not_granted: int) -> bool:
    if any(effect.id not in EFFECT_LEVELS["read"] + EFFECT_LEVELS["write"][:3]
           for effect in found.effects):  # fmt: skip
        return True
    if any(e.relation is not None and e.relation.oid == not_granted for e in found.effects):
        return True
    if any(e.relation is not None and e.relation.kind == "sequence" for e in found.effects):
        return True  # needs a grant on the sequence
    if any(
        e.id != "rows.read" and e.relation is not None and e.relation.schema == "pg_catalog"
        and e.id.startswith("rows.")
        for e in found.effects
    ):  # fmt: skip
        return True  # no schema grant reaches pg_catalog
    if any(use.column in hidden for use in found.uses):
        return True
    # A view column that is computed from a masked one is blocked, however plainly it is read.
    return any(
        o.sources & hidden
        and (o.verdict != "direct" or any(at.exposes(*r)[0] != "direct" for r in o.sources))
        for o in found.outputs or ()
    )


@pytest.mark.parametrize("sql", LEAKS.strip().splitlines())
def test_no_way_out(catalog: Catalog, sql: str) -> None:  # noqa: F811
    hidden = masked(catalog)
    not_granted = catalog.relations["sales", "salaries"].oid
    try:
        found = analyze(sql.encode(), catalog, search_path=("sales", "app"))
    except ClientError:
        return
    assert any(is_caught(catalog, one, hidden, not_granted) for one in found), found
