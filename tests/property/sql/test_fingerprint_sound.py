"""Statements of one fingerprint have one verdict, or are not cached by fingerprint.

The worker reuses a decision for every text of the same fingerprint when the facts say
`cache == "fingerprint"`. So other constants in the same places must give equal facts.
"""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from _fastpath.fingerprint import fingerprint
from gateway.errors import ClientError
from gateway.sql.analyze import analyze
from gateway.sql.catalog import Catalog
from gateway.sql.facts import StatementFacts
from tests.unit.sql.conftest import catalog  # noqa: F401

TEMPLATES = [
    "select id, email from customers where id = {i}",
    "select id from customers where name = {s} and email like {s}",
    "select id, {i}, {s} from customers order by {i}",
    "select name, count(*) from customers group by {i}",
    "select id from customers limit {i} offset {i}",
    "select {s}::regclass",
    "select lower({s}), upper({s}), {i} + {i}",
    "select nextval({s})",
    "select current_setting({s})",
    "select set_config({s}, {s}, true)",
    "select to_jsonb(c) ->> {s} from customers c",
    "select payload ->> {s} from events",
    "insert into app.t values ({i}, {s}, {i})",
    "insert into app.audited values ({i}, {s})",
    "update app.t set b = {s} where a = {i}",
    "update app.t set b = {s} where {i} = {i}",
    "update app.t set b = {s} where a > {i}",
    "delete from app.t where b = {s} or {i} = {i}",
    "set application_name = {s}",
    "set extra_float_digits = {i}",
    "set datestyle = {s}",
    "select pg_table_size({s})",
    "select generate_series({i}, {i})",
    "select repeat({s}, {i})",
    "select {s} |+| name from customers",
    "select x from unnest(array[{s}, {s}]) x",
    "select id from customers where id in ({i}, {i}) and tags @> array[{s}]",
    "copy app.t to stdout (format {s})",
    "explain (analyze {s}) select 1",
    "select has_table_privilege({s}, {s})",
    "select extract(year from created), date_trunc({s}, created) from customers",
    "select (array[{i}, {i}])[{i}] from customers",
    "fetch {i} from c",
    "select distinct on ({i}) id, name from customers",
    "select row_number() over (order by id rows {i} preceding) from customers",
    "select interval {s}",
    "merge into app.t using app.u on t.a = {i} when matched then delete",
    "notify x, {s}",
    "with recursive r(n) as (select {i} union all select n + {i} from r) select * from r limit {i}",
]
NUMBERS = st.sampled_from(["0", "1", "2", "3", "7", "2147483647"])
TEXTS = st.sampled_from(
    "'' 'a' 'sales.customers' 'sales.sq' 'pg_authid' 'search_path' 'role' 'jit' 'off' 'csv' 'text' "
    "'ISO' 'german' 'true' 'sales.salaries' '1 day' 'server_version' '%' 'email'".split(" ")
)


def outcome(sql: str, at: Catalog) -> StatementFacts | type[ClientError]:
    try:
        (found,) = analyze(sql.encode(), at, search_path=("sales", "app"))
    except ClientError as error:
        return type(error)
    return found


@given(st.sampled_from(TEMPLATES), st.lists(st.tuples(NUMBERS, TEXTS), min_size=12, max_size=12))
def test_constants_do_not_change_what_is_cached_by_shape(
    catalog: Catalog,  # noqa: F811
    template: str,
    values: list[tuple[str, str]],
) -> None:
    """Goal: no constant reaches a shared decision. Method: fill one template twice."""
    texts = [fill(template, values[:6]), fill(template, values[6:])]
    shapes = {fingerprint(text.encode()) for text in texts}
    found = [outcome(text, catalog) for text in texts]
    shared = [f for f in found if isinstance(f, StatementFacts) and f.cache == "fingerprint"]
    if len(shapes) == 1 and None not in shapes and shared:
        assert found[0] == found[1]


def fill(template: str, values: list[tuple[str, str]]) -> str:
    source = iter(values)
    return re.sub(r"\{(i|s)\}", lambda m: next(source)[0 if m[1] == "i" else 1], template)
