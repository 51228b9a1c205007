"""Uses of a masked column that would tell its value: each refused, with words that help."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from tests.support.stands import Stand

REFUSED = [
    "select id from sales.customers where email = 'secret7@mail.example'",
    "select id from sales.customers where email like 'secret7%'",
    "select id from sales.customers order by email",
    "select count(*) from sales.customers group by email",
    "select email, count(*) from sales.customers group by 1",
    "select distinct email from sales.customers",
    "select distinct on (email) id from sales.customers",
    "select max(email) from sales.customers",
    "select string_agg(email, ',') from sales.customers",
    "select upper(email) from sales.customers",
    "select email || '' from sales.customers",
    "select email::text || '' from sales.customers",
    "select email::bytea from sales.customers",
    "select length(email) from sales.customers",
    "select case when email > 'm' then 1 else 0 end from sales.customers",
    "select coalesce(email, '') from sales.customers",
    "select (email) is null from sales.customers",
    "select array[email] from sales.customers",
    "select row(email) from sales.customers",
    "select c from sales.customers c",
    "select row_to_json(c) from sales.customers c",
    "select to_jsonb(c) from sales.customers c",
    "select json_agg(c) from sales.customers c",
    "select c::text from sales.customers c",
    "select (select email from sales.customers limit 1)",
    "select exists (select 1 from sales.customers where ssn = '123-45-6007')",
    "select o.id from sales.orders o join sales.customers c on c.email = o.amount::text",
    "select id from sales.customers natural join sales.customer_contacts",
    "select customers.id from sales.customers join sales.customer_contacts using (email)",
    "select email from sales.customers union select email from sales.customers",
    "select email from sales.customers intersect select email from sales.customers",
    "select row_number() over (order by email) from sales.customers",
    "select lag(email) over (order by id) from sales.customers",
    "select count(*) filter (where email like 's%') from sales.customers",
    "select id from sales.customers where (select email from sales.customers limit 1) = 'x'",
    "select id from sales.customers group by id having max(email) > 'a'",
    "values ((select email from sales.customers limit 1))",
    "select * from sales.customers where id = 1 for update of customers"
    " union select * from sales.customers",
    "insert into sales.refunds (note) select email from sales.customers",
    "insert into sales.refunds (note) values ((select email from sales.customers limit 1))",
    "update sales.refunds set note = (select email from sales.customers limit 1) where id = 1",
    "update sales.refunds r set note = c.email from sales.customers c where r.id = c.id",
    "update sales.customers set name = email where id = 1",
    "update sales.customers set name = 'x' where email = 'secret7@mail.example'",
    "delete from sales.customers where email like 'secret7%'",
    "delete from sales.refunds r using sales.customers c where c.email = r.note",
    "insert into sales.refunds (note) values ('x') returning"
    " (select email from sales.customers limit 1)",
    "merge into sales.refunds r using sales.customers c on c.id = r.id"
    " when matched then update set note = c.email",
    "create temp table leak as select email from sales.customers",
    "select email into temp leak from sales.customers",
    "create temp view leak as select email from sales.customers",
    "copy sales.customers to '/tmp/x'",
    "copy (select id, upper(email) from sales.customers) to stdout",
    "copy sales.customer_contacts to stdout",
    "copy sales.events to stdout",
    "explain analyze select * from sales.customers where email = 'x'",
    "prepare p as select upper(email) from sales.customers",
    "declare c cursor for select upper(email) from sales.customers",
    "select * from sales.customer_contacts where email = 'secret7@mail.example'",
    "select upper(email) from sales.events_2026",
    "select histogram_bounds from pg_stats where tablename = 'customers'",
    "select stavalues1 from pg_statistic",
    "select query_to_xml('select email from sales.customers', true, true, '')",
    "select table_to_xml('sales.customers', true, true, '')",
    "select string_agg(x.e, '') from (select email e from sales.customers) x",
    "with s as (select email e from sales.customers) select id from sales.orders, s where e > 'a'",
    'select email collate "C" from sales.customers',
    "select nullif(email, 'a') from sales.customers",
    "select greatest(email, name) from sales.customers",
    "select email from sales.customers order by 1",
    "select id, email as e from sales.customers order by e",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_refused_use(stand: Stand, sql: str) -> None:
    """Both protocols refuse; the server never sees it; neither error holds a value."""
    word = f"w{uuid.uuid4().hex}"
    marked = f"{sql} /* {word} */".encode()
    with stand.gateway.connect() as connection:
        for cursor in (connection.cursor(), psycopg.ClientCursor(connection)):
            with pytest.raises(psycopg.Error) as caught:
                cursor.execute(marked)
            assert caught.value.sqlstate in {"42501", "0A000", "25006", "42601"}
            assert str(caught.value).startswith("PN")
    assert not stand.server_saw(word)


@pytest.mark.parametrize("sql", [s for s in REFUSED[:30] if "email" in s])
def test_refusal_names_the_mask(stand: Stand, sql: str) -> None:
    with (
        stand.gateway.connect() as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="PN307"),
    ):
        connection.execute(sql.encode())
