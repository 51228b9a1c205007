"""Forms that newer servers know: understood there with the server's own columns, else refused."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from gateway.errors import NotUnderstood
from gateway.sql.analyze import analyze
from gateway.sql.catalog_load import load_catalog

PATH = ("sales", "app")
FORMS = [
    (160000, "select json_object('a': email) from customers"),
    (160000, "select json_arrayagg(email order by id) from customers"),
    (160000, "select json_array(select email from customers)"),
    (160000, "select payload is json from events"),
    (160000, "select system_user"),
    (170000, "select json_value(payload, '$.a'), json_exists(payload, '$.b') from events"),
    (
        170000,
        "select t.* from events, json_table(payload, '$' columns (a int path '$.a', "
        "nested path '$.b[*]' columns (x text path '$'))) t",
    ),
    (
        170000,
        "merge into orders o using customers c on o.customer_id = c.id "
        "when matched then delete returning merge_action(), o.id, c.email",
    ),
    (
        180000,
        "update customers set name = 'x' where id = 1 "
        "returning with (old as o, new as n) o.email, n.*, o as whole",
    ),
]


@pytest.mark.parametrize(("since", "sql"), FORMS)
def test_columns_are_the_servers(dsn: str, since: int, sql: str) -> None:
    async def run() -> tuple[list[str], list[str]] | None:
        connection = await asyncpg.connect(dsn)
        try:
            catalog = await load_catalog(connection)
            if catalog.server_version < since:
                with pytest.raises(NotUnderstood):
                    analyze(sql.encode(), catalog, search_path=PATH)
                return None
            await connection.execute("set search_path = sales, app")
            described = (await connection.prepare(sql)).get_attributes()
            (found,) = analyze(sql.encode(), catalog, search_path=PATH)
            return [o.name for o in found.outputs or ()], [a.name for a in described]
        finally:
            await connection.close()

    names = asyncio.run(run())
    if names is not None:
        assert names[0] == names[1]
