"""Load a `Catalog` from a live server in one read-only, repeatable-read transaction.

Every query is schema-qualified and runs under `search_path = pg_catalog`: nothing a client
could have created changes what is read. The role that connects sees what pg_catalog shows
everyone, so no table privilege is needed.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import asyncpg
import orjson

from gateway.sql.catalog import (
    FIRST_USER_OID,
    PG_CATALOG,
    Catalog,
    ColumnInfo,
    FunctionInfo,
    OperatorInfo,
    Relation,
    Tie,
    TypeInfo,
    make_relation,
)
from gateway.sql.catalog_queries import QUERIES, SYSTEM
from gateway.sql.facts import ColumnRef, RelationRef
from gateway.sql.lineage import ViewSource, read_views

Rows = Sequence[Sequence[Any]]

_KINDS: Final = {
    "r": "table",
    "p": "partitioned",
    "v": "view",
    "m": "matview",
    "f": "foreign",
    "S": "sequence",
    "i": "index",
    "I": "index",
    "c": "composite",
    "t": "toast",
}


async def load_catalog(connection: asyncpg.Connection[Any]) -> Catalog:
    """Return the current snapshot. Raises what asyncpg raises; the connection stays usable."""
    return build_catalog(await fetch_rows(connection))


async def fetch_rows(connection: asyncpg.Connection[Any]) -> dict[str, Rows]:
    """Return what `build_catalog` needs, all of it from one moment."""
    rows: dict[str, Rows] = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rows["settings"] = await _fetch(connection, "settings")
        await connection.execute("SET LOCAL search_path = pg_catalog")
        for name in QUERIES:
            if name != "settings":
                rows[name] = await _fetch(connection, name)
        # A separate query: permission to call a function is checked even where it is not called.
        if rows["identity"][0][1]:
            rows["system"] = [tuple(await connection.fetchrow(SYSTEM))]
    return rows


async def _fetch(connection: asyncpg.Connection[Any], name: str) -> Rows:
    query = QUERIES[name]
    args = (FIRST_USER_OID,) if "$1" in query else ()
    return [tuple(row) for row in await connection.fetch(query, *args)]


def build_catalog(rows: Mapping[str, Rows]) -> Catalog:
    """Build the snapshot from what `QUERIES` returned. Pure: equal rows, equal version."""
    digest = hashlib.sha256(orjson.dumps(dict(rows), default=str))
    server_version, user, _database = rows["session"][0]
    functions = _functions(rows["functions"])
    by_function_oid = {f.oid: f for overloads in functions.values() for f in overloads}
    labels: dict[int, tuple[str, ...]] = defaultdict(tuple)
    for type_oid, label in rows["labels"]:
        labels[type_oid] += (label,)
    types = [replace(TypeInfo(*row), labels=labels.get(row[0], ())) for row in rows["types"]]
    relations = _relations(rows, {t.oid: t.relation for t in types if t.relation})
    user_operators, builtin, names = _operators(rows["operators"], by_function_oid)
    casts: dict[int, tuple[str, ...]] = defaultdict(tuple)
    for source, target, schema, name in rows["casts"]:
        for type_oid in (source, target):
            casts[type_oid] += (f"{schema}.{name}",)
    path = str(rows["settings"][0][0]) if rows["settings"] else ""
    catalog = Catalog(
        version=digest.hexdigest(),
        server_version=server_version,
        user=user,
        default_search_path=tuple(split_path(path)),
        schemas=frozenset(name for (name,) in rows["schemas"]),
        relations={(r.ref.schema, r.ref.name): r for r in relations},
        by_oid={r.oid: r for r in relations},
        functions=functions,
        types={(t.schema, t.name): t for t in types},
        types_by_oid={t.oid: t for t in types},
        user_operators=user_operators,
        builtin_operators=builtin,
        operator_names=names,
        user_casts=dict(casts),
        generated=_generated(rows["generated"]),
        database=_identity(rows),
        sequence_owners={int(oid): int(table) for oid, table in rows.get("sequence_owners", ())},
        ties=_ties(rows),
    )
    return replace(catalog, views=read_views(catalog, _view_sources(rows)))


def split_path(text: str) -> Iterable[str]:
    """Yield the schemas of a `search_path` setting's text, unquoted and folded."""
    position, size = 0, len(text)
    while position < size:
        if text[position] in ", \t\n":
            position += 1
        elif text[position] == '"':
            end, name = position + 1, ""
            while end < size and not (text[end] == '"' and text[end : end + 2] != '""'):
                step = 2 if text[end] == '"' else 1
                name, end = name + text[end], end + step
            yield name
            position = end + 1
        else:
            end = position
            while end < size and text[end] not in ", \t\n":
                end += 1
            yield text[position:end].lower()
            position = end


def _relations(rows: Mapping[str, Rows], row_types: Mapping[int, int]) -> list[Relation]:
    columns: dict[int, list[ColumnInfo]] = defaultdict(list)
    typmods = {(oid, attnum): typmod for oid, attnum, typmod in rows["typmods"]}
    for oid, name, attnum, type_oid, not_null, generated, has_default in rows["columns"]:
        columns[oid].append(
            ColumnInfo(
                name,
                attnum,
                type_oid,
                not_null,
                generated != "",
                has_default,
                typmods.get((oid, attnum), -1),
            )
        )
    up: dict[int, list[int]] = defaultdict(list)
    down: dict[int, list[int]] = defaultdict(list)
    for child, parent in rows["inherits"]:
        up[child].append(parent)
        down[parent].append(child)
    found = []
    for oid, schema, name, kind, row_type, persistence, _rules, triggers, security, rules in rows[
        "relations"
    ]:
        ref = RelationRef(schema, name, oid, _KINDS.get(kind, "unknown"))
        found.append(
            make_relation(
                ref,
                columns.get(oid, ()),
                row_type=row_type,
                is_temporary=persistence == "t",
                has_rules=rules > 0,
                has_triggers=triggers,
                row_security=security,
                parents=_closure(oid, up),
                children=_closure(oid, down),
                row_types=row_types,
            )
        )
    return found


def _closure(oid: int, edges: Mapping[int, list[int]]) -> tuple[int, ...]:
    reached: dict[int, None] = {}
    queue = list(edges.get(oid, ()))
    while queue:
        current = queue.pop()
        if current not in reached:
            reached[current] = None
            queue.extend(edges.get(current, ()))
    return tuple(reached)


def _functions(rows: Rows) -> dict[str, tuple[FunctionInfo, ...]]:
    found: dict[str, list[FunctionInfo]] = defaultdict(list)
    for row in rows:
        (oid, schema, name, count, defaults, variadic, result, is_set) = row[:8]
        (all_types, modes, names, volatility, kind, extension, arg_types) = row[8:]
        found[name].append(
            FunctionInfo(
                schema,
                name,
                oid,
                count,
                defaults,
                variadic,
                result,
                is_set,
                _out_columns(all_types, modes, names),
                volatility,
                kind,
                extension,
                tuple(arg_types),
            )
        )
    return {name: tuple(overloads) for name, overloads in found.items()}


def _out_columns(
    all_types: Sequence[int] | None, modes: Sequence[str] | None, names: Sequence[str] | None
) -> tuple[tuple[str, int], ...] | None:
    if not all_types or not modes:
        return None
    labels = list(names or [""] * len(modes))
    out = [
        (label or f"column{number}", type_oid)
        for number, (label, mode, type_oid) in enumerate(
            ((n, m, t) for n, m, t in zip(labels, modes, all_types, strict=True) if m in "obt"), 1
        )
    ]
    return tuple(out) or None


def _operators(
    rows: Rows, functions: Mapping[int, FunctionInfo]
) -> tuple[dict[str, tuple[OperatorInfo, ...]], frozenset[tuple[str, int, int]], frozenset[str]]:
    user: dict[str, tuple[OperatorInfo, ...]] = defaultdict(tuple)
    builtin = set()
    for schema, name, left, right, code in rows:
        if schema == PG_CATALOG and code < FIRST_USER_OID:
            builtin.add((name, left, right))
        else:
            operator = OperatorInfo(schema, name, left, right, functions.get(code))
            user[name] += (operator,)
    return dict(user), frozenset(builtin), frozenset(name for name, _, _ in builtin)


def _generated(rows: Rows) -> dict[ColumnRef, frozenset[ColumnRef]]:
    found: dict[ColumnRef, set[ColumnRef]] = defaultdict(set)
    for oid, attnum, source in rows:
        found[ColumnRef(oid, attnum)].add(ColumnRef(oid, source))
    return {ref: frozenset(sources) for ref, sources in found.items()}


def _identity(rows: Mapping[str, Rows]) -> str:
    system = rows.get("system")
    return f"{system[0][0]}/{rows['identity'][0][0]}" if system else ""


def _ties(rows: Mapping[str, Rows]) -> dict[int, tuple[Tie, ...]]:
    """Return what the constraints on each relation compare when one of its columns is written."""
    found: dict[int, dict[Tie, None]] = defaultdict(dict)
    indexes: dict[tuple[int, int], set[int]] = defaultdict(set)
    for index, oid, attnum in rows.get("unique_columns", ()):
        indexes[index, oid].add(attnum)
    for (_, oid), attnums in indexes.items():
        refs = frozenset(ColumnRef(oid, attnum) for attnum in attnums)
        found[oid][Tie("unique", frozenset(attnums), refs)] = None
    for _, kind, oid, attnums, other, others, on_delete, on_update in rows.get("constraints", ()):
        own = frozenset(ColumnRef(oid, attnum) for attnum in attnums)
        if kind == "c":
            found[oid][Tie("check", frozenset(attnums), own)] = None
            continue
        theirs = frozenset(ColumnRef(other, attnum) for attnum in others)
        found[oid][Tie("foreign_key", frozenset(attnums), theirs)] = None
        found[other][Tie("referenced", frozenset(others), own, on_delete, on_update)] = None
    return {oid: tuple(ties) for oid, ties in found.items()}


def _view_sources(rows: Mapping[str, Rows]) -> list[ViewSource]:
    reads: dict[int, set[ColumnRef]] = defaultdict(set)
    for view, oid, attnum in rows["view_reads"]:
        reads[view].add(ColumnRef(oid, attnum))
    return [ViewSource(oid, text, frozenset(reads[oid])) for oid, text in rows["views"]]
