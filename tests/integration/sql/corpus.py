"""SELECTs for the oracle: each can be the body of a view on schema.sql (search_path sales, app)."""

from __future__ import annotations

from collections.abc import Iterator

HANDWRITTEN = r"""
select id, email from customers
select * from customers
select c.* from customers c
select customers.id from customers
select sales.customers.id from sales.customers
select x from customers as c(x, y)
select c from customers c
select (c).email from customers c
select (c.home).city from customers c
select (c.home).* from customers c
select to_jsonb(c) from customers c
select count(*) from customers
select count(c) from customers c
select count(c.*) from customers c
select max(email) from customers group by name having min(ssn) > 'a'
select name, count(*) filter (where email like 'x%') from customers group by 1
select name n from customers order by email
select distinct on (name) id from customers order by name, email desc
select id from customers where exists (select 1 from orders o where o.customer_id = customers.id and o.note = customers.name)
select id, (select max(total) from orders o where o.customer_id = c.id) from customers c
select id from customers where id in (select customer_id from orders)
select id from customers where (id, name) in (select customer_id, note from orders)
select id from customers where id = any (array(select customer_id from orders))
select array(select email from customers order by ssn) a
select o.id from orders o join customers c on c.id = o.customer_id
select o.id from orders o left join customers c on c.id = o.customer_id and c.email is not null
select o.id from orders o right join customers c on c.id = o.customer_id
select o.id, c.name from orders o full join customers c on c.id = o.customer_id
select id from orders o join customers c using (id)
select * from orders o join customers c using (id)
select j.total from (orders o join customers c using (id)) j
select jj.id from orders o join customers c using (id) as jj
select id from orders o full join customers c using (id)
select * from app.t natural join app.u
select a, b, d from app.t natural left join app.u
select t.a, u.a ua from app.t cross join app.u
select a from app.t where b = 'x' union select a from app.u where d = 'y'
select a, b from app.t union all select a, d from app.u order by 1
(select a from app.t order by b limit 3) union all (select a from app.u order by d offset 1)
select a from app.t intersect select a from app.u
select a from app.t except all select a from app.u
values (1, 'a'), (2, 'b')
select column1 from (values (1, 'a'), (2, 'b')) v
select v.x from (values (1, 'a'), (2, 'b')) v(x, y) join app.t on t.a = v.y::int
table app.t
with x as (select email e, id from customers) select e from x
with x(a1, b1) as (select email, id from customers) select b1 from x where a1 = 'z'
with x as (select email from customers), y as (select email m from x) select m from y
with x as materialized (select * from customers) select name from x
with customers as (select id as email from orders) select email from customers
with recursive r(n, e) as (select 1, email from customers union all select n + 1, e from r where n < 3) select * from r
with recursive r as (select id, customer_id, note from orders where id = 1 union select o.id, o.customer_id, r.note from orders o join r on r.customer_id = o.id) select * from r
with recursive a as (select 1 x union all select x + 1 from a where x < 5), b as (select x from a) select b.x, t.b from b join app.t t on t.a = b.x
select l.total from customers c, lateral (select o.total from orders o where o.customer_id = c.id limit 1) l
select l.total from customers c left join lateral (select o.total from orders o where o.note = c.name) l on true
select l.* from customers c, lateral (select c.email as e2) l
select g from generate_series(1, 3) g
select g.g from generate_series(1, 3) as g
select g.n from generate_series(1, 3) as g(n)
select x, ord from unnest(array['a', 'b']) with ordinality as u(x, ord)
select c.id, t from customers c, unnest(c.tags) t
select c.id, t.x from customers c cross join lateral unnest(c.tags) as t(x)
select unnest(tags) from customers
select k, v from events, jsonb_each(payload) as j(k, v)
select key, value from events, jsonb_each_text(payload)
select e.id, j.a, j.b from events e, jsonb_to_record(e.payload) as j(a int, b text)
select * from json_to_recordset('[{"a":1}]') as x(a int, b text)
select * from rows from (generate_series(1, 2), unnest(array[3, 4])) as r(p, q)
select * from rows from (json_to_recordset('[]') as (a int, b text), generate_series(1, 3)) as x(p, q, s)
select * from unnest(array[1, 2], array['a', 'b']) as u(x, y)
select f.email from f_srf(1) f
select * from f_srf(1)
select (f_srf(1)).email
select f_leak(c.id) from customers c
select r.name from jsonb_populate_record(null::customers, '{}') r
select (jsonb_populate_record(null::sales.customers, '{}')).email
select id, row_number() over (partition by name order by email) from customers
select id, sum(id) over w from customers window w as (partition by name order by created rows between 1 preceding and current row)
select id, lag(email) over (order by id) from customers
select case when email is null then name else ssn end from customers
select case email when 'a' then 1 else 2 end as k from customers
select coalesce(email, name) from customers
select nullif(email, name) from customers
select greatest(id, 3), least(name, 'x') from customers
select email is distinct from name from customers
select id between 1 and 3 as b from customers
select email ilike 'a%' or name ~ 'x' as z from customers
select email similar to 'a' as s from customers
select tags[1], tags[1:2] from customers
select payload -> 'a' ->> 'b' from events
select payload #>> '{a,b}' p from events
select id::text, cast(name as varchar(10)) from customers
select date '2024-01-01' + id as d from customers
select extract(year from created), date_trunc('day', created) from customers
select created at time zone 'utc' from customers
select substring(email from 1 for 3), position('@' in email), trim(both 'x' from name), overlay(name placing 'x' from 1) from customers
select email collate "C" from customers order by name collate "C"
select current_date, current_user, now(), localtime, current_timestamp(3), session_user
select grouping(name), name from customers group by rollup (name)
select name, ssn, count(*) from customers group by cube (name, ssn)
select name, ssn from customers group by grouping sets ((name), (ssn), ())
select name || ' ' || coalesce(ssn, '') as full_name from customers order by full_name
select string_agg(name, ',' order by email) from customers
select array_agg(distinct email) from customers
select percentile_cont(0.5) within group (order by id) from customers
select mode() within group (order by email) from customers
select xmlelement(name a, email) from customers
select xmlforest(email as e, name) from customers
select x.b from xmltable('/a' passing xml '<a><b>1</b></a>' columns b text path 'b') x
select c.id, x.b from customers c, xmltable('/a' passing xmlparse(document c.name) columns b text path 'b') x
select id from events
select * from events_2024
select id from only events
select email from v_cust
select * from v_two
select v.lname from v_cust v join m_tot m on m.customer_id = v.id
select tableoid, ctid, id from customers
select email_copy from orders
select id from customers tablesample system (10)
select id from customers limit (select max(id) from orders)
select id from customers for update
select a.id from (select * from (select id, email from customers) i) a where a.email = 'x'
select s.q from (select t.a + t.c as q, b from app.t) s
select s.* from (select a, b from app.t) as s(x, y)
select (s).x from (select a, b from app.t) as s(x)
select t from app.t t
select t is null n from app.t t
select t = t as eq from app.t t
select 1 as one, 'a' two, null three, true four
select a as "A b", b as "a" from app.t
select exists (select 1 from customers where ssn = '1')
select not exists (select 1 from customers) as n
select (select email from customers c2 where c2.id = c.id) from customers c
select (select name from (select c.name) q) from customers c
select 1 from customers c where (select count(*) from orders o where o.customer_id = c.id) > 1
select 1 from customers group by ssn
select id from customers order by (select max(total) from orders)
select id from customers order by id using <
select pg_typeof(email) from customers
select count(distinct (name, ssn)) from customers
select json_build_object('a', email, 'b', id) from customers
select json_object_agg(id, name) from customers
select format('%s', c) from customers c
select row_to_json(q) from (select id, email from customers) q
select row_to_json(q.*) from (select id, email from customers) q
select jsonb_agg(to_jsonb(o) - 'note') from orders o
select id from customers c where c is not null
select email from customers c group by c.id
select c.id, s.total from customers c join (select customer_id cid, sum(total) total from orders group by customer_id) s on s.cid = c.id
select "id", "email" from "sales"."customers" where "name" = $q$x$q$
select id from customers where name = E'\x41' and email = U&'\0041'
select a.id from customers a, customers b where a.id = b.id and b.ssn = '1'
select a.* from customers a join customers b using (id)
select id from customers where created > now() - interval '1 day'
select id from customers where (created, created) overlaps (now(), now())
select n.nspname, c.relname from pg_catalog.pg_class c left join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p')
select table_name from information_schema.tables where table_schema = 'sales'
select u from (select email u from customers) s
select s from (select email s from customers) s
select id from customers where email = any ('{a,b}')
select id from customers where id = all (select customer_id from orders where note = name)
select e from (select email from customers) s(e)
select id from (select * from customers) s order by s.ssn
select z.a, z.d from (app.t natural join app.u) z
select a from app.t join app.u using (a) where d = b
select u.a from app.t full join app.u using (a)
select sum(total) over (partition by customer_id) / count(*) over () from orders
select first_value(email) over (partition by name order by id range between unbounded preceding and unbounded following) from customers
select (array_agg(email order by id))[1] from customers
select (array[c.id, 2])[1] from customers c
select (row(1, 2)).f1
select coalesce((select note from orders limit 1), 'x')
select ((c.home)).street from customers c
select c.tags || array['x'] from customers c
select length(name) len from customers group by length(name) order by len
select name as email from customers group by email, name
select email as name from customers order by name
select name as ssn from customers order by ssn || 'x'
select lower(email) as e from customers group by e
select distinct email from customers
select all id from customers
select id from customers fetch first 2 rows only
select s.c from (select c from customers c) s
select (s.c).email from (select c from customers c) s
select (s.c).* from (select c from customers c) s
select r.* from (select (c).* from customers c) r
select (select c.email) from customers c
select (select c) from customers c
select * from (select 1 a) x, lateral (select x.a b) y, lateral (select y.b + x.a z) w
select o.* from customers c join lateral (select * from orders where customer_id = c.id) o on c.name = o.note
select id from customers c(id, n) where n = 'x'
select o.x, c.id from orders o(x) left join (customers c join app.t on t.a = c.id) on c.id = o.x
select k.id from customers k where k.name in (select d from app.u where u.a = k.id)
select id from customers where (select true from orders where customer_id = id limit 1)
select id from customers c where exists (select from orders where customer_id = c.id)
select t.* from app.t, lateral (select d from app.u where u.a = t.a) x
select extra from app.child where secret = 'x'
select secret from app.parent
select p from app.parent p
select x from v_union
select note_lower from orders where note_lower = 'x'
with a as (select * from customers), b as (select * from a where ssn = 'x') select count(*) from b
with a as (select * from customers), b as (select name from a) select b.name from a, b where a.email = b.name
with t as (select * from app.t) select t.b from t, app.t t2 where t2.c = t.a
with a as (with b as (select email from customers) select * from b) select * from a
select (with a as (select email from customers limit 1) select email from a) e
select id from customers union (select id from orders union all select a from app.t) order by id limit 3
select q.* from (values (1, 'x')) as q(id, t) join customers c using (id)
select id from customers where name = (values ('x'))
select upper(t.b) || lower(t.b) as z from app.t group by t.b having count(distinct t.c) > 1
select count(*) filter (where ssn is null) as n, max(created) from customers
select sum(sum(total)) over (order by customer_id) from orders group by customer_id
select ntile(4) over w, rank() over (w rows unbounded preceding) from orders window w as (order by total)
select case when exists (select 1 from orders where note = customers.ssn) then 1 else 0 end as c from customers
select tags @> array['a'] as has from customers
select payload @? '$.a' as has, jsonb_path_query_first(payload, '$.b') as b from events
select e.id, x.* from events e, jsonb_to_recordset(e.payload) as x(k text, v int)
select e.id, x.value from events e left join lateral jsonb_array_elements(e.payload) x on true
select e.id, x.ordinality from events e cross join lateral jsonb_each(e.payload) with ordinality x
select g.d from generate_series(now(), now(), '1 day') as g(d)
select regexp_split_to_table(note, ',') from orders
select m.x[1] from orders, lateral regexp_matches(note, 'a') as m(x)
select pg_get_viewdef('sales.v_cust'::regclass) from app.t
select customers from customers
select customers.* from customers order by customers.ssn
select array_agg(c order by c.id) as cs from customers c
select (array_agg(c order by c.id))[1] as c1 from customers c
select coalesce(c.home, row('a', 'b')::addr) as h from customers c
select (coalesce(c.home, row('a', 'b')::addr)).street from customers c
select c.home is distinct from d.home as x from customers c, customers d
select name from customers where home = row('a', 'b')::addr
select 'good'::app.mood as m, 5::app.small as s
select 'a' operator(app.|+|) name as o from customers
select app.plus(name, email) as o from customers
select min(id) from customers group by grouping sets ((name, ssn), (tags)) order by min(email)
select id from only customers
select c.name from customers c join orders o using (id) join app.t on t.a = id
select * from (customers c join orders o using (id)) as j(k)
select a.b, d.d from app.t a left join app.u d on (a.a, a.c) = (d.a, d.a)
select distinct on (lower(name)) id, email from customers order by lower(name), created
select id from customers order by name collate "C" desc nulls last offset 1
select nullif(trim(both from name), '') as n from customers
select xmlagg(xmlelement(name x, xmlattributes(ssn as s), name) order by id) as x from customers
select count(*) from (select from customers where tags = '{}') s
select u.n from unnest(array['a', 'b'], array[1, 2]) as u(t, n)
select c.id, u.t, u.n from customers c, unnest(c.tags, array[c.ssn]) as u(t, n)
select id from customers where id between symmetric 3 and (select min(id) from orders)
select id from customers where name like any (array['a%', email])
select id from customers where not (ssn = 'x' and email is null) or name is not distinct from 'x'
select age(created) as a, to_char(created, 'YYYY') as y from customers
select current_schema() as s, current_database() as d, version() as v
select array(select row(id, name)::text from customers) as x
select exists (table customers) as e
select 1 as one from customers for no key update of customers skip locked
"""

EXPRESSIONS = [
    "{a}.email",
    "upper({a}.email)",
    "{a}.id + 1",
    "coalesce({a}.name, 'x')",
    "({a}).ssn",
    "count({a}.id) over ()",
    "(select max(o2.total) from orders o2 where o2.customer_id = {a}.id)",
    "{a}.tags[1]",
    "({a}.home).city",
    "case when {a}.email is null then {a}.ssn end",
    "to_jsonb({a})",
    "array[{a}.name]",
    "{a}.name || {a}.ssn",
]
CONDITIONS = [
    "",
    "where {a}.name = 'x'",
    "where {a}.id in (select customer_id from orders)",
    "where {a}.email like '%x' and {a}.ssn is not null",
    "where exists (select from orders o3 where o3.note = {a}.name)",
]
SOURCES = [
    "customers {a}",
    "(select * from customers) {a}",
    "(select * from customers where created is not null) {a}",
    "customers {a} join orders oo on oo.customer_id = {a}.id",
    "(with w as (select * from customers) select * from w) {a}",
    "(select * from customers union all select * from customers) {a}",
]


def statements() -> Iterator[str]:
    """Yield the handwritten statements, then every combination of the parts."""
    yield from HANDWRITTEN.strip().splitlines()
    number = 0
    for expression in EXPRESSIONS:
        for condition in CONDITIONS:
            for source in SOURCES:
                number += 1
                text = f"select {expression} as r from {source} {condition}"
                yield text.format(a="abc"[number % 3])
