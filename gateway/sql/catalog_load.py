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
    TypeInfo,
    make_relation,
)
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

_QUERIES: Final[Mapping[str, str]] = {
    "session": """
        SELECT pg_catalog.current_setting('server_version_num')::int4, current_user::text,
               current_database()::text""",
    "schemas": """
        SELECT nspname::text FROM pg_catalog.pg_namespace
        WHERE nspname !~ '^pg_(toast_)?temp_' ORDER BY 1""",
    # Temporary relations are one session's: in a shared snapshot they would only mislead.
    "relations": """
        SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.reltype::int8,
               c.relpersistence::text, c.relhasrules,
               EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t
                       WHERE t.tgrelid = c.oid AND NOT t.tgisinternal), c.relrowsecurity,
               (SELECT count(*) FROM pg_catalog.pg_rewrite r
                WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN')::int4
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relpersistence <> 't' AND c.relkind <> 't' AND n.nspname <> 'pg_toast'
        ORDER BY c.oid""",
    "columns": """
        SELECT a.attrelid::int8, a.attname::text, a.attnum::int4, a.atttypid::int8, a.attnotnull,
               a.attgenerated::text, a.atthasdef
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relpersistence <> 't'
          AND c.relkind NOT IN ('t', 'i', 'I') ORDER BY a.attrelid, a.attnum""",
    "inherits": """
        SELECT inhrelid::int8, inhparent::int8 FROM pg_catalog.pg_inherits
        ORDER BY inhrelid, inhparent""",
    "types": """
        SELECT t.oid::int8, n.nspname::text, t.typname::text, t.typtype::text, t.typrelid::int8,
               t.typelem::int8, t.typbasetype::int8, coalesce(e.extname::text, '')
        FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::regclass
             AND d.objid = t.oid AND d.deptype = 'e'
        LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE n.nspname !~ '^pg_(toast_)?temp_' ORDER BY t.oid""",
    "typmods": """
        SELECT a.attrelid::int8, a.attnum::int4,
               CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relpersistence <> 't'
          AND c.relkind NOT IN ('t', 'i', 'I') AND (a.atttypmod >= 0 OR t.typtypmod >= 0)
        ORDER BY a.attrelid, a.attnum""",
    "labels": """
        SELECT e.enumtypid::int8, e.enumlabel::text FROM pg_catalog.pg_enum e
        ORDER BY e.enumtypid, e.enumsortorder""",
    "functions": """
        SELECT p.oid::int8, n.nspname::text, p.proname::text, p.pronargs::int4,
               p.pronargdefaults::int4, p.provariadic <> 0, p.prorettype::int8, p.proretset,
               p.proallargtypes::int8[], p.proargmodes::text[], p.proargnames, p.provolatile::text,
               p.prokind::text, coalesce(e.extname::text, ''), p.proargtypes::int8[]
        FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::regclass
             AND d.objid = p.oid AND d.deptype = 'e'
        LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE n.nspname !~ '^pg_(toast_)?temp_' ORDER BY p.oid""",
    "operators": """
        SELECT n.nspname::text, o.oprname::text, o.oprleft::int8, o.oprright::int8,
               o.oprcode::pg_catalog.oid::int8
        FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
        ORDER BY o.oid""",
    "casts": """
        SELECT c.castsource::int8, c.casttarget::int8, n.nspname::text, p.proname::text
        FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
        JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE p.oid >= $1 ORDER BY c.oid""",
    "generated": """
        SELECT d.adrelid::int8, d.adnum::int4, p.refobjsubid::int4
        FROM pg_catalog.pg_attrdef d
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        JOIN pg_catalog.pg_depend p ON p.refclassid = 'pg_catalog.pg_class'::regclass
             AND p.refobjid = d.adrelid AND p.refobjsubid <> d.adnum AND p.refobjsubid > 0
             AND ((p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid)
                  OR (p.classid = 'pg_catalog.pg_class'::regclass AND p.objid = d.adrelid
                      AND p.objsubid = d.adnum))
        WHERE a.attgenerated <> '' ORDER BY 1, 2, 3""",
    "views": """
        SELECT c.oid::int8, pg_catalog.pg_get_viewdef(c.oid)
        FROM pg_catalog.pg_class c
        WHERE c.relkind IN ('v', 'm') AND c.oid >= $1 AND c.relpersistence <> 't' ORDER BY c.oid""",
    # What each view's rule reads, by the server's own account: the oracle for our reading of it.
    "view_reads": """
        SELECT DISTINCT r.ev_class::int8, d.refobjid::int8, d.refobjsubid::int4
        FROM pg_catalog.pg_rewrite r
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass
             AND d.objid = r.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
        WHERE r.rulename = '_RETURN' AND r.ev_class >= $1 AND d.refobjid <> r.ev_class
        ORDER BY 1, 2, 3""",
    "settings": """
        SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name = 'search_path'""",
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
        for name in _QUERIES:
            if name != "settings":
                rows[name] = await _fetch(connection, name)
    return rows


async def _fetch(connection: asyncpg.Connection[Any], name: str) -> Rows:
    query = _QUERIES[name]
    args = (FIRST_USER_OID,) if "$1" in query else ()
    return [tuple(row) for row in await connection.fetch(query, *args)]


def build_catalog(rows: Mapping[str, Rows]) -> Catalog:
    """Build the snapshot from what `_QUERIES` returned. Pure: equal rows, equal version."""
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


def _view_sources(rows: Mapping[str, Rows]) -> list[ViewSource]:
    reads: dict[int, set[ColumnRef]] = defaultdict(set)
    for view, oid, attnum in rows["view_reads"]:
        reads[view].add(ColumnRef(oid, attnum))
    return [ViewSource(oid, text, frozenset(reads[oid])) for oid, text in rows["views"]]
