"""The queries that a catalog snapshot is built from, run under `search_path = pg_catalog`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Tells this server from every other one, a restored copy of it included.
SYSTEM: Final = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()"

QUERIES: Final[Mapping[str, str]] = {
    "identity": """
        SELECT oid::int8, pg_catalog.has_function_privilege(
            'pg_catalog.pg_control_system()', 'execute')
        FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()""",
    # What writing a column may tell about others: a unique index, a check, a foreign key.
    "unique_columns": """
        SELECT i.indexrelid::int8, i.indrelid::int8, k.attnum::int4
        FROM pg_catalog.pg_index i, unnest(i.indkey::int2[]) k (attnum)
        WHERE (i.indisunique OR i.indisexclusion) AND k.attnum > 0
          AND i.indrelid >= $1::int8::oid
        UNION
        SELECT i.indexrelid::int8, i.indrelid::int8, d.refobjsubid::int4
        FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass
          AND d.objid = i.indexrelid AND d.refclassid = 'pg_catalog.pg_class'::regclass
          AND d.refobjid = i.indrelid AND d.refobjsubid > 0
        WHERE (i.indisunique OR i.indisexclusion) AND i.indrelid >= $1::int8::oid
        ORDER BY 1, 2, 3""",
    "constraints": """
        SELECT oid::int8, contype::text, conrelid::int8, conkey::int4[], confrelid::int8,
               confkey::int4[], confdeltype::text, confupdtype::text
        FROM pg_catalog.pg_constraint
        WHERE contype IN ('c', 'f') AND conrelid <> 0 AND conrelid >= $1::int8::oid
          AND conkey IS NOT NULL ORDER BY oid""",
    "sequence_owners": """
        SELECT d.objid::int8, d.refobjid::int8 FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
          AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0
        ORDER BY 1, 2""",
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
