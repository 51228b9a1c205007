"""Output verdicts and uses: what depends on which column, and how."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.sql.catalog import Catalog
from gateway.sql.facts import ColumnRef, StatementFacts
from tests.unit.sql.conftest import Analyse

Names = Callable[[StatementFacts], list[tuple[str, str, str]]]

OUTPUTS: list[tuple[str, list[tuple[str, str, str]]]] = [
    ("select email from customers", [("email", "direct", "email")]),
    ("select c.email as e from customers c", [("e", "direct", "email")]),
    ("select (c).email from customers c", [("email", "direct", "email")]),
    ("select (tt).* from app.t tt", [("a", "direct", "a"), ("b", "direct", "b"), ("c", "direct", "c")]),
    ("select x from customers as c(i, n, x)", [("x", "direct", "email")]),
    ("select e from (select email from customers) s(e)", [("e", "direct", "email")]),
    ("with q(e) as (select email from customers) select e from q", [("e", "direct", "email")]),
    ("select l.e from customers c, lateral (select c.email e) l", [("e", "direct", "email")]),
    ("select a from app.t join app.u using (a)", [("a", "direct", "a")]),
    ("select a from app.t full join app.u using (a)", [("a", "derived", "a,a")]),
    ("select upper(email) from customers", [("upper", "derived", "email")]),
    ("select email::text from customers", [("email", "derived", "email")]),
    ("select (select email from customers limit 1)", [("email", "derived", "email")]),
    ("select email from customers union all select note from orders",
     [("email", "derived", "email,note")]),
    ("select max(email) from customers", [("max", "derived", "email")]),
    ("select case when true then email end from customers", [("case", "derived", "email")]),
    ("select count(*) from customers", [("count", "clear", "")]),
    ("select 1, 'x' y, now()", [("?column?", "clear", ""), ("y", "clear", ""),
                                ("now", "clear", "")]),
    ("select (home).city from customers", [("city", "derived", "home")]),
    ("select email from v_cust", [("email", "direct", "email")]),
    ("insert into app.t values (1) returning a, b || 'x'",
     [("a", "direct", "a"), ("?column?", "derived", "b")]),
    ("select x from unnest(array['a']) x", [("x", "clear", "")]),
    ("select x from customers, unnest(tags) x", [("x", "derived", "tags")]),
    ("select k from events, jsonb_object_keys(payload) k", [("k", "derived", "payload")]),
    ("with recursive r(n, e) as (select 1, email from customers union all "
     "select n + 1, e from r) select e from r", [("e", "derived", "email")]),
    ("with recursive r(a, b) as (select ''::text, email from customers union all "
     "select b, a from r) select a from r", [("a", "derived", "email")]),
    ("select f.email from f_srf(1) f", [("email", "derived", "email")]),
    ("select (f_srf(1)).email", [("email", "derived", "email")]),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), OUTPUTS, ids=[sql for sql, _ in OUTPUTS])
def test_outputs(
    facts: Analyse, names: Names, sql: str, expected: list[tuple[str, str, str]]
) -> None:
    assert names(facts(sql)) == expected


# Each statement uses customers.email at that place; the verdict on outputs would not show it.
USES = [
    ("select id from customers where email like 'a%'", "where"),
    ("select id from customers where email is null", "where"),
    ("select id from customers order by email", "order"),
    ("select email from customers order by 1", "order"),
    ("select id as n from customers order by length(email)", "order"),
    ("select email as n from customers order by n", "order"),
    ("select count(*) from customers group by email", "group"),
    ("select distinct email from customers", "distinct"),
    ("select distinct on (email) id from customers", "distinct"),
    ("select id from customers group by id having max(email) > 'a'", "where"),
    ("select count(email) from customers", "aggregate"),
    ("select string_agg(name, ',' order by email) from customers", "order"),
    ("select count(*) filter (where email = 'x') from customers", "aggregate"),
    ("select row_number() over (order by email) from customers", "order"),
    ("select sum(id) over (partition by email) from customers", "window"),
    ("select count(*) over w from customers window w as (partition by email)", "window"),
    ("select c from customers c", "whole_row"),
    ("select row_to_json(c) from customers c", "whole_row"),
    ("select row(c.*) from customers c", "whole_row"),
    ("select count(c) from customers c", "whole_row"),
    ("select 1 from customers c where c is null", "whole_row"),
    ("select o.id from orders o join customers c on c.email = o.note", "join"),
    ("select 1 from customers a join customers b using (email)", "join"),
    ("select 1 from customers a natural join v_cust", "join"),
    ("select email from customers union select 'x'", "distinct"),
    ("select email from customers intersect all select 'x'", "distinct"),
    ("select upper(email) from customers", "expression"),
    ("select case when email = 'x' then 1 end from customers", "expression"),
    ("select 1 from orders where note in (select email from customers)", "where"),
    ("select id from customers limit (select length(email) from customers limit 1)", "limit"),
    ("select x from customers, lateral generate_series(1, length(email)) x", "function"),
    ("insert into app.t (b) select email from customers", "source"),
    ("insert into app.t (b) values ((select email from customers))", "source"),
    ("update customers set name = email", "assign"),
    ("update app.t set b = email from customers c where c.id = a", "assign"),
    ("update customers set name = 'x' where email = 'y'", "equality"),
    ("delete from customers where email = 'y'", "equality"),
    ("update customers set name = 'x' returning upper(email)", "returning"),
    ("create table app.n as select email from customers", "source"),
    ("create view app.n as select email from customers", "source"),
    ("copy customers to '/tmp/x'", "copy"),
    ("copy (select email from customers) to program 'x'", "copy"),
    ("copy (select upper(email) from customers) to stdout", "expression"),
    ("declare c cursor for select upper(email) from customers", "expression"),
    ("explain select email from customers", "explain"),
    ("alter table customers alter name type text using email", "assign"),
    ("alter table customers add z text generated always as (email) stored", "source"),
    ("create unique index on customers (email)", "where"),
    ("create index on customers (lower(email))", "where"),
    ("insert into customers (id) values (1) on conflict (email) do nothing", "where"),
    ("merge into app.t using customers c on t.b = c.email when matched then delete", "join"),
    ("with x as (select email e from customers) select 1 from x where e = 'a'", "equality"),
    ("select 1 from (select email e from customers) s order by e", "order"),
    ("table customers order by email", "order"),
]


@pytest.mark.parametrize(("sql", "place"), USES)
def test_uses(facts: Analyse, catalog: Catalog, sql: str, place: str) -> None:
    found = {(use.name, use.place) for use in facts(sql).uses}
    assert ("email", place) in found, found


def column(catalog: Catalog, relation: str, name: str, schema: str = "sales") -> ColumnRef:
    found = catalog.relations[schema, relation]
    return ColumnRef(found.oid, found.by_name[name].attnum)


def test_views_expose_what_they_read(catalog: Catalog) -> None:
    email = column(catalog, "customers", "email")
    assert catalog.exposes(*column(catalog, "v_cust", "email"))[0] == "direct"
    assert email in catalog.lineage(*column(catalog, "v_cust", "email"))
    assert email in catalog.lineage(*column(catalog, "v_two", "email"))
    assert email not in catalog.lineage(*column(catalog, "v_two", "total"))
    verdict, sources = catalog.exposes(*column(catalog, "v_cust", "lname"))
    assert verdict == "derived"
    assert column(catalog, "customers", "name") in sources
    assert catalog.exposes(*column(catalog, "v_union", "x"))[0] == "derived"
    assert email in catalog.lineage(*column(catalog, "v_union", "x"))


def test_children_partitions_and_generated_columns_inherit(catalog: Catalog) -> None:
    parent, child = (column(catalog, t, "secret", "app") for t in ("parent", "child"))
    assert parent in catalog.lineage(*child)
    assert child in catalog.lineage(*parent)
    assert column(catalog, "events", "payload") in catalog.lineage(
        *column(catalog, "events_2024", "payload")
    )
    verdict, sources = catalog.exposes(*column(catalog, "orders", "note_lower"))
    assert verdict == "derived"
    assert column(catalog, "orders", "note") in sources


def test_outer_column_behind_an_uncertain_function_is_not_lost(facts: Analyse) -> None:
    """Goal: a function in FROM whose columns depend on types hides no outer column.

    With a composite array, `email` inside is the outer table's column, not the function's.
    """
    found = facts("select (select email from unnest($1) email) from customers")
    assert found.outputs is not None
    assert found.outputs[0].sources


@pytest.mark.parametrize(
    ("sql", "compared"),
    [
        ("insert into app.logins (id, mail) values (1, 'x')", {"mails.mail"}),
        ("insert into app.logins (id, label, pin) values (1, 'a', 2)", set()),
        ("insert into app.logins values (1)", set()),
        ("update app.logins set mail = 'x'", {"mails.mail"}),
        ("update app.logins set label = 'x'", {"logins.pin"}),
        ("update app.logins set pin = 1", {"logins.label"}),
        ("update app.logins set label = 'x', pin = 1", set()),
        ("delete from app.mails", {"logins.mail"}),
        ("update app.mails set mail = 'x'", {"logins.mail"}),
        ("update app.mails set id = 1", set()),
        ("copy app.logins (id, mail) from stdin", {"mails.mail"}),
        (
            "insert into app.logins (id) values (1) on conflict (id) do update set mail = 'x'",
            {"mails.mail"},
        ),
        (
            "merge into app.logins l using app.t on false when not matched then "
            "insert (id, mail) values (1, 'x')",
            {"mails.mail"},
        ),
        (
            "merge into app.mails m using app.t on true when matched then delete",
            {"logins.mail"},
        ),
    ],
)
def test_writes_use_what_constraints_compare(
    facts: Analyse, catalog: Catalog, sql: str, compared: set[str]
) -> None:
    """Goal: a write that succeeds or fails with a hidden value counts as using it."""
    found = facts(sql)
    assert {
        f"{catalog.relation_ref(use.column.relation_oid).name}.{use.name}"
        for use in found.uses
        if use.place == "constraint"
    } == compared
