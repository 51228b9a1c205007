"""What applications, dashboards and tools send, one statement a line.

`$n` are bound as text; values stand after ` -- ` at the end of the line, parted by `|`.
"""

from __future__ import annotations

ORM = """
SELECT "auth_user"."id", "auth_user"."username", "auth_user"."email", "auth_user"."is_active", "auth_user"."date_joined" FROM "auth_user" WHERE "auth_user"."id" = $1 LIMIT 21 -- 1
SELECT "auth_user"."id", "auth_user"."password", "auth_user"."username" FROM "auth_user" WHERE "auth_user"."username" = $1 LIMIT 21 -- u1
SELECT COUNT(*) AS "__count" FROM "product"
SELECT 1 AS "a" FROM "product" WHERE "product"."sku" = $1 LIMIT 1 -- sku1
SELECT "product"."id", "product"."name" FROM "product" WHERE UPPER("product"."name"::text) LIKE UPPER($1) ORDER BY "product"."name" ASC LIMIT 20 OFFSET 20 -- %pro%
SELECT "product"."id" FROM "product" WHERE ("product"."deleted_at" IS NULL AND "product"."price" BETWEEN $1 AND $2) -- 1|10
SELECT "purchase"."id", "auth_user"."username" FROM "purchase" INNER JOIN "auth_user" ON ("purchase"."user_id" = "auth_user"."id") WHERE "purchase"."status" IN ($1, $2) ORDER BY "purchase"."placed" DESC -- new|paid
SELECT "auth_user"."id", COUNT("purchase"."id") AS "n" FROM "auth_user" LEFT OUTER JOIN "purchase" ON ("auth_user"."id" = "purchase"."user_id") GROUP BY "auth_user"."id" HAVING COUNT("purchase"."id") > $1 -- 1
SELECT "product"."id", EXISTS(SELECT 1 AS "a" FROM "item" U0 WHERE U0."product_id" = ("product"."id") LIMIT 1) AS "sold" FROM "product" LIMIT 5
INSERT INTO "auth_user" ("username", "email", "is_active", "date_joined", "password") SELECT $1, $2, true, now(), 'x' WHERE false RETURNING "auth_user"."id" -- x|y
INSERT INTO "product" ("sku", "name", "price") VALUES ($1, $2, $3) RETURNING "product"."id" -- n1|New|3
INSERT INTO "product" ("sku", "name", "price") VALUES ($1, $2, 1), ($3, $4, 2) ON CONFLICT ("sku") DO UPDATE SET "name" = EXCLUDED."name" RETURNING "id" -- n1|a|n2|b
INSERT INTO "product" ("sku", "name", "price") VALUES ($1, $2, 1) ON CONFLICT DO NOTHING -- n1|x
UPDATE "product" SET "name" = $1, "price" = "product"."price" + 1 WHERE "product"."id" = $2 -- z|1
UPDATE "purchase" SET "status" = 'paid', "total" = (SELECT SUM(U0."quantity" * U1."price") FROM "item" U0 INNER JOIN "product" U1 ON U0."product_id" = U1."id" WHERE U0."purchase_id" = "purchase"."id") WHERE "purchase"."id" IN ($1) RETURNING "id", "total" -- 1
DELETE FROM "item" WHERE "item"."id" IN ($1, $2) -- 1|2
DELETE FROM "django_session" WHERE "django_session"."expire_date" < $1 -- 2020-01-01
SELECT "django_session"."session_key", "django_session"."session_data" FROM "django_session" WHERE ("django_session"."expire_date" > $1 AND "django_session"."session_key" = $2) LIMIT 21 -- 2026-01-01|k
SELECT "django_migrations"."app", "django_migrations"."name" FROM "django_migrations"
INSERT INTO "django_migrations" ("app", "name", "applied") VALUES ($1, $2, $3) RETURNING "django_migrations"."id" -- auth|0001|2026-01-01
SELECT "product"."id" FROM "product" WHERE "product"."attrs" @> $1 -- {"color": "red"}
SELECT ("product"."attrs" ->> 'color') AS "c", COUNT(*) FROM "product" GROUP BY ("product"."attrs" ->> 'color')
SELECT "product"."id" FROM "product" WHERE "product"."tags" && $1 -- {a}
SELECT DISTINCT "purchase"."status" FROM "purchase" ORDER BY 1
SELECT "purchase"."id" FROM "purchase" WHERE "purchase"."placed" AT TIME ZONE 'UTC' >= $1 -- 2026-01-01
SELECT DATE_TRUNC('month', "purchase"."placed" AT TIME ZONE 'UTC') AS "m", SUM("purchase"."total") FROM "purchase" GROUP BY 1 ORDER BY 1
SELECT "purchase"."id" FROM "purchase" WHERE "purchase"."id" = $1 FOR UPDATE -- 1
SELECT "purchase"."id" FROM "purchase" ORDER BY "purchase"."id" LIMIT 1 FOR UPDATE SKIP LOCKED
SELECT "purchase"."id" FROM "purchase" WHERE "purchase"."id" = $1 FOR NO KEY UPDATE NOWAIT -- 2
SELECT product.id, product.name, anon_1.n FROM product JOIN (SELECT item.product_id AS product_id, count(*) AS n FROM item GROUP BY item.product_id) AS anon_1 ON product.id = anon_1.product_id
SELECT product.id AS product_id, product.price AS product_price FROM product WHERE product.id = $1::BIGINT -- 3
SELECT count(*) AS count_1 FROM (SELECT product.id AS product_id FROM product WHERE product.price > $1::NUMERIC) AS anon_1 -- 2
INSERT INTO product (sku, name, price) SELECT p0::TEXT, p1::TEXT, p2::NUMERIC FROM (VALUES ($1, $2, $3, 0)) AS imp_sen(p0, p1, p2, sen_counter) ORDER BY sen_counter RETURNING product.id -- s7|n|4
UPDATE product SET deleted_at = now() WHERE product.id = $1::INTEGER RETURNING product.deleted_at -- 4
DELETE FROM product WHERE product.id = $1::BIGINT AND NOT EXISTS (SELECT 1 FROM item WHERE item.product_id = product.id) -- 999
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT t.n + 1 FROM t WHERE t.n < $1) SELECT t.n FROM t -- 5
SELECT "t"."id", "t"."sku" FROM "shop"."product" AS "t" WHERE ("t"."id" = $1 AND 1=1) LIMIT $2 OFFSET $3 -- 1|1|0
SELECT "shop"."product"."id", "shop"."product"."name", "shop"."product"."attrs"::text FROM "shop"."product" WHERE 1=1 ORDER BY "shop"."product"."id" ASC LIMIT $1 OFFSET $2 -- 5|0
INSERT INTO "shop"."product" ("sku","name","price") VALUES ($1,$2,$3) RETURNING "shop"."product"."id", "shop"."product"."sku" -- pr1|n|1.5
UPDATE "shop"."product" SET "name" = $1 WHERE ("shop"."product"."id" = $2 AND 1=1) RETURNING "shop"."product"."id" -- q|5
SELECT COUNT(*), "shop"."purchase"."status" FROM "shop"."purchase" WHERE 1=1 GROUP BY "shop"."purchase"."status" HAVING COUNT(*) > $1 OFFSET $2 -- 0|0
SELECT COALESCE(JSONB_AGG("__prisma_data__"), '[]') AS "__prisma_data__" FROM (SELECT JSONB_BUILD_OBJECT('id', "t1"."id", 'total', "t1"."total") AS "__prisma_data__" FROM (SELECT "t0".* FROM "shop"."purchase" AS "t0" WHERE "t0"."user_id" = $1) AS "t1") AS "t2" -- 1
SELECT "u"."id", "u"."username", "p"."id" AS "p_id" FROM "auth_user" "u" LEFT JOIN LATERAL (SELECT * FROM "purchase" WHERE "user_id" = "u"."id" ORDER BY "placed" DESC LIMIT 1) "p" ON true ORDER BY 1 LIMIT 5
select nextval('shop.product_id_seq')
select nextval('product_id_seq'::regclass)
select pg_catalog.nextval('"shop"."purchase_id_seq"') as id
select currval('auth_user_id_seq') where false
SELECT "Extent1"."id" FROM "product" AS "Extent1" WHERE CAST("Extent1"."price" AS float8) > 1
select p1_0.id, p1_0.name, p1_0.price from product p1_0 where p1_0.name like $1 escape '' order by p1_0.id fetch first $2 rows only -- Pro%|3
select distinct p1_0.id, i1_0.quantity from purchase p1_0 join item i1_0 on p1_0.id = i1_0.purchase_id where i1_0.quantity >= $1 -- 2
insert into purchase (status, user_id) values ($1, $2) returning id, placed -- new|1
update purchase set status = case when total > 10 then 'big' else 'small' end where id between 1 and 3
select * from open_purchase where user_id = $1 -- 1
merge into product p using (values ('sku1', 'M')) v(sku, name) on p.sku = v.sku when matched then update set name = v.name when not matched then insert (sku, name, price) values (v.sku, v.name, 1)
"""

SESSION = """
BEGIN
SAVEPOINT "s1"
RELEASE SAVEPOINT "s1"
COMMIT
BEGIN ISOLATION LEVEL REPEATABLE READ
ROLLBACK
START TRANSACTION READ ONLY
SHOW TRANSACTION ISOLATION LEVEL
COMMIT
BEGIN DEFERRABLE
END
select pg_catalog.version()
select current_schema()
show standard_conforming_strings
show server_version
SELECT current_database(), current_user, session_user
SELECT pg_backend_pid()
SHOW timezone
SET TIME ZONE 'UTC'
SET application_name = 'dashboard'
SET client_encoding TO 'UTF8'
SET extra_float_digits = 3
SELECT set_config('TimeZone', 'UTC', false)
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED
SET standard_conforming_strings = on
SET DateStyle = ISO
SET client_min_messages TO WARNING
RESET ALL
DISCARD ALL
DEALLOCATE ALL
SHOW max_identifier_length
SELECT 1
SELECT 'ping'
select now(), clock_timestamp() is not null
select txid_current_if_assigned() is null
SELECT $1::int + $2::int -- 1|2
SELECT $1::text -- hello
SELECT $1::timestamptz at time zone 'UTC' -- 2026-01-01T00:00:00Z
select postern.x from (select 1 as x) postern
"""

DASHBOARDS = """
select date_trunc('day', placed) as day, status, count(*), sum(total), avg(total)::numeric(10,2) from purchase where placed >= now() - interval '10 years' group by 1, 2 order by 1 desc limit 100
select percentile_cont(array[0.5, 0.9, 0.99]) within group (order by total) from purchase
select status, count(*) filter (where total > 10) as big, round(100.0 * count(*) / sum(count(*)) over (), 2) as pct from purchase group by status
select *, row_number() over (partition by user_id order by placed desc) as rn from purchase limit 10
select user_id, total, lag(total) over w, lead(total) over w, sum(total) over (w rows between unbounded preceding and current row) from purchase window w as (partition by user_id order by placed) limit 20
with monthly as (select date_trunc('month', placed) m, sum(total) s from purchase group by 1) select m, s, s - lag(s) over (order by m) as change from monthly order by m
select coalesce(u.username, 'none') as who, sum(i.quantity * p.price) as revenue from item i join purchase o on o.id = i.purchase_id join auth_user u on u.id = o.user_id join product p on p.id = i.product_id group by rollup (u.username) order by revenue desc nulls last
select p.name, t.tag from product p cross join unnest(p.tags) as t(tag) limit 10
select tag, count(*) from product, unnest(tags) tag group by tag
select key, count(*) from product, jsonb_each_text(attrs) group by key order by 2 desc
select attrs -> 'size' as size, jsonb_typeof(attrs) from product where attrs ? 'color' and (attrs ->> 'size')::int > 5
select jsonb_path_query_array(attrs, '$.*') from product limit 3
select to_char(placed, 'YYYY-MM') as month, count(distinct user_id) from purchase group by 1
select extract(dow from placed) d, extract(hour from placed) h, count(*) from purchase group by 1, 2
select generate_series(date '2026-01-01', date '2026-01-07', interval '1 day')::date as day
select d::date, coalesce(sum(p.total), 0) from generate_series(date '2026-01-01', date '2026-01-31', interval '1 day') d left join purchase p on p.placed::date = d::date group by 1 order by 1
select width_bucket(total, 0, 100, 10) as bucket, count(*), min(total), max(total) from purchase group by 1 order by 1
select time_bucket, avg(value) from (select date_bin('15 minutes', at, timestamptz '2026-01-01') as time_bucket, value from metric where name = 'cpu') s group by 1 order by 1 limit 50
select name, (array_agg(value order by at desc))[1] as last from metric group by name
select string_agg(distinct status, ', ' order by status) from purchase
select json_agg(row_to_json(t)) from (select id, name from product limit 3) t
select json_build_object('items', json_agg(json_build_object('id', id, 'n', name))) from product
select id, total, ntile(4) over (order by total) q, rank() over (order by total), dense_rank() over (order by total), percent_rank() over (order by total) from purchase
select stddev_samp(total), variance(total), corr(total, id), regr_slope(total, id) from purchase
select case when total < 10 then 'low' when total < 30 then 'mid' else 'high' end as band, count(*) from purchase group by band order by band
select status from purchase union select 'none' order by 1
(select id from purchase order by id limit 2) union all (select id from purchase order by id desc limit 2)
select id from purchase except select purchase_id from item
select * from (values (1, 'a'), (2, 'b')) as v(id, label) join product p on p.id = v.id
select exists (select 1 from purchase where total > 1000), (select count(*) from product)
select count(*) from purchase where placed between '2026-01-01' and '2026-02-01' and status not in ('void') and total is not null
select name from product where name ilike '%duct 1%' or sku ~ '^sku[0-9]+$' order by length(name), name
select regexp_replace(name, '\\d+', '#', 'g'), split_part(sku, 'u', 2), initcap(name), md5(name) from product limit 3
select substring(name from 1 for 3) || '...' as short, position('d' in name), trim(both ' ' from name), overlay(name placing 'x' from 1 for 1) from product limit 3
select name, similarity from (select name, 0.5 as similarity from product) s where similarity > 0.1 limit 1
select greatest(price, 10), least(price, 10), round(price, 1), ceil(price), floor(price), abs(-price), mod(id, 2), power(price, 2), sqrt(price), ln(price) from product limit 2
select array(select id from product order by id limit 3), array[1, 2] || 3, array_length(tags, 1), tags[1], tags[1:2] from product limit 1
select cast(price as text), price::int, '1 day'::interval, date '2026-01-01' + 1, age(now(), placed) from product, purchase limit 1
select u.username, p.* from auth_user u left join lateral (select count(*) as n, max(placed) as last from purchase where user_id = u.id) p on true order by p.n desc limit 5
select distinct on (user_id) user_id, id, placed from purchase order by user_id, placed desc
select grouping(status), status, user_id, sum(total) from purchase group by grouping sets ((status), (user_id), ()) limit 5
select p.id from product p where p.price > all (select avg(price) from product) and p.id = any (array[1, 2, 30])
select p.id from product p where (p.id, p.sku) in ((1, 'sku1'), (2, 'sku2'))
select p.id from product p where not exists (select from item i where i.product_id = p.id)
select id, username, email from auth_user order by id limit 10
select * from auth_user limit 3
select u.* from auth_user u join purchase p on p.user_id = u.id where p.total > 50
select t.* from (select id, password from auth_user) t limit 2
explain select * from purchase where id = 1
explain (analyze, costs off, timing off) select count(*) from product
explain (format json) select p.name from product p join item i on i.product_id = p.id
table product
select x, y from generate_series(1, 2) x, generate_series(1, 2) y
select * from json_to_recordset('[{"a": 1, "b": "x"}]') as t(a int, b text)
select * from jsonb_populate_record(null::product, '{"id": 1}')
select (p).name from product p limit 1
select p from product p limit 1
select count(p) from product p
select host(inet '10.0.0.1'), network(inet '10.1.2.3/24'), gen_random_uuid() is not null
select to_tsvector('english', name) @@ to_tsquery('english', 'product') from product limit 1
select int4range(1, 5) @> 3, daterange('2026-01-01', '2026-02-01') && daterange('2026-01-15', null)
copy product (id, name) to stdout
copy (select status, count(*) from purchase group by 1) to stdout with (format csv, header)
declare c cursor for select id from product
"""

PGBENCH = """
SELECT abalance FROM pgbench_accounts WHERE aid = 17
UPDATE pgbench_accounts SET abalance = abalance + 5 WHERE aid = 17
UPDATE pgbench_tellers SET tbalance = tbalance + 5 WHERE tid = 1
UPDATE pgbench_branches SET bbalance = bbalance + 5 WHERE bid = 1
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, 17, 5, CURRENT_TIMESTAMP)
SELECT abalance FROM pgbench_accounts WHERE aid = $1 -- 18
select count(*) from pgbench_branches
select o.n, p.partstrat, pg_catalog.count(i.inhparent) from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on (n.oid = c.relnamespace) cross join lateral (select pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname)) as o(n) left join pg_catalog.pg_partitioned_table as p on (p.partrelid = c.oid) left join pg_catalog.pg_inherits as i on (c.oid = i.inhparent) where c.relname = 'pgbench_accounts' and o.n is not null group by 1, 2 order by 1 asc limit 1
"""

INTROSPECTION = """
SELECT c.relname, CASE WHEN c.relispartition THEN 'p' WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END, obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v') AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND pg_catalog.pg_table_is_visible(c.oid)
SELECT a.attname AS column_name, NOT (a.attnotnull OR (t.typtype = 'd' AND t.typnotnull)) AS is_nullable, pg_get_expr(ad.adbin, ad.adrelid) AS column_default, CASE WHEN collname = 'default' THEN NULL ELSE collname END AS collation, a.attidentity != '' AS is_autofield, col_description(a.attrelid, a.attnum) AS column_comment FROM pg_attribute a LEFT JOIN pg_attrdef ad ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum LEFT JOIN pg_collation co ON a.attcollation = co.oid JOIN pg_type t ON a.atttypid = t.oid JOIN pg_class c ON a.attrelid = c.oid JOIN pg_namespace n ON c.relnamespace = n.oid WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v') AND c.relname = $1 AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND pg_catalog.pg_table_is_visible(c.oid) -- product
SELECT c.conname, array(SELECT attname FROM unnest(c.conkey) WITH ORDINALITY cols(colid, arridx) JOIN pg_attribute AS ca ON cols.colid = ca.attnum WHERE ca.attrelid = c.conrelid ORDER BY cols.arridx), c.contype, (SELECT fkc.relname || '.' || fka.attname FROM pg_attribute AS fka JOIN pg_class AS fkc ON fka.attrelid = fkc.oid WHERE fka.attrelid = c.confrelid AND fka.attnum = c.confkey[1]), cl.reloptions FROM pg_constraint AS c JOIN pg_class AS cl ON c.conrelid = cl.oid WHERE cl.relname = $1 AND pg_catalog.pg_table_is_visible(cl.oid) -- purchase
SELECT indexname, array_agg(attname ORDER BY arridx), indisunique, indisprimary, array_agg(ordering ORDER BY arridx), amname, exprdef, s2.attoptions FROM (SELECT c2.relname as indexname, idx.*, attr.attname, am.amname, CASE WHEN idx.indexprs IS NOT NULL THEN pg_get_indexdef(idx.indexrelid) END AS exprdef, CASE am.amname WHEN 'btree' THEN CASE (option & 1) WHEN 1 THEN 'DESC' ELSE 'ASC' END END as ordering, c2.reloptions as attoptions FROM (SELECT * FROM pg_index i, unnest(i.indkey, i.indoption) WITH ORDINALITY koi(key, option, arridx)) idx LEFT JOIN pg_class c ON idx.indrelid = c.oid LEFT JOIN pg_class c2 ON idx.indexrelid = c2.oid LEFT JOIN pg_am am ON c2.relam = am.oid LEFT JOIN pg_attribute attr ON attr.attrelid = c.oid AND attr.attnum = idx.key WHERE c.relname = $1 AND pg_catalog.pg_table_is_visible(c.oid)) s2 GROUP BY indexname, indisunique, indisprimary, amname, exprdef, attoptions -- product
SELECT s.relname AS sequence_name, a.attname AS colname FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass JOIN pg_attribute a ON d.refobjid = a.attrelid AND d.refobjsubid = a.attnum JOIN pg_class tbl ON tbl.oid = d.refobjid AND tbl.relname = $1 AND pg_catalog.pg_table_is_visible(tbl.oid) WHERE s.relkind = 'S' -- product
SELECT namespace.nspname as namespace_name, tbl.relname as table_name FROM pg_class AS tbl INNER JOIN pg_namespace AS namespace ON namespace.oid = tbl.relnamespace WHERE namespace.nspname = ANY($1) AND tbl.relkind IN ('r', 'p') ORDER BY namespace_name, table_name -- {shop}
SELECT oid.namespace, info.table_name, info.column_name, format_type(att.atttypid, att.atttypmod) as formatted_type, info.numeric_precision, info.is_nullable, info.data_type, info.udt_name FROM information_schema.columns info JOIN pg_attribute att ON att.attname = info.column_name JOIN (SELECT pg_class.oid, relname, pg_namespace.nspname as namespace FROM pg_class JOIN pg_namespace on pg_namespace.oid = pg_class.relnamespace AND pg_namespace.nspname = ANY($1)) as oid on oid.oid = att.attrelid AND relname = info.table_name AND namespace = info.table_schema ORDER BY namespace, table_name, ordinal_position -- {shop}
WITH rawindex AS (SELECT indrelid, indexrelid, indisunique, indisprimary, unnest(indkey) AS indkeyid, generate_subscripts(indkey, 1) AS indkeyidx, unnest(indclass) AS indclass, unnest(indoption) AS indoption FROM pg_index WHERE indpred IS NULL) SELECT schemainfo.nspname AS namespace, indexinfo.relname AS index_name, tableinfo.relname AS table_name, columninfo.attname AS column_name, rawindex.indisunique AS is_unique FROM rawindex INNER JOIN pg_class AS tableinfo ON tableinfo.oid = rawindex.indrelid INNER JOIN pg_class AS indexinfo ON indexinfo.oid = rawindex.indexrelid INNER JOIN pg_namespace AS schemainfo ON schemainfo.oid = tableinfo.relnamespace LEFT JOIN pg_attribute AS columninfo ON columninfo.attrelid = tableinfo.oid AND columninfo.attnum = rawindex.indkeyid WHERE schemainfo.nspname = ANY($1) ORDER BY 1, 2 -- {shop}
SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1
SELECT t.typname as name, n.nspname as namespace, e.enumlabel as value FROM pg_type t JOIN pg_enum e ON t.oid = e.enumtypid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
SELECT ext.extname AS extension_name, ext.extversion AS extension_version, extns.nspname AS extension_schema FROM pg_extension AS ext INNER JOIN pg_namespace AS extns ON ext.extnamespace = extns.oid
SELECT EXISTS(SELECT 1 FROM pg_namespace WHERE nspname = $1), version(), current_setting('server_version_num')::integer as numeric_version -- shop
SELECT c.oid, c.relname AS name, description.description FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description description ON (description.objoid = c.oid AND description.objsubid = 0 AND description.classoid = 'pg_class'::regclass) WHERE c.relkind IN ('r', 's', 't', 'p') AND c.relnamespace = 2200::oid ORDER BY c.relname
SELECT nsp.oid, nsp.nspname as name, pg_catalog.has_schema_privilege(nsp.oid, 'CREATE') as can_create, pg_catalog.has_schema_privilege(nsp.oid, 'USAGE') as has_usage, des.description FROM pg_catalog.pg_namespace nsp LEFT OUTER JOIN pg_catalog.pg_description des ON (des.objoid = nsp.oid AND des.classoid = 'pg_namespace'::regclass) WHERE nspname NOT LIKE E'pg\\\\_%' ORDER BY nspname
SELECT rel.oid, rel.relname AS name, (SELECT count(*) FROM pg_catalog.pg_trigger WHERE tgrelid = rel.oid AND tgisinternal = FALSE) AS triggercount, (SELECT count(1) FROM pg_catalog.pg_inherits WHERE inhrelid = rel.oid LIMIT 1) as is_inherits FROM pg_catalog.pg_class rel WHERE rel.relkind IN ('r', 's', 't', 'p') AND rel.relnamespace = (select oid from pg_namespace where nspname = 'shop') ORDER BY rel.relname
SELECT att.attname as name, att.attnum as "OID", pg_catalog.format_type(ty.oid, att.atttypmod) AS datatype, att.attnotnull as not_null, des.description FROM pg_catalog.pg_attribute att JOIN pg_catalog.pg_type ty ON ty.oid = atttypid LEFT OUTER JOIN pg_catalog.pg_description des ON (des.objoid = att.attrelid AND des.objsubid = att.attnum AND des.classoid = 'pg_class'::regclass) WHERE att.attrelid = 'shop.product'::regclass::oid AND att.attnum > 0 AND att.attisdropped IS FALSE ORDER BY att.attnum
SELECT roles.oid as id, roles.rolname as name, roles.rolsuper as is_superuser, CASE WHEN roles.rolsuper THEN true ELSE roles.rolcreaterole END as can_create_role FROM pg_catalog.pg_roles as roles WHERE rolname = current_user
SELECT db.oid as did, db.datname, db.datallowconn, pg_catalog.pg_encoding_to_char(db.encoding) AS serverencoding, pg_catalog.has_database_privilege(db.oid, 'CREATE') as cancreate, datistemplate FROM pg_catalog.pg_database db WHERE db.datname = current_database()
SELECT pg_catalog.pg_get_viewdef('shop.open_purchase'::regclass, true)
SELECT pg_catalog.pg_size_pretty(pg_catalog.pg_table_size('shop.product'::regclass)), pg_total_relation_size('shop.product')
SELECT conname, pg_catalog.pg_get_constraintdef(oid, true) FROM pg_catalog.pg_constraint WHERE conrelid = 'shop.item'::regclass
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'shop'
SELECT tablename FROM pg_tables WHERE schemaname = ANY (current_schemas(false))
SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
SELECT column_name, data_type, is_nullable, column_default, character_maximum_length FROM information_schema.columns WHERE table_schema = 'shop' AND table_name = 'product' ORDER BY ordinal_position
SELECT tc.constraint_name, kcu.column_name, ccu.table_name AS foreign_table_name FROM information_schema.table_constraints tc JOIN information_schema.key_column_usage kcu ON tc.constraint_name = kcu.constraint_name JOIN information_schema.constraint_column_usage ccu ON ccu.constraint_name = tc.constraint_name WHERE tc.constraint_type = 'FOREIGN KEY'
SELECT schema_name FROM information_schema.schemata
SELECT routine_name FROM information_schema.routines WHERE routine_schema = 'shop'
SELECT t.oid, t.typname, t.typarray FROM pg_type t WHERE t.typname IN ('int4', 'text', 'hstore')
SELECT typname, oid, typarray, typelem, typdelim FROM pg_catalog.pg_type WHERE typname = $1 ORDER BY oid -- citext
SELECT ns.nspname, t.typname, t.oid, t.typtype, t.typbasetype, t.typelem, t.typrelid FROM pg_type t JOIN pg_namespace ns ON ns.oid = t.typnamespace WHERE t.oid = ANY($1::oid[]) -- {23,25}
SELECT ns.nspname, a.typname, a.oid, a.typtype, CASE WHEN pg_proc.proname = 'array_recv' THEN a.typelem ELSE 0 END AS elemoid FROM pg_type AS a JOIN pg_namespace AS ns ON (ns.oid = a.typnamespace) JOIN pg_proc ON pg_proc.oid = a.typreceive LEFT OUTER JOIN pg_class AS cls ON (cls.oid = a.typrelid) WHERE a.typtype IN ('b', 'r', 'm', 'e', 'd') LIMIT 5
SELECT TRUE FROM pg_attribute WHERE attrelid = 'shop.product'::regclass AND attname = 'sku'
SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) AS comment, attidentity AS identity, attgenerated as attgenerated FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid LEFT JOIN pg_collation c ON a.attcollation = c.oid AND a.attcollation <> t.typcollation WHERE a.attrelid = '"product"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME, CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema' WHEN true THEN 'SYSTEM' ELSE 'TABLE' END AS TABLE_TYPE FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'v') ORDER BY 3 LIMIT 20
SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, ct.relname AS TABLE_NAME, a.attname AS COLUMN_NAME, (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS PK_NAME FROM pg_catalog.pg_class ct JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid) JOIN pg_catalog.pg_index i ON (a.attrelid = i.indrelid) JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) WHERE i.indisprimary AND n.nspname = 'shop' LIMIT 5
SELECT e.typdelim FROM pg_catalog.pg_type t, pg_catalog.pg_type e WHERE t.oid = 1007 and t.typelem = e.oid
SELECT pg_catalog.obj_description('shop.product'::regclass), pg_catalog.shobj_description(0, 'pg_database')
SELECT p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid), l.lanname FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'shop'
SELECT name, setting, unit, category, short_desc FROM pg_settings WHERE name IN ('server_version', 'TimeZone')
SELECT c.reltuples::bigint AS estimate FROM pg_class c WHERE c.oid = 'shop.product'::regclass
SELECT inhrelid::regclass::text AS child FROM pg_catalog.pg_inherits WHERE inhparent = 'shop.metric'::regclass
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
SELECT has_table_privilege('shop.product', 'SELECT'), has_schema_privilege('shop', 'USAGE'), pg_has_role(current_user, 'pn_write', 'MEMBER')
SELECT to_regclass('shop.product'), to_regclass('nope') IS NULL, 'shop.product'::regclass::oid > 0
SELECT pg_get_serial_sequence('shop.product', 'id'), pg_get_userbyid(10)
SELECT a.amname, o.opcname FROM pg_am a JOIN pg_opclass o ON o.opcmethod = a.oid LIMIT 3
"""
