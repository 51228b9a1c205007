"""Random statements over the two worlds: valid often enough, hostile often enough."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

Columns = tuple[tuple[str, str], ...]  # name, type letter

INT, TEXT, BOOL, DATE, JSON, ARRAY, FLOAT = "itbdjaf"
TABLES: Final[dict[str, Columns]] = {
    "customers": (("id", INT), ("name", TEXT), ("email", TEXT), ("ssn", TEXT), ("tags", ARRAY)),
    "orders": (("id", INT), ("customer_id", INT), ("note", TEXT)),
    "contacts": (("id", INT), ("mail", TEXT)),
    "logins": (("id", INT), ("mail", TEXT)),
    "pairs": (("id", INT), ("label", TEXT), ("pin", INT)),
    "notes": (("id", INT), ("owner", TEXT)),
    "docs": (
        ("id", INT), ("body", JSON), ("tags", ARRAY), ("pin", INT), ("due", DATE),
        ("flag", BOOL), ("score", FLOAT), ("half", INT),
    ),
    "plain": (("id", INT), ("word", TEXT), ("amount", INT)),
    "v_cust": (("id", INT), ("email", TEXT), ("lname", TEXT)),
    "v_two": (("email", TEXT),),
    "v_union": (("x", TEXT),),
    "v_secure": (("id", INT), ("email", TEXT)),
    "m_docs": (("id", INT), ("pin", INT), ("due", DATE)),
    "app.parent": (("id", INT), ("secret", TEXT)),
    "app.child": (("id", INT), ("secret", TEXT), ("extra", TEXT)),
    "app.t": (("a", INT), ("b", TEXT), ("c", INT)),
    "salaries": (("employee", INT), ("amount", INT)),
}  # fmt: skip
# In the worlds' policy, and what is made of them.
MASKED: Final = frozenset(
    "email ssn mail secret pin owner body due flag score half x amount".split()
)
_LITERALS: Final = {
    INT: ("0", "1", "2", "-1", "80000", "null"),
    TEXT: ("''", "'a'", "'xq%'", "'w'", "null", "$$b$$", "E'\\x41'", "U&'\\0061'"),
    BOOL: ("true", "false", "null"),
    DATE: ("date '2020-06-01'", "current_date"),
    JSON: ("'{}'::jsonb", "'{\"k\": 1}'::jsonb"),
    ARRAY: ("'{}'::text[]", "array['a']"),
    FLOAT: ("0.5", "1e3"),
}
_CALLS: Final = {
    INT: ("length({t})", "({i} + {i})", "abs({i})", "coalesce({i}, {i})", "({b})::int",
          "ascii({t})", "case when {b} then {i} else {i} end", "({d} - {d})", "cardinality({a})",
          "strpos({t}, {t})", "greatest({i}, {i})", "{i}::int", "(select {i})", "nullif({i}, {i})"),
    TEXT: ("upper({t})", "({t} || {t})", "left({t}, {i})", "md5({t})", "{i}::text", "({j} ->> 'k')",
           "coalesce({t}, {t})", "array_to_string({a}, ',')", "({a})[1]", "format('%s', {t})",
           "case when {b} then {t} end", "(select {t})", '{t} collate "C"', "to_char({d}, 'YYYY')",
           "concat({t}, {i})", "nullif({t}, {t})", "quote_literal({t})", "reverse({t})"),
    BOOL: ("({t} = {t})", "({i} > {i})", "({t} like {t})", "({t} is null)", "not {b}",
           "({b} or {b})", "({d} > {d})", "({a} && {a})", "({j} ? 'k')", "({i} in ({i}, {i}))",
           "({t} < {t})", "({t} is distinct from {t})", "({i} = any (array[{i}]))"),
    DATE: ("({d} + 1)", "coalesce({d}, {d})", "least({d}, {d})"),
    JSON: ("to_jsonb({t})", "jsonb_build_object('x', {t})", "({j} -> 'k')", "({j} || {j})"),
    ARRAY: ("array[{t}]", "string_to_array({t}, '-')", "({a} || {t})", "({a} || {a})"),
    FLOAT: ("({f} * 2)", "{i}::float8", "sqrt(abs({f}))"),
}  # fmt: skip
_AGGREGATES: Final = ("count(*)", "max({t})", "min({i})", "sum({i})", "string_agg({t}, ',')",
                      "array_agg({t})", "bool_or({b})", "jsonb_agg({j})", "count(distinct {t})",
                      "count(*) filter (where {b})")  # fmt: skip


@dataclass(slots=True)
class Source:
    """One FROM item: how to write it, its alias, its columns."""

    sql: str
    alias: str
    columns: Columns


class Generator:
    """Statements from one seed: equal seeds, equal statements."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._names = 0
        self._boldness = 0.0

    def statement(self) -> str:
        """One statement."""
        # Timid statements use masked columns as outputs only and mostly run; bold ones do not.
        self._boldness = self._random.choice((0.0, 0.0, 0.0, 0.05, 0.5))
        self._names = 0
        make = self._random.choices(
            (self._query, self._with, self._update, self._insert, self._delete, self._copy,
             self._explain, self._merge),
            (60, 12, 6, 6, 4, 3, 2, 2),
        )[0]  # fmt: skip
        return make()

    # --- queries ----------------------------------------------------------------------------

    def _query(self) -> str:
        return self._select(3)[0]

    def _with(self) -> str:
        name = self._name()
        inner, columns = self._select(2)
        kept = self._random.choice(("", "materialized ", "not materialized "))
        source = Source(name, name, columns)
        outer, _ = self._select(1, [source])
        return f"with {name} as {kept}({inner}) {outer}"

    def _select(self, depth: int, sources: list[Source] | None = None) -> tuple[str, Columns]:
        pick = self._random.random()
        if depth and pick < 0.08 and sources is None:
            return self._union(depth)
        sources = list(sources or [self._source(depth)])
        joins = sources[0].sql
        joins += "" if sources[0].sql == sources[0].alias else f" {sources[0].alias}"
        while self._random.random() < 0.35 and len(sources) < 3:
            joins += self._join(depth, sources)
        if self._random.random() < 0.06:
            aggregate = self._fill(self._random.choice(_AGGREGATES), sources, 1)
            key = self._column(sources, clear=True)
            return f"select {key}, {aggregate} as g from {joins} group by 1", (
                (key.split(".")[1], INT),
                ("g", TEXT),
            )
        targets, columns = self._targets(sources)
        sql = f"select {targets} from {joins}"
        if self._random.random() < 0.5:
            sql += f" where {self._expression(BOOL, sources, 2)}"
        if self._random.random() < 0.3:
            sql += f" order by {self._expression(self._random.choice('it'), sources, 1)}"
        if self._random.random() < 0.2:
            sql += f" limit {self._random.choice((1, 2, 5))}"
        return sql, columns

    def _union(self, depth: int) -> tuple[str, Columns]:
        left, columns = self._select(depth - 1)
        types = "".join(kind for _, kind in columns)
        source = self._source(0)
        name = source.sql if source.sql == source.alias else f"{source.sql} {source.alias}"
        right = ", ".join(self._expression(kind, [source], 1) for kind in types)
        operator = self._random.choice(("union all", "union", "except", "intersect"))
        return f"({left}) {operator} (select {right} from {name})", columns

    def _source(self, depth: int) -> Source:
        alias = self._name()
        if depth and self._random.random() < 0.35:
            inner, columns = self._select(depth - 1)
            if self._random.random() < 0.3:
                columns = tuple((f"c{n}", kind) for n, (_, kind) in enumerate(columns))
                names = ", ".join(name for name, _ in columns)
                return Source(f"({inner})", f"{alias}({names})", columns)
            return Source(f"({inner})", alias, columns)
        table = self._random.choice([*TABLES][: -1 if self._random.random() < 0.95 else None])
        return Source(table, alias, TABLES[table])

    def _join(self, depth: int, sources: list[Source]) -> str:
        other = self._source(depth - 1 if depth else 0)
        sources.append(other)
        kind = self._random.choice(("join", "left join", "right join", "full join", "cross join"))
        named = f"{other.sql} {other.alias}"
        if kind == "cross join":
            return f" cross join {'lateral ' if other.sql[0] == '(' else ''}{named}"
        if kind == "full join":
            return f" full join {named} on true"
        return f" {kind} {named} on {self._expression(BOOL, sources, 1)}"

    def _targets(self, sources: list[Source]) -> tuple[str, Columns]:
        if self._random.random() < 0.15:
            columns = tuple(column for source in sources for column in source.columns)
            return "*", _unique(columns)
        texts, columns_out = [], []
        for number in range(self._random.randint(1, 4)):
            name = f"o{number}"
            if self._random.random() < 0.7:
                source = self._random.choice(sources)
                column, kind = self._random.choice(source.columns)
                text = f"{_bare(source.alias)}.{column}"
            else:
                kind = self._random.choice("ittbdja")
                text = self._expression(kind, sources, 2)
            texts.append(f"{text} as {name}")
            columns_out.append((name, kind))
        return ", ".join(texts), tuple(columns_out)

    # --- expressions ------------------------------------------------------------------------

    def _expression(self, kind: str, sources: list[Source], depth: int) -> str:
        pick = self._random.random()
        if depth and pick < 0.55:
            return self._fill(self._random.choice(_CALLS[kind]), sources, depth - 1)
        is_bold = self._random.random() < self._boldness
        found = [
            f"{_bare(source.alias)}.{name}"
            for source in sources
            for name, letter in source.columns
            if letter == kind and (is_bold or not _may_be_masked(name))
        ]
        if found and pick < 0.95:
            return self._random.choice(found)
        return self._random.choice(_LITERALS[kind])

    def _fill(self, template: str, sources: list[Source], depth: int) -> str:
        for letter in _LITERALS:
            while f"{{{letter}}}" in template:
                value = self._expression(letter, sources, depth)
                template = template.replace(f"{{{letter}}}", value, 1)
        return template

    def _column(self, sources: list[Source], *, clear: bool) -> str:
        source = sources[0]
        names = [n for n, _ in source.columns if not (clear and _may_be_masked(n))]
        return f"{_bare(source.alias)}.{self._random.choice(names or [source.columns[0][0]])}"

    def _name(self) -> str:
        self._names += 1
        return f"q{self._names}"

    # --- statements that write --------------------------------------------------------------

    def _target(self) -> Source:
        table = self._random.choice(("plain", "orders", "docs", "customers", "app.t", "pairs"))
        return Source(table, table, TABLES[table])

    def _update(self) -> str:
        target = self._target()
        alias = self._name()
        written = Source(target.sql, alias, target.columns)
        column, kind = self._random.choice(target.columns)
        value = self._expression(kind, [written], 2)
        sql = f"update {target.sql} {alias} set {column} = {value}"
        sources = [written]
        if self._random.random() < 0.3:
            other = self._source(1)
            sources.append(other)
            sql += f" from {other.sql} {other.alias}"
        if self._random.random() < 0.7:
            sql += f" where {self._expression(BOOL, sources, 1)}"
        return f"{sql} returning {self._targets(sources)[0]}"

    def _insert(self) -> str:
        target = self._target()
        columns = self._random.sample(target.columns, 2)
        names = ", ".join(name for name, _ in columns)
        source = self._source(1)
        values = ", ".join(self._expression(kind, [source], 1) for _, kind in columns)
        written = Source(target.sql, target.sql.split(".")[-1], target.columns)
        returning = self._targets([written])[0]
        return (
            f"insert into {target.sql} ({names}) select {values} from {source.sql} {source.alias} "
            f"on conflict do nothing returning {returning}"
        )

    def _delete(self) -> str:
        target = self._target()
        alias = self._name()
        written = Source(target.sql, alias, target.columns)
        condition = self._expression(BOOL, [written], 2)
        return (
            f"delete from {target.sql} {alias} where {condition} "
            f"returning {self._targets([written])[0]}"
        )

    def _merge(self) -> str:
        target = self._target()
        alias = self._name()
        written = Source(target.sql, alias, target.columns)
        source = self._source(1)
        sources = [written, source]
        return (
            f"merge into {target.sql} {alias} using {source.sql} {source.alias} "
            f"on {self._expression(BOOL, sources, 1)} "
            f"when matched and {self._expression(BOOL, sources, 1)} then delete"
        )

    def _copy(self) -> str:
        return f"copy ({self._select(1)[0]}) to stdout"

    def _explain(self) -> str:
        options = self._random.choice(("costs off", "verbose, costs off"))
        return f"explain ({options}) {self._select(1)[0]}"


def _may_be_masked(name: str) -> bool:
    # What an output was renamed to could be anything.
    return name in MASKED or (name[0] in "oc" and name[1:].isdecimal())


def _bare(alias: str) -> str:
    return alias.partition("(")[0]


def _unique(columns: Columns) -> Columns:
    seen: dict[str, int] = {}
    for name, _ in columns:
        seen[name] = seen.get(name, 0) + 1
    kept = tuple((name, kind) for name, kind in columns if seen[name] == 1)
    return kept or (("id", INT),)
