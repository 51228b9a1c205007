"""Which built-in functions a statement may call, by reviewed family.

An allow-list of pg_catalog names: whatever is not here is an effect of its own and refused
unless granted. Every overload of a listed name was reviewed for PostgreSQL 15 to 18: none runs
SQL from text, reads a relation named by an argument, touches files, settings, sequences, locks,
large objects, other sessions or the server (leak-classes.md, section 2).
"""

from __future__ import annotations

from typing import Final

_PURE_TEXT: Final = """
ascii btrim bit_length casefold char_length character_length chr concat concat_ws convert
convert_from convert_to crc32 crc32c decode encode format get_bit get_byte initcap
is_normalized left length like like_escape lower ltrim md5 normalize notlike octet_length overlay
parse_ident position quote_ident quote_literal quote_nullable regexp_count regexp_instr
regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array
regexp_split_to_table regexp_substr replace reverse right rtrim set_bit set_byte sha224 sha256
sha384 sha512 similar_escape similar_to_escape split_part starts_with string_to_array
string_to_table strpos substr substring to_ascii to_bin to_hex to_oct translate
unicode_assigned unistr upper bit_count textcat textlen textlike texteq
"""

_PURE_NUMBERS: Final = """
abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos cosd
cosh cot cotd degrees div erf erfc exp factorial floor gamma gcd lcm lgamma ln log log10
min_scale mod numeric_inc pi pow power radians round scale sign sin sind sinh sqrt tan tand tanh
trim_scale trunc width_bucket num_nonnulls num_nulls
"""

_PURE_TIME: Final = """
age clock_timestamp date_add date_bin date_part date_subtract date_trunc extract isfinite
justify_days justify_hours justify_interval make_date make_interval make_time make_timestamp
make_timestamptz now overlaps statement_timestamp timeofday timezone to_char to_date to_number
to_timestamp transaction_timestamp
"""

# Type names usable in function notation: casts between built-in types.
_PURE_CASTS: Final = """
bit bool bpchar char date float4 float8 int2 int4 int8 interval money name numeric oid text time
timestamp timestamptz timetz varbit varchar xid int4range int8range numrange tsrange tstzrange
daterange int4multirange int8multirange nummultirange tsmultirange tstzmultirange datemultirange
multirange cidr macaddr macaddr8
"""

_PURE_COLLECTIONS: Final = """
array_append array_cat array_dims array_length array_lower array_ndims array_position
array_positions array_prepend array_remove array_replace array_reverse array_sample array_shuffle
array_sort array_to_string array_upper cardinality enum_first enum_last enum_range
generate_subscripts isempty lower_inc lower_inf range_merge trim_array unnest upper_inc upper_inf
"""

_PURE_JSON: Final = """
array_to_json json_array_element json_array_element_text json_array_elements
json_array_elements_text json_array_length json_build_array json_build_object json_each
json_each_text json_extract_path json_extract_path_text json_object json_object_field
json_object_field_text json_object_keys json_populate_record json_populate_recordset
json_strip_nulls json_to_record json_to_recordset json_typeof jsonb_array_element
jsonb_array_element_text jsonb_array_elements jsonb_array_elements_text jsonb_array_length
jsonb_build_array jsonb_build_object jsonb_concat jsonb_contained jsonb_contains jsonb_delete
jsonb_delete_path jsonb_each jsonb_each_text jsonb_exists jsonb_exists_all jsonb_exists_any
jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_field
jsonb_object_field_text jsonb_object_keys jsonb_path_exists jsonb_path_exists_tz
jsonb_path_match jsonb_path_match_tz jsonb_path_query jsonb_path_query_array
jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz
jsonb_populate_record jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax
jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_typeof row_to_json to_json to_jsonb
"""

_PURE_SEARCH: Final = """
numnode phraseto_tsquery plainto_tsquery querytree setweight strip to_tsquery to_tsvector
ts_delete ts_filter ts_headline ts_rank ts_rank_cd tsquery_phrase tsvector_to_array
websearch_to_tsquery json_to_tsvector jsonb_to_tsvector array_to_tsvector
"""

_PURE_NETWORK: Final = """
abbrev broadcast family host hostmask inet_merge inet_same_family macaddr8_set7bit masklen
netmask network set_masklen
"""

_PURE_GEOMETRY: Final = """
area bound_box box center circle diagonal diameter height isclosed isopen line lseg npoints path
pclose point polygon popen radius slope width
"""

_PURE_MISC: Final = """
gen_random_uuid uuidv4 uuidv7 uuid_extract_timestamp uuid_extract_version random random_normal
xpath xpath_exists xml_is_well_formed xml_is_well_formed_content xml_is_well_formed_document
xmlcomment xmlexists xmltext pg_typeof pg_collation_for pg_column_size pg_input_is_valid
pg_input_error_info pg_size_pretty hashtext hashtextextended hashint4 hashint8
enum_larger enum_smaller satisfies_hash_partition xmlconcat2 pg_lsn_mi pg_wal_lsn_diff
"""

# What the server says about itself and this session; no row value and no secret.
_ENVIRONMENT: Final = """
current_catalog current_database current_query current_role current_schema current_schemas
current_user session_user system_user user version pg_backend_pid pg_client_encoding
getdatabaseencoding pg_encoding_to_char pg_char_to_encoding pg_is_in_recovery
pg_postmaster_start_time pg_conf_load_time pg_my_temp_schema pg_is_other_temp_schema
pg_trigger_depth pg_jit_available inet_client_addr inet_client_port inet_server_addr
inet_server_port txid_current_if_assigned pg_current_xact_id_if_assigned pg_current_snapshot
txid_current_snapshot txid_current pg_current_xact_id pg_snapshot_xmin pg_snapshot_xmax
txid_snapshot_xmin txid_snapshot_xmax pg_visible_in_snapshot txid_visible_in_snapshot
pg_timezone_names pg_timezone_abbrevs pg_get_keywords get_current_ts_config
pg_listening_channels pg_max_backend_id merge_action unicode_version icu_unicode_version
"""

# Names, definitions and sizes of objects: what psql, ORMs and drivers introspect with.
_CATALOG: Final = """
format_type col_description obj_description shobj_description pg_describe_object
pg_identify_object pg_identify_object_as_address pg_get_object_address pg_get_acl pg_basetype
pg_get_constraintdef pg_get_expr pg_get_function_arg_default pg_get_function_arguments
pg_get_function_identity_arguments pg_get_function_result pg_get_function_sqlbody
pg_get_functiondef pg_get_indexdef pg_get_partition_constraintdef pg_get_partkeydef
pg_get_replica_identity_index pg_get_ruledef pg_get_serial_sequence pg_get_statisticsobjdef
pg_get_statisticsobjdef_columns pg_get_statisticsobjdef_expressions pg_get_triggerdef
pg_get_userbyid pg_get_viewdef pg_index_column_has_property pg_index_has_property
pg_indexam_has_property pg_partition_ancestors pg_partition_root pg_partition_tree
pg_relation_is_publishable pg_relation_is_updatable pg_column_is_updatable
pg_table_is_visible pg_type_is_visible pg_function_is_visible pg_operator_is_visible
pg_opclass_is_visible pg_opfamily_is_visible pg_collation_is_visible pg_conversion_is_visible
pg_statistics_obj_is_visible pg_ts_config_is_visible pg_ts_dict_is_visible
pg_ts_parser_is_visible pg_ts_template_is_visible pg_relation_size pg_table_size
pg_indexes_size pg_total_relation_size pg_database_size pg_size_bytes pg_tablespace_location
pg_options_to_table aclexplode acldefault makeaclitem aclcontains has_any_column_privilege
has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege
has_function_privilege has_language_privilege has_schema_privilege has_sequence_privilege
has_server_privilege has_table_privilege has_tablespace_privilege has_type_privilege pg_has_role
row_security_active to_regclass to_regcollation to_regnamespace to_regoper to_regoperator
to_regproc to_regprocedure to_regrole to_regtype to_regtypemod regclass oidvectortypes
pg_collation_actual_version pg_database_collation_actual_version pg_sequence_parameters
pg_available_extensions pg_get_catalog_foreign_keys pg_extension_update_paths
pg_settings_get_flags pg_char_to_encoding pg_encoding_max_length pg_filenode_relation
pg_get_publication_tables
"""

# Helpers of information_schema that drivers call by themselves: JDBC's getPrimaryKeys does.
# SQL functions over their arguments and pg_catalog, with every name in them qualified.
_INFORMATION_SCHEMA: Final = """
_pg_char_max_length _pg_char_octet_length _pg_datetime_precision _pg_expandarray
_pg_index_position _pg_interval_type _pg_numeric_precision _pg_numeric_precision_radix
_pg_numeric_scale _pg_truetypid _pg_truetypmod
"""

# Sequence functions are effects on the sequence itself when its name is a constant.
SEQUENCES: Final = {
    "nextval": "sequence.next",
    "setval": "sequence.set",
    "currval": "rows.read",
}

_AGGREGATES: Final = """
any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp
every json_agg json_agg_strict json_object_agg json_object_agg_strict json_object_agg_unique
json_object_agg_unique_strict jsonb_agg jsonb_agg_strict jsonb_object_agg
jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict max min mode
percentile_cont percentile_disc range_agg range_intersect_agg regr_avgx regr_avgy regr_count
regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop stddev_samp
string_agg sum var_pop var_samp variance xmlagg
"""

_WINDOW: Final = """
cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number
"""

# Harmless, but a constant decides how much work or output there is: never cached by shape.
_SIZED: Final = "generate_series repeat lpad rpad"

PURE: Final = frozenset(
    name
    for family in (
        _PURE_TEXT,
        _PURE_NUMBERS,
        _PURE_TIME,
        _PURE_CASTS,
        _PURE_COLLECTIONS,
        _PURE_JSON,
        _PURE_SEARCH,
        _PURE_NETWORK,
        _PURE_GEOMETRY,
        _PURE_MISC,
    )
    for name in family.split()
)
INFORMATION_SCHEMA: Final = frozenset(_INFORMATION_SCHEMA.split())
ENVIRONMENT: Final = frozenset(_ENVIRONMENT.split())
CATALOG: Final = frozenset(_CATALOG.split())
AGGREGATES: Final = frozenset(_AGGREGATES.split())
WINDOW: Final = frozenset(_WINDOW.split())
SIZED: Final = frozenset(_SIZED.split())
ALLOWED: Final = PURE | INFORMATION_SCHEMA | ENVIRONMENT | CATALOG | AGGREGATES | WINDOW | SIZED

# Not allowed, and named precisely so that rules and records can tell them apart.
_REFUSED: Final[tuple[tuple[str, str], ...]] = (
    ("pg_advisory_", "session.advisory_lock"),
    ("pg_try_advisory_", "session.advisory_lock"),
    ("pg_notify", "session.notify"),
    ("set_config", "session.set"),
    ("pg_read_", "server.file.read"),
    ("pg_stat_file", "server.file.read"),
    ("pg_ls_", "server.file.read"),
    ("pg_current_logfile", "server.file.read"),
    ("pg_hba_file_rules", "server.file.read"),
    ("pg_ident_file_mappings", "server.file.read"),
    ("pg_show_all_file_settings", "server.file.read"),
    ("pg_relation_filepath", "server.file.read"),
    ("pg_file_", "server.file.write"),
    ("pg_logdir_ls", "server.file.read"),
    ("lo_", "egress.lo"),
    ("loread", "egress.lo"),
    ("lowrite", "egress.lo"),
    ("dblink", "egress.dblink"),
    ("pg_terminate_backend", "server.signal"),
    ("pg_cancel_backend", "server.signal"),
    ("pg_log_backend_memory_contexts", "server.signal"),
    ("pg_rotate_logfile", "server.config"),
    ("pg_reload_conf", "server.config"),
    ("pg_promote", "server.config"),
    ("pg_stat_reset", "server.config"),
    ("pg_switch_wal", "server.config"),
    ("pg_backup_", "replication.backup"),
    ("pg_start_backup", "replication.backup"),
    ("pg_stop_backup", "replication.backup"),
    ("pg_create_restore_point", "replication.backup"),
    ("pg_create_logical_replication_slot", "replication.slot"),
    ("pg_create_physical_replication_slot", "replication.slot"),
    ("pg_copy_logical_replication_slot", "replication.slot"),
    ("pg_copy_physical_replication_slot", "replication.slot"),
    ("pg_drop_replication_slot", "replication.slot"),
    ("pg_logical_", "replication.slot"),
    ("pg_replication_", "replication.slot"),
    ("pg_stat_get_", "catalog.sensitive"),
    ("pg_show_all_settings", "catalog.sensitive"),
    ("pg_prepared_statement", "catalog.sensitive"),
    ("pg_cursor", "catalog.sensitive"),
    ("pg_lock_status", "catalog.sensitive"),
    ("pg_mcv_list_items", "catalog.sensitive"),
)

_VOLATILE: Final = frozenset(
    "pg_sleep pg_sleep_for pg_sleep_until setseed lastval nextval setval pg_export_snapshot".split()
)


def refused_effect(name: str) -> str:
    """Return the effect id of a pg_catalog function that is not on the allow-list."""
    for prefix, effect in _REFUSED:
        if name.startswith(prefix):
            return effect
    return "function.call_volatile" if name in _VOLATILE else "function.call_unknown"


# Extensions whose immutable functions and operators are C code without side effects, reviewed as
# families; everything else an extension brings is a user function.
REVIEWED_EXTENSIONS: Final = frozenset(
    "btree_gin btree_gist citext cube earthdistance fuzzystrmatch hstore intarray isn ltree "
    "pg_trgm seg unaccent uuid-ossp vector".split()
)
