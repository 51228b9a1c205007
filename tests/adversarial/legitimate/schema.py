"""A shop as an ORM lays it out, TPC-H's tables, and who works on them."""

from __future__ import annotations

SCHEMA = """
create schema shop;
create table shop.auth_user (id serial primary key, username varchar(150) unique not null,
    email varchar(254) not null, password varchar(128) not null, is_active boolean not null
    default true, date_joined timestamptz not null default now());
create table shop.product (id bigserial primary key, sku text unique not null, name text not null,
    price numeric(12,2) not null, tags text[] not null default '{}', attrs jsonb not null
    default '{}', created_at timestamptz not null default now(), deleted_at timestamptz);
create table shop.purchase (id bigserial primary key, user_id int not null
    references shop.auth_user (id), status text not null default 'new', placed timestamptz not null
    default now(), total numeric(12,2));
create table shop.item (id bigserial primary key, purchase_id bigint not null
    references shop.purchase (id) on delete cascade, product_id bigint not null
    references shop.product (id), quantity int not null check (quantity > 0));
create table shop.event (id uuid primary key default gen_random_uuid(), kind text not null,
    at timestamptz not null default now(), payload jsonb, host inet, took interval);
create table shop.django_session (session_key varchar(40) primary key, session_data text not null,
    expire_date timestamptz not null);
create table shop.django_migrations (id serial primary key, app varchar(255) not null,
    name varchar(255) not null, applied timestamptz not null default now());
create table shop.metric (at timestamptz not null, name text not null, value double precision)
    partition by range (at);
create table shop.metric_2026 partition of shop.metric for values from ('2026-01-01')
    to ('2027-01-01');
create index on shop.product using gin (attrs);
create view shop.open_purchase as select p.id, p.user_id, p.total from shop.purchase p
    where p.status = 'new';
insert into shop.auth_user (username, email, password) select 'u' || i, 'u' || i || '@x.example',
    'pbkdf2$' || i from generate_series(1, 20) i;
insert into shop.product (sku, name, price, tags, attrs) select 'sku' || i, 'Product ' || i, i,
    '{a,b}', jsonb_build_object('color', 'red', 'size', i) from generate_series(1, 30) i;
insert into shop.purchase (user_id, total, placed) select 1 + i % 20, i,
    timestamptz '2026-01-01' + i * interval '1 day' from generate_series(1, 60) i;
insert into shop.item (purchase_id, product_id, quantity) select 1 + i % 60, 1 + i % 30, 1 + i % 3
    from generate_series(1, 150) i;
insert into shop.metric select timestamptz '2026-01-01' + i * interval '1 hour', 'cpu', i % 7
    from generate_series(1, 100) i;
create table shop.region (r_regionkey int primary key, r_name char(25), r_comment varchar(152));
create table shop.nation (n_nationkey int primary key, n_name char(25), n_regionkey int,
    n_comment varchar(152));
create table shop.part (p_partkey int primary key, p_name varchar(55), p_mfgr char(25),
    p_brand char(10), p_type varchar(25), p_size int, p_container char(10),
    p_retailprice numeric(15,2), p_comment varchar(23));
create table shop.supplier (s_suppkey int primary key, s_name char(25), s_address varchar(40),
    s_nationkey int, s_phone char(15), s_acctbal numeric(15,2), s_comment varchar(101));
create table shop.partsupp (ps_partkey int, ps_suppkey int, ps_availqty int,
    ps_supplycost numeric(15,2), ps_comment varchar(199), primary key (ps_partkey, ps_suppkey));
create table shop.customer (c_custkey int primary key, c_name varchar(25), c_address varchar(40),
    c_nationkey int, c_phone char(15), c_acctbal numeric(15,2), c_mktsegment char(10),
    c_comment varchar(117));
create table shop.orders (o_orderkey int primary key, o_custkey int, o_orderstatus char(1),
    o_totalprice numeric(15,2), o_orderdate date, o_orderpriority char(15), o_clerk char(15),
    o_shippriority int, o_comment varchar(79));
create table shop.lineitem (l_orderkey int, l_partkey int, l_suppkey int, l_linenumber int,
    l_quantity numeric(15,2), l_extendedprice numeric(15,2), l_discount numeric(15,2),
    l_tax numeric(15,2), l_returnflag char(1), l_linestatus char(1), l_shipdate date,
    l_commitdate date, l_receiptdate date, l_shipinstruct char(25), l_shipmode char(10),
    l_comment varchar(44), primary key (l_orderkey, l_linenumber));
grant usage on schema shop to pn_read, pn_write, pn_admin;
grant select on all tables in schema shop to pn_read;
grant select, insert, update, delete on all tables in schema shop to pn_write;
grant usage on all sequences in schema shop to pn_write;
alter database orders set search_path = shop, public;
"""

POLICY = """\
version: 1
mode: enforce
groups:
  apps: {from: ["test:apps"], kind: agent}
  trusted: {from: ["test:trusted"], kind: agent}
grants:
  - {id: apps, to: [apps], target: orders, level: write, schema: shop, tables: ["*"]}
  - {id: sign-up, to: [apps], target: orders, effects: [rows.insert], schema: shop,
     tables: [auth_user], columns: {insert: [username, email, is_active, date_joined, password]}}
  - {id: apps-public, to: [apps], target: orders, level: write, schema: public, tables: ["*"]}
  - {id: trusted, to: [trusted], target: orders, level: read, schema: shop}
masks:
  - {id: password, columns: [shop.auth_user.password], except: [trusted], with: {kind: redact}}
"""
