-- The schema behind snapshot.json.zst and the integration tests of gateway.sql.
create schema sales;
create schema app;
create type sales.addr as (street text, city text);
create type app.mood as enum ('good', 'bad');
create domain app.small as int check (value < 100);
create table sales.customers (
    id int primary key, name text not null, email text, ssn text, tags text[],
    home sales.addr, created timestamptz default now());
create table sales.orders (
    id bigserial primary key, customer_id int references sales.customers, total numeric,
    note text, note_lower text generated always as (lower(note)) stored);
create table sales.events (id int, at date, payload jsonb) partition by range (at);
create table sales.events_2024 partition of sales.events
    for values from ('2024-01-01') to ('2025-01-01');
create table sales.salaries (employee int, amount numeric);
create view sales.v_cust as
    select id, email, lower(name) as lname from sales.customers where ssn is not null;
create view sales.v_two as
    select v.email, o.total from sales.v_cust v join sales.orders o on o.customer_id = v.id;
create view sales.v_union as
    select email as x from sales.customers union all select note from sales.orders;
create materialized view sales.m_tot as
    select customer_id, sum(total) as s from sales.orders group by 1;
create function sales.f_leak(int) returns text language sql
    as 'select email from sales.customers where id = $1';
create function sales.f_srf(int) returns setof sales.customers language sql
    as 'select * from sales.customers where id = $1';
create function app.plus(text, text) returns text language sql immutable as 'select $1 || $2';
create operator app.|+| (leftarg = text, rightarg = text, function = app.plus);
create operator app.~~~~ (leftarg = int, rightarg = int, function = int4pl);
create function app.lower(sales.addr) returns text language sql as 'select ''x''';
create sequence sales.sq;
create table app.t (a int, b text, c int);
create table app.u (a int, d text);
create table app.parent (id int, secret text);
create table app.child (extra text) inherits (app.parent);
create table app.audited (id int, note text);
create function app.noted() returns trigger language plpgsql as 'begin return new; end';
create trigger noted before insert on app.audited for each row execute function app.noted();
create table app.ruled (id int);
create rule ruled_insert as on insert to app.ruled do also
    insert into app.audited values (new.id, 'x');
insert into sales.customers values (1, 'Ann', 'ann@example.com', '123-45-6789', '{a,b}',
    row('Main St', 'Bern'), now());
create table app.mails (mail text primary key, id int);
create table app.logins (id int primary key, mail text references app.mails (mail),
    label text, pin int, half int generated always as (pin / 2) stored,
    unique (label, pin), check (label <> 'x' or pin > 0));
create table app.boss (id int primary key);
create table app.team (id int primary key, boss int references app.boss on delete cascade
    on update cascade);
create table app.desk (id int primary key, team int references app.team on delete cascade,
    boss int references app.boss on delete set null);
