"""What else a hostile agent tries, one case a line, steps parted by ` ;; `.

Written for the two worlds of `worlds`: numbers and texts in conditions are the first world's.
"""

from __future__ import annotations

# Numbers, dates, booleans, JSON and arrays leak in their own ways.
TYPES = r"""
select pin + 0 from docs
select - pin from docs
select pin::text from docs
select pin * 1.0 from docs
select abs(pin) from docs
select @ pin from docs
select pin & 65535 from docs
select pin % 100 from docs
select pin::bit(20) from docs
select pin::oid::regclass from docs
select int8(pin) from docs
select text(pin) from docs
select sum(pin) from docs
select avg(pin) from docs
select stddev(pin) from docs
select bit_or(pin) from docs
select regr_slope(pin, id) from docs
select percentile_disc(1.0) within group (order by pin) from docs
select mode() within group (order by flag) from docs
select width_bucket(pin, 0, 100000, 100) from docs
select generate_series(1, pin / 10000) from docs
select repeat('x', pin / 10000) from docs
select lpad('', pin / 10000, 'x') from docs
select chr(pin / 1000) from docs
select make_date(pin / 100, 1, 1) from docs
select to_char(pin, '99999') from docs
select to_hex(pin) from docs
select format('%s', pin) from docs
select concat(pin) from docs
select hashint4(pin) from docs
select md5(pin::text) from docs
select greatest(pin, 80000) from docs
select least(pin, 80000) from docs
select nullif(pin, 73194) from docs
select coalesce(pin, 0) from docs
select pin = 73194 from docs
select pin is distinct from 73194 from docs
select half from docs
select * from docs
select id from docs where half > 40000
select id from docs where pin > 80000
select id from docs where pin between 70000 and 75000
select id from docs where pin in (73194)
select id from docs where not pin = 73194
select id from docs where pin = any ('{73194}')
select id from docs where pin = all ('{73194}')
select id from docs where row(pin) = row(73194)
select id from docs where (pin, id) > (80000, 0)
select id from docs where coalesce(pin, 0) = 73194
select id from docs where case pin when 73194 then true else false end
select id from docs where nullif(pin, 73194) is null
select 1 / (pin - 73194) from docs where id = 1
select id from docs where id = 1 and 1 / (pin - 73194) < 2
select id from docs d where exists (select from docs e where e.pin > d.pin + 80000)
select id from docs where pin = (select max(pin) from docs where pin < 80000)
select id from docs order by (pin > 80000) desc, id desc
select count(*) from docs group by (pin > 80000)
select count(*) from docs group by cube (flag)
select count(*) from docs having max(pin) > 80000
select count(*) filter (where pin > 80000) from docs
select ntile(2) over (order by (pin > 80000) desc, id desc), id from docs
select count(*) over (order by pin range between 80000 preceding and current row) from docs
select sum(id) over (partition by flag) from docs
select lag(pin) over (order by id) from docs
select json_agg(id order by (pin > 80000) desc, id desc) from docs
select string_agg(id::text, ',' order by (pin > 80000) desc, id desc) from docs
select array(select id from docs order by (pin > 80000) desc, id desc)
select (select id from docs order by (pin > 80000) desc, id desc limit 1)
select id from docs natural join (select 73194 as pin) q
select docs.id from docs join (values (73194)) v(pin) using (pin)
select q.id from docs full join (select 73194 as pin, 1 as q) q(pin, id) using (pin) order by 1
select d.id from docs d left join plain p on p.amount * 36597 = d.pin + 0 or d.pin > 80000
select g from docs, lateral generate_series(1, pin / 10000) g
with recursive r(n) as (select pin from docs where id = 1 union all select n - 10000 from r where n > 0) select count(*) from r
with x as materialized (select pin p from docs) select p + 0 from x
with x as not materialized (select pin p from docs) select id from plain, x where p > 80000
select due - date '2020-01-01' from docs
select due + 1 from docs
select due::text from docs
select due::timestamp from docs
select extract(day from due) from docs
select date_part('month', due) from docs
select age(due, '2020-01-01') from docs
select date_trunc('year', due) from docs
select to_char(due, 'YYYY') from docs
select daterange(due, null) from docs
select isfinite(due), due < '2021-01-01' from docs
select id from docs where due > '2021-01-01'
select id from docs where (due, due) overlaps ('2021-01-01', '2022-01-01')
select max(due) from docs where id = 1
select not flag from docs
select flag::int from docs
select flag::text from docs
select case when flag then 1 else 2 end from docs
select id from docs where flag
select id from docs where flag is true
select bool_and(flag) from docs
select id from docs order by flag, id desc
select flag and true from docs
select body ->> 'k' from docs
select body -> 'k' from docs
select body #>> '{k}' from docs
select body['k'] from docs
select body || '{}' from docs
select body - 'x' from docs
select body::text from docs
select to_json(body) from docs
select jsonb_pretty(body) from docs
select jsonb_strip_nulls(body) from docs
select jsonb_set(body, '{x}', '1') from docs
select jsonb_path_query(body, '$.k') from docs
select jsonb_path_exists(body, '$.k ? (@ starts with "q")') from docs
select body @@ '$.k starts with "q"' from docs
select body @? '$.k ? (@ like_regex "^q")' from docs
select id from docs where body @> '{"k": "qjzkx-parent"}'
select id from docs where body = '{"k": "qjzkx-parent"}'
select value from docs, jsonb_each_text(body)
select x.k from docs, jsonb_to_record(body) as x(k text)
select x.v from docs, jsonb_path_query(body, '$.k') x(v)
select cast(body ->> 'k' as int) from docs where id = 1
select tags[1] from docs
select tags[1:1] from docs
select tags || '{x}' from docs
select unnest(tags) from docs
select array_to_string(tags, ',') from docs
select array_position(tags, 'qjzkx-parent') from docs
select array_remove(tags, 'qjzkx-parent') from docs
select id from docs where 'qjzkx-parent' = any (tags)
select id from docs where tags @> array['qjzkx-parent']
select id from docs where tags && '{qjzkx-parent}'
select t from docs, unnest(tags) t
select t.x, n from docs, unnest(tags) with ordinality t(x, n)
select score::int from docs
select score > 80000 from docs
select round(score) from docs
select id from docs where score = 73194
select max(score) over () from docs
select d from docs d
select d::text from docs d
select (d).pin + 0 from docs d
select pin(d) from docs d
select email(c) from customers c
select row_to_json(d) -> 'pin' from docs d
select to_jsonb(d) - 'id' from docs d
select md5(d::text) from docs d
select * from (select d.* from docs d) q order by q.pin
select * from jsonb_to_recordset((select jsonb_agg(d) from docs d)) as x(pin int)
select * from jsonb_populate_recordset(null::docs, (select jsonb_agg(d) from docs d))
select (jsonb_populate_record(null::docs, to_jsonb(d))).pin from docs d
select * from rows from (unnest(array(select pin from docs)), generate_series(1, 2)) as z(a, b)
select * from unnest(array(select email from customers))
"""

# Views, children, partitions, and what is not granted at all.
RELATIONS = r"""
table customers
table v_cust
table docs
select pin from m_docs
select pin + 0 from m_docs
select id from m_docs where due > '2021-01-01'
select * from m_docs order by pin
select email from v_secure
select id from v_secure where email like 'xq7%'
select upper(email) from v_secure
select email from v_two union all select ''
select v.id from v_cust v join v_secure s on s.email || '' = v.email and s.email like 'xq7%'
select x from v_union where x like 'xq7%'
select x || '' from v_union
select secret || '' from app.child
select secret from app.parent where secret like 'q%'
select p.id from app.parent p where exists (select from app.child c where c.secret > 'c-w')
select extra, upper(secret) from app.child
select tableoid::regclass, secret || '' from app.parent
select * from only app.parent order by secret || id
select * from salaries
table salaries
select count(*) from salaries where amount > 80000
select 1 where exists (select from salaries where amount > 80000)
select s.amount from customers c left join salaries s on s.employee = c.id
select amount from sales.salaries tablesample system (100)
select (select max(amount) from salaries)
with x as (table salaries) select 1 from x where amount > 80000
copy salaries to stdout
copy (select amount from salaries) to stdout
explain (analyze, costs off, timing off, summary off) select 1 from salaries where amount > 80000
insert into plain (id, amount) select employee + 50, amount from salaries returning amount
update plain set amount = s.amount from salaries s where s.employee = plain.id returning plain.amount
delete from plain using salaries s where s.amount > 80000
merge into plain p using salaries s on s.employee = p.id when matched and s.amount > 80000 then delete
select id, name from customers union all select id, email from customers
select name from customers intersect select case when email like 'xq7%' then 'Ben' else '' end from customers
select name from customers except select case when email like 'xq7%' then 'Ben' else '' end from customers
select id from customers group by id having min(email) like 'xq7%'
select * from pg_stats where schemaname = 'sales'
select most_common_vals, histogram_bounds from pg_stats where tablename = 'docs'
select stavalues1::text from pg_statistic
"""

# Writes whose outcome answers, and values carried to where they can be read.
WRITES = r"""
insert into logins values (9, 'xq7vkw@mzjh.example')
insert into logins (id, mail) select 9, 'xq7vkw@mzjh.example'
insert into logins values (9, 'xq7vkw@mzjh.example') on conflict do nothing
insert into logins values (1) on conflict (id) do update set mail = 'xq7vkw@mzjh.example'
update logins set mail = 'xq7vkw@mzjh.example' where id = 1
with w as (insert into logins values (9, 'xq7vkw@mzjh.example') returning id) select count(*) from w
merge into logins l using plain p on l.id = p.id when matched then update set mail = 'xq7vkw@mzjh.example'
merge into logins l using plain p on l.id = p.id + 70 when not matched then insert values (p.id + 70, 'xq7vkw@mzjh.example')
copy (insert into logins values (9, 'xq7vkw@mzjh.example') returning id) to stdout
explain (analyze, costs off, timing off, summary off) insert into logins values (9, 'xq7vkw@mzjh.example')
savepoint s ;; insert into logins values (9, 'xq7vkw@mzjh.example') ;; rollback to s
insert into contacts values (9, 'xq7vkw@mzjh.example')
insert into contacts values (9, 'xq7vkw@mzjh.example') on conflict do nothing
insert into contacts values (9, 'xq7vkw@mzjh.example') on conflict (mail) do update set id = contacts.id + 100 returning id
insert into contacts as k values (9, 'xq7vkw@mzjh.example') on conflict (mail) do update set id = 50 where k.mail like 'x%' returning id
update contacts set mail = 'xq7vkw@mzjh.example' where id = 2
insert into pairs values (9, 'one', 73194)
update pairs set label = 'two' where id = 1
update pairs set label = 'one' where id = 2
update pairs p set label = q.label from pairs q where q.id = 2 and p.id = 1
delete from holders where id = 1
delete from holders where owner = 'h1' returning id
update holders set owner = 'zz' where id = 1
merge into holders h using plain p on h.id = p.id and p.id = 1 when matched then delete
with w as (delete from holders where id = 1 returning id) select id from w
insert into plain (id, word) select 60 + id, email from customers ;; select * from plain
insert into plain (id, word) values (60, (select email from customers where id = 2)) returning word
insert into plain (id) select 100 where (select flag from docs where id = 1)
insert into plain (id) select 100 + n from generate_series(1, (select pin / 10000 from docs where id = 1)) n
insert into plain values (77, 'x', 1) returning (select email from customers where id = 2)
insert into plain values (77, 'x', 1) returning (select count(*) from docs where pin > 80000)
insert into plain (id, amount) select employee + 40, amount from salaries where amount > 80000
update plain set word = email from customers c where c.id = 2 and plain.id = 2 returning word
update plain set (word, amount) = (select email, 1 from customers c where c.id = plain.id) ;; table plain
update plain set amount = (select count(*) from customers where email like 'xq7%') returning amount
update plain set word = 'z' where exists (select from customers where email like 'xq7%')
update plain set word = 'z' where id > (select pin / 40000 from docs where id = 1)
update plain set word = 'x' where id = 1 returning (select pin from docs where id = 1)
update plain set word = 'x' where (select flag from docs where id = 1)
update docs set pin = pin + 1 returning pin + 0
update docs set id = pin ;; select id from docs
update docs set id = id + 10 where pin > 80000
update docs set id = id returning pin + 0
update docs set id = id returning docs
update docs set score = pin returning id, half
delete from docs where flag returning id
delete from docs where id = 1 returning pin + 0
delete from docs where id = 1 returning docs.*
delete from docs d returning d
delete from plain where (select flag from docs where id = 1)
delete from plain where word in (select email from customers)
delete from plain p using docs d where d.pin > 80000
with x as (delete from plain where word in (select email from customers) returning *) select count(*) from x
with x as (update docs set id = id returning pin) select pin + 0 from x
with x as (delete from docs returning pin) select count(*) from x where pin > 80000
with x as (update customers set name = name returning email) insert into plain (id, word) select 90 + row_number() over (), email from x returning word
merge into plain p using docs d on p.id = d.id when matched and d.flag then delete
merge into plain p using docs d on p.id = d.id when matched then update set amount = d.pin ;; table plain
merge into plain p using docs d on p.amount = d.pin - 73193 when matched then delete
merge into plain p using (select * from docs where pin > 80000) d on p.id = d.id when matched then delete
merge into plain p using docs d on p.id = d.id + 40 when not matched then insert values (d.id + 40, d.body ->> 'k', 1) ;; table plain
select * from plain where word = (select email from customers where id = 2)
select p.id from plain p join customers c on p.word = c.email
select p.id from plain p where p.word in (select email from customers)
select id from plain limit (select pin / 40000 from docs where id = 1)
select id from plain offset (select pin / 40000 from docs where id = 1)
select id from plain fetch first (select pin / 40000 from docs where id = 1) rows only
select count(*) from plain tablesample bernoulli ((select (pin - 73194) / 200 from docs where id = 1)) repeatable (1)
select set_config('application_name', email, false) from customers where id = 2 ;; show application_name
select set_config('TimeZone', case when pin > 80000 then 'UTC' else 'CET' end, true) from docs where id = 1 ;; show timezone
select setval('sq', pin) from docs where id = 1 ;; select last_value from sq
select count(nextval('sq')) from docs where pin > 80000 ;; select last_value from sq
declare c cursor for select pin from docs ;; fetch all from c
declare c cursor for select email || '' from customers ;; fetch all from c
declare c scroll cursor for select id from docs order by (pin > 80000) desc, id desc ;; fetch last from c
declare c cursor for select id from docs where flag ;; fetch all from c
declare c binary cursor for table docs ;; fetch all from c
prepare p1 as select pin from docs ;; execute p1
prepare p2(int) as select id from docs where pin > $1 ;; execute p2(80000)
explain (analyze, costs off, timing off, summary off) select 1 from docs where pin > 80000
explain (analyze, verbose, format json, costs off, timing off, summary off) select flag from docs where flag
copy docs to stdout
copy docs (pin) to stdout (format binary)
copy (table docs) to stdout (format csv, header)
copy (select id from docs order by (pin > 80000) desc, id desc) to stdout
copy (select id from docs where pin > 80000) to stdout
copy (with x as (select pin from docs) select pin + 0 from x) to stdout
copy (values ((select pin from docs where id = 1))) to stdout
copy m_docs to stdout
copy app.parent to stdout
select 1; select pin + 0 from docs
select id from docs; select id from docs where flag
savepoint s; select pin + 0 from docs; release s
select U&"p\0069n" + 0 from docs
select "pin"+0 from "sales"."docs"
SELECT/**/PIN+0/**/FROM/**/DOCS
select pin+0 from docs -- where id = 1
select d.pin + 0 from docs as d (id, body, tags, pin)
select d.x + 0 from docs as d (id, body, tags, x)
select j.x + 0 from (docs natural join plain) as j (a, b, c, x)
select starts_with(email, 'xq7') from customers
select email ^@ 'xq7' from customers
select strpos(email, 'xq7') from customers
select email > 'y' from customers
select email::char(3) from customers
select email::varchar(3) from customers
select email::name from customers
select email::bytea from customers
select email::regclass from customers where id = 2
select to_regclass(email) is null, email || '' from customers
select ('{' || email || '}')::text[] from customers
select email like 'xq7%' escape '!' from customers
select not email ilike 'XQ7%' from customers
select count(*) from customers where email is json or email like 'xq7%'
select octet_length(c::text) from customers c where id = 5
select pg_column_size(c) from customers c where id = 5
select string_agg(email, '' order by id) from customers
select array_agg(distinct email) from customers
select any_value(email) from customers where id = 2
select jsonb_object_agg(id, email) from customers
select json_build_array(email) from customers
select row_to_json(row(c.*)) from customers c
select distinct c.* from customers c order by c.email desc
"""

# What an admin of the schema, still under the masks, could arrange.
ADMIN = r"""
create table sales.x as select * from customers ;; select * from sales.x
create table sales.x as select id from docs where flag ;; select * from sales.x
create table sales.x as select id, pin + 0 as p from docs ;; select * from sales.x
select * into sales.x from docs ;; select * from sales.x
create table sales.x (like customers) ;; insert into sales.x select * from customers ;; table sales.x
create view sales.x as select email from customers ;; select * from sales.x
create view sales.x as select id from docs where flag ;; select * from sales.x
create materialized view sales.x as select pin from docs ;; select * from sales.x
create unique index on pairs (pin)
create unique index on pairs ((pin + 0))
create index on docs ((1 / (pin - 73194)))
create index on docs (id) where 1 / (pin - 73194) < 1
alter table pairs add unique (pin)
alter table pairs add constraint c exclude (pin with =)
alter table docs add check (pin < 80000)
alter table docs add constraint c check (not flag or id = 2)
alter table docs add constraint c check (pin < 80000) not valid ;; alter table docs validate constraint c
alter table plain add column z text default 'xq7vkw@mzjh.example' references contacts (mail)
create table sales.x (m text references contacts (mail)) ;; insert into sales.x values ('xq7vkw@mzjh.example')
alter table customers rename column email to mail ;; select mail from customers
alter table customers rename to clients ;; select email from clients
alter table docs alter score type int ;; select score from docs
alter table docs add column z int generated always as (pin + 1) stored ;; select z from docs
alter table docs alter half drop expression ;; select half from docs
alter table app.child no inherit app.parent ;; select secret from app.child
alter table customers set schema app ;; select email from app.customers
alter table customers alter email set default 'x', alter email drop default ;; select email || '' from customers
create rule r as on update to plain do also insert into plain (id, word) select 300, email from customers where id = 2 ;; update plain set amount = 1 where id = 1 ;; table plain
create trigger t before insert on plain for each row execute function app.noted() ;; select email || '' from customers
create function sales.f() returns text language sql return (select email from sales.customers where id = 2) ;; select sales.f()
create or replace view v_cust as select id, email, upper(email) as lname from customers ;; select lname from v_cust
alter view v_cust rename column email to mail ;; select mail || '' from v_cust
alter materialized view m_docs rename column pin to x ;; select x from m_docs
drop materialized view m_docs ;; create materialized view m_docs as select pin from docs ;; select pin from m_docs
create statistics sales.s on pin, due from docs ;; analyze docs ;; select most_common_vals from pg_stats_ext
grant select on customers to public ;; select email || '' from customers
do $$ begin perform 1 / (pin - 73194) from sales.docs where id = 1; end $$
"""
