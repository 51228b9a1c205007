"""What a hostile agent sends to act beyond its tables: one statement a line."""

from __future__ import annotations

SERVER = r"""
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
"""
