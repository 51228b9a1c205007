"""What a hostile agent sends: one statement a line."""

from __future__ import annotations

# To see customers.email, or to learn about it.
VALUES = r"""
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
declare c cursor for select email || '' from customers
declare c cursor with hold for select upper(email) from customers
explain select * from customers where email = 'a'
explain analyze select email from customers
explain (format json) select max(email) from customers
select id from customers for update of customers; select email || '' from customers
insert into customers (id, email) values (1, 'a') on conflict (email) do nothing
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
